"""Compared branches and replays, from the service's words to the wire's."""

from collections.abc import Iterable
from typing import Any, TypeVar

from msgspec import UNSET, UnsetType

from orchestrator.api import wire_branches as wire
from orchestrator.api.encode import chat_reply, provider_info
from orchestrator.api.wire import ProviderInfo
from orchestrator.core import items
from orchestrator.core.comparison import Change, ItemComparison, Missing, ResponseComparison, Value
from orchestrator.core.replay_report import ChainReplayReport, ReplayReport
from orchestrator.core.response import ChatResult
from orchestrator.service.branches import BranchComparison

V = TypeVar("V")


def diff_reply(compared: BranchComparison) -> wire.DiffReply:
    """Two branches beside each other."""
    return wire.DiffReply(
        a=compared.a,
        b=compared.b,
        equal=compared.equal,
        common_ancestor=compared.common_ancestor,
        shared_responses=compared.shared_responses,
        shared_items=_set(compared.shared_items),
        responses=[_response(each) for each in compared.responses],
    )


def report_reply(report: ReplayReport) -> wire.ReplayReportReply:
    """What a replay found."""
    return wire.ReplayReportReply(
        response_id=report.response_id,
        replay_of=report.replay_of,
        tools=report.tools,
        status=report.status,
        equal=report.equal,
        differences=[
            wire.DifferenceEntry(
                type=found.kind,
                tool=_set(found.tool),
                provider_info=_provider(found.provider),
                position_a=_set(found.a),
                position_b=_set(found.b),
                changes=_changes(found.changes),
            )
            for found in report.differences
        ],
        not_run=[
            wire.NotRunEntry(
                call_id=call.call_id,
                position=call.position,
                tool=call.tool,
                provider_info=provider_info(call.provider),
                reason=call.reason,
            )
            for call in report.not_run
        ],
    )


def chain_report_reply(report: ChainReplayReport) -> wire.ChainReplayReply:
    """What the replay of a chain found."""
    return wire.ChainReplayReply(
        response_id=report.reports[-1].response_id,
        equal=report.equal,
        reports=[report_reply(each) for each in report.reports],
        left=[*report.left],
        reason=_set(report.reason),
    )


def replay_reply(result: ChatResult, report: ReplayReport) -> wire.ReplayReply:
    """The reply of a replay, with what it found."""
    reply = chat_reply(result)
    fields: dict[str, Any] = {field: getattr(reply, field) for field in reply.__struct_fields__}
    return wire.ReplayReply(**fields, report=report_reply(report))


def _response(compared: ResponseComparison) -> wire.ComparedResponseEntry:
    return wire.ComparedResponseEntry(
        status=compared.standing,
        a=compared.a,
        b=compared.b,
        changes=_changes(compared.changes),
        tools=[
            wire.ComparedToolEntry(
                status=tool.standing,
                tool=tool.tool,
                provider_info=provider_info(tool.provider),
                definition_digest_a=_set(tool.a),
                definition_digest_b=_set(tool.b),
            )
            for tool in compared.tools
        ],
        input=[_item(item) for item in compared.input],
        output=[_item(item) for item in compared.output],
    )


def _item(item: ItemComparison) -> wire.ItemEntry:
    return wire.ItemEntry(
        status=item.standing,
        type=item.kind,
        position_a=_set(item.a),
        position_b=_set(item.b),
        call_id_a=_set(item.call_a),
        call_id_b=_set(item.call_b),
        tool=_set(item.tool),
        provider_info=_provider(item.provider),
        shared=item.shared,
        changes=_changes(item.changes),
    )


def _changes(changes: Iterable[Change]) -> list[wire.ChangeEntry]:
    return [wire.ChangeEntry(change.field, _value(change.a), _value(change.b)) for change in changes]


def _value(value: Value) -> Any:
    return UNSET if isinstance(value, Missing) else value


def _provider(provider: items.ProviderInfo | None) -> ProviderInfo | UnsetType:
    return UNSET if provider is None else provider_info(provider)


def _set(value: V | None) -> V | UnsetType:
    return UNSET if value is None else value
