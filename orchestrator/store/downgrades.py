"""What a migration asks before it goes back: would it take away what somebody could still prove?"""

from typing import Final

import sqlalchemy as sa
from alembic import context, op

from orchestrator.core.errors import ErrorKind, OrchestratorError

LOSE_EVIDENCE: Final = "lose_evidence"
"""The attribute of Alembic's configuration by which somebody says that they want it all the same."""


def keep_evidence(revision: str, what: str, table: str, condition: str = "true") -> None:
    """Refuse to go back behind `revision` where `table` has rows that satisfy `condition`, which would lose `what`.

    Raises:
        OrchestratorError: `store_error`; the database is as it was.
    """
    if context.config.attributes.get(LOSE_EVIDENCE):
        return
    query = sa.select(sa.exists(sa.select(sa.literal(1)).select_from(sa.text(table)).where(sa.text(condition))))
    if op.get_bind().execute(query).scalar():
        message = (
            f"Going back behind revision {revision} would lose {what}, which nothing brings back: `orchestrator audit"
            " verify` would fail, or prove less, ever after. The database is as it was. Keep a copy of it, or an export"
            " with `orchestrator audit export`; then `orchestrator.store.migrate.downgrade(url, revision,"
            " lose_evidence=True)` goes back all the same."
        )
        raise OrchestratorError(ErrorKind.STORE_ERROR, message)
