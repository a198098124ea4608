"""What responses offer to the model, written once for all that offer the same."""

from sqlalchemy import Connection, insert

from orchestrator.store import rows
from orchestrator.store.inserting import insert_missing
from orchestrator.store.tables import offered_tools, tool_definitions, tool_offers


def keep_offer(connection: Connection, offer: rows.OfferRows | None) -> str | None:
    """Write down what is offered, once for all that offer the same; its digest, None where there is nothing."""
    if offer is None:
        return None
    if insert_missing(connection, tool_offers, [offer.offer]):
        insert_missing(connection, tool_definitions, offer.definitions)
        if offer.tools:
            connection.execute(insert(offered_tools), offer.tools)
    digest: str = offer.offer["digest"]
    return digest
