"""What API tokens use up, in a database, for all processes together: the units of work."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Final, TypeAlias

from sqlalchemy import Connection, Table, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from orchestrator.ports import Admission, RunClaim, TokenLimits
from orchestrator.store.tables import token_accounts, token_requests, token_runs, token_usage

MINUTE: Final = timedelta(seconds=60)
SWEEP_EVERY: Final = 1000
"""Requests after which those that are older than a minute are forgotten."""

_Insert: TypeAlias = postgresql.Insert | sqlite.Insert


def count_request(connection: Connection, account: str, allowed: int, at: datetime) -> datetime | None:
    """See `TokenStore.count_request`: the request takes the slot of the one that is `allowed` requests older."""
    made = _locked(connection, account)
    slot = made % allowed
    of_account = token_requests.c.account == account
    found = connection.execute(select(token_requests.c.at).where(of_account, token_requests.c.slot == slot))
    before = found.scalar_one_or_none()
    if before is not None and before > at - MINUTE:
        return before + MINUTE
    added = _insert(connection, token_requests).values(account=account, slot=slot, at=at)
    connection.execute(added.on_conflict_do_update(index_elements=["account", "slot"], set_={"at": added.excluded.at}))
    counted = update(token_accounts).where(token_accounts.c.account == account).values(requests=made + 1)
    connection.execute(counted)
    if made % SWEEP_EVERY == SWEEP_EVERY - 1:
        connection.execute(delete(token_requests).where(of_account, token_requests.c.at <= at - MINUTE))
    return None


def admit_run(connection: Connection, claim: RunClaim, limits: TokenLimits, at: datetime) -> Admission:
    """See `TokenStore.admit_run`."""
    _locked(connection, claim.account)
    connection.execute(delete(token_runs).where(token_runs.c.account == claim.account, token_runs.c.lease_until <= at))
    running, reserved = connection.execute(
        select(
            func.count(),
            func.coalesce(func.sum(token_runs.c.reserved).filter(token_runs.c.day == claim.day), 0),
        ).where(token_runs.c.account == claim.account)
    ).one()
    used = spent(connection, claim.account, claim.day)
    full = limits.concurrent_runs is not None and running >= limits.concurrent_runs
    kept: int | None = None
    if limits.output_tokens_per_day is not None:
        left = max(0, limits.output_tokens_per_day - used - int(reserved))
        kept = left if claim.output_tokens is None else min(claim.output_tokens, left)
        full = full or left == 0
    if not full:
        connection.execute(
            token_runs.insert().values(
                id=claim.id, account=claim.account, day=claim.day, reserved=kept, lease_until=claim.lease_until
            )
        )
    return Admission(not full, claim.output_tokens if kept is None else kept, running, int(reserved), used)


def renew_runs(connection: Connection, claim_ids: Sequence[str], lease_until: datetime) -> None:
    """See `TokenStore.renew_runs`."""
    connection.execute(update(token_runs).where(token_runs.c.id.in_(claim_ids)).values(lease_until=lease_until))


def settle_run(connection: Connection, claim_id: str | None, account: str, day: date, output_tokens: int) -> None:
    """See `TokenStore.settle_run`."""
    if claim_id is not None:
        _locked(connection, account)
        given_back = delete(token_runs).where(token_runs.c.id == claim_id).returning(token_runs.c.day)
        day = connection.execute(given_back).scalar_one_or_none() or day
    if output_tokens:
        added = _insert(connection, token_usage).values(token_id=account, day=day, output_tokens=output_tokens)
        total = token_usage.c.output_tokens + added.excluded.output_tokens
        connection.execute(
            added.on_conflict_do_update(index_elements=["token_id", "day"], set_={"output_tokens": total})
        )


def spent(connection: Connection, account: str, day: date) -> int:
    """See `TokenStore.spent`."""
    used = select(token_usage.c.output_tokens).where(token_usage.c.token_id == account, token_usage.c.day == day)
    return connection.execute(used).scalar_one_or_none() or 0


def _locked(connection: Connection, account: str) -> int:
    """How many requests the account has made; nobody else counts for it until this transaction ends."""
    added = _insert(connection, token_accounts).values(account=account, requests=0)
    same = {"requests": token_accounts.c.requests}
    kept = added.on_conflict_do_update(index_elements=["account"], set_=same).returning(token_accounts.c.requests)
    return connection.execute(kept).scalar_one()


def _insert(connection: Connection, table: Table) -> _Insert:
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)
