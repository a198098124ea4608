"""The graph of responses, from the ports' words to the wire's."""

from collections.abc import Iterable

from msgspec import UNSET

from orchestrator.api import wire_graph as wire
from orchestrator.api.encode import forked_from, provider_info, stored_reply
from orchestrator.api.openai_responses.decisions import decided_before
from orchestrator.api.openai_responses.heads import stored_head
from orchestrator.ports import ResponseDetail, ResponseSummary, StoredResponse


def detail_reply(detail: ResponseDetail) -> wire.ResponseDetailReply:
    """A stored response with its place in the graph."""
    stored = stored_reply(detail.response)
    decided = decided_before(stored_head(detail.response).settings)
    return wire.ResponseDetailReply(
        **{field: getattr(stored, field) for field in stored.__struct_fields__},
        children=list(detail.children),
        children_count=detail.child_count,
        tools=[
            wire.OfferedTool(tool.name, tool.tool, provider_info(tool.provider), tool.digest) for tool in detail.offered
        ],
        goes_on_from=UNSET if decided is None else wire.CallsBefore(decided[0], sorted(decided[1])),
    )


def chain_reply(responses: Iterable[StoredResponse], next_cursor: str | None) -> wire.ChainReply:
    """A piece of a path."""
    return wire.ChainReply(responses=[stored_reply(each) for each in responses], next_cursor=next_cursor)


def list_reply(responses: Iterable[ResponseSummary], next_cursor: str | None) -> wire.ResponseListReply:
    """A page of a listing or of a tree."""
    return wire.ResponseListReply(responses=[_entry(each) for each in responses], next_cursor=next_cursor)


def _entry(summary: ResponseSummary) -> wire.ResponseEntry:
    snippet = summary.snippet
    return wire.ResponseEntry(
        response_id=summary.id,
        previous_response_id=summary.previous_response_id,
        root_id=summary.root_id,
        depth=summary.depth,
        owner=summary.owner,
        model=summary.model_key,
        status=summary.status,
        incomplete_reason=summary.incomplete_reason or UNSET,
        metadata=summary.metadata,
        input_preview=summary.input_preview,
        output_preview=summary.output_preview,
        created_at=summary.created_at,
        ended_at=summary.ended_at,
        forked_from=forked_from(summary.forked_from),
        replay_of=summary.replay_of or UNSET,
        found=UNSET if snippet is None else wire.Found(snippet.text, list(snippet.matches)),
    )
