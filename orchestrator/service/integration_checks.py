"""A dry run of a request's integrations: what would connect, which tools would be offered, what they cost."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import anyio
import structlog

from orchestrator.core.errors import ErrorInfo, OrchestratorError
from orchestrator.core.inputs import OpenedIntegration
from orchestrator.core.items import ProviderInfo
from orchestrator.core.offering import drift_warnings, duplicate_warnings, offer, problem_warnings
from orchestrator.core.permissions import ALL_TOOLS, tool_is_granted
from orchestrator.core.request import IntegrationRequest, Limits, PluginRequest, RunRequest, requested_provider
from orchestrator.core.suspicions import Suspicion, names_other_tools, tool_suspicions
from orchestrator.core.token_costs import definition_text, offer_warnings
from orchestrator.core.tools import OfferedTool, provider_label, schema_is_usable
from orchestrator.ports import IntegrationCatalog, IntegrationFailedError, RunScope
from orchestrator.service.callers import Caller
from orchestrator.service.chat_checks import granted_integrations
from orchestrator.service.ids import new_response_id
from orchestrator.service.materials import opened_integration
from orchestrator.service.token_costs import TokenCosts, TokenCostService

CHECK: Final = "check"
"""The stage at which the service itself refuses, before it connects anything."""

OFFER: Final = "offer"
"""The stage at which `allowed_tools` are held against what the server has."""

log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class CheckedTool:
    """A tool that would be offered, under the name that the model would be shown."""

    offered: OfferedTool
    tokens: int
    warnings: tuple[str, ...]
    suspicions: tuple[Suspicion, ...]


@dataclass(frozen=True, slots=True)
class CheckedIntegration:
    """What would become of one entry: `error` and `stage` say why it would fail, and how far it came."""

    provider: ProviderInfo
    error: ErrorInfo | None = None
    stage: str | None = None
    seconds: float | None = None
    tools: tuple[CheckedTool, ...] = ()
    withheld: tuple[str, ...] = ()
    drifted: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class IntegrationCheck:
    """What would become of all of them; `ok` says that a chat with them would begin."""

    ok: bool
    integrations: tuple[CheckedIntegration, ...]
    tokens: int
    tokens_counted_by: str | None
    warnings: tuple[str, ...]


@dataclass(slots=True)
class _Entry:
    request: IntegrationRequest
    opened: OpenedIntegration | None = None
    error: ErrorInfo | None = None
    stage: str | None = None
    seconds: float | None = None


class IntegrationCheckService:
    """Tries integrations out, each by itself, so that one that fails hides nothing of the others."""

    def __init__(self, catalog: IntegrationCatalog, costs: TokenCostService, limits: Limits) -> None:
        self._catalog = catalog
        self._costs = costs
        self._limits = limits

    async def check(
        self, integrations: Sequence[IntegrationRequest], caller: Caller, *, model: str | None = None
    ) -> IntegrationCheck:
        """Connect them as a chat would, and close what lives only as long as a request.

        Costs are counted by the tokenizer of `model` where that is loaded and has one.

        Raises:
            OrchestratorError: `permission_denied`.
        """
        entries = [_Entry(integration) for integration in granted_integrations(integrations, caller)]
        self._refuse(entries)
        response_id = new_response_id()
        scope = RunScope(caller.owner, response_id, response_id, caller_token=caller.token)
        async with anyio.create_task_group() as connecting:
            for index, entry in enumerate(entries):
                if entry.error is None:
                    connecting.start_soon(self._connect, entry, index, scope)
        offered = _offer(entries)
        costs = await self._costs.costs([definition_text(tool.name, tool.definition) for tool in offered], model)
        return _report(entries, offered, costs, self._limits)

    def _refuse(self, entries: Sequence[_Entry]) -> None:
        """What the catalog refuses without connecting; an entry is judged beside those that are fine."""
        fine: list[IntegrationRequest] = []
        for index, entry in enumerate(entries):
            try:
                self._catalog.check([*fine, entry.request])
            except OrchestratorError as error:
                entry.error, entry.stage = _placed(error.info, len(fine), index), CHECK
            else:
                fine.append(entry.request)

    async def _connect(self, entry: _Entry, index: int, scope: RunScope) -> None:
        started = anyio.current_time()
        try:
            async with self._catalog.open([entry.request], scope) as (session,):
                entry.seconds = anyio.current_time() - started
                entry.opened = opened_integration(session)
        except OrchestratorError as error:
            if entry.opened is None:
                entry.error = _placed(error.info, 0, index)
                entry.stage = error.stage if isinstance(error, IntegrationFailedError) else CHECK
            else:
                log.warning("a connection did not close well", reason=error.info.message)


def _placed(error: ErrorInfo, index: int, real: int) -> ErrorInfo:
    """`error` with the path that its entry has in the whole request."""
    head, _, rest = (error.param or "integrations").removeprefix("integrations").removeprefix(".").partition(".")
    tail = f".{rest}" if head == str(index) and rest else ""
    return replace(error, param=f"integrations.{real}{tail}")


def _dry_run(integrations: Sequence[IntegrationRequest]) -> RunRequest:
    return RunRequest("", "", "", (), integrations=tuple(integrations))


def _offer(entries: Sequence[_Entry]) -> tuple[OfferedTool, ...]:
    """What the entries that are fine would offer together, `integration` being their index in the request."""
    fine: list[tuple[int, _Entry, OpenedIntegration]] = []
    for index, entry in enumerate(entries):
        if entry.opened is None:
            continue
        alone = offer(_dry_run([entry.request]), [entry.opened])
        if isinstance(alone, ErrorInfo):
            entry.error, entry.stage = _placed(alone, 0, index), OFFER
        else:
            fine.append((index, entry, entry.opened))
    together = offer(_dry_run([entry.request for _, entry, _ in fine]), [opened for _, _, opened in fine])
    assert not isinstance(together, ErrorInfo)  # each of them is fine, and nothing is asked of all of them
    return tuple(replace(tool, integration=fine[tool.integration][0]) for tool in together)


def _report(
    entries: Sequence[_Entry], offered: Sequence[OfferedTool], costs: TokenCosts, limits: Limits
) -> IntegrationCheck:
    integrations: list[CheckedIntegration] = []
    for index, entry in enumerate(entries):
        others = frozenset(tool.definition.name for tool in offered if tool.integration != index)
        tools = tuple(
            CheckedTool(
                tool,
                tokens,
                _tool_warnings(tool, entry.opened),
                tool_suspicions(tool.definition) + names_other_tools(tool.definition, others),
            )
            for tool, tokens in zip(offered, costs.counts, strict=True)
            if tool.integration == index
        )
        opened = entry.opened
        integrations.append(
            CheckedIntegration(
                requested_provider(entry.request) if opened is None else opened.provider,
                entry.error,
                entry.stage,
                entry.seconds,
                tools,
                _names(entry.request, opened, opened.withheld) if opened else (),
                _names(entry.request, opened, opened.drifted) if opened else (),
                opened.problems if opened else (),
            )
        )
    total = sum(costs.counts)
    ok = all(entry.error is None for entry in entries)
    return IntegrationCheck(
        ok, tuple(integrations), total, costs.counted_by, _warnings(entries, integrations, total, limits)
    )


def _names(request: IntegrationRequest, opened: OpenedIntegration, names: frozenset[str]) -> tuple[str, ...]:
    granted = request.granted_tools if isinstance(request, PluginRequest) else ALL_TOOLS
    return tuple(tool.name for tool in opened.tools if tool.name in names and tool_is_granted(granted, tool.name))


def _tool_warnings(tool: OfferedTool, opened: OpenedIntegration | None) -> tuple[str, ...]:
    warnings: list[str] = []
    if tool.name != tool.definition.name:
        warnings.append(f"the model is shown it as '{tool.name}'")
    if not tool.definition.description.strip():
        warnings.append("it has no description: the model has to guess what it does")
    if not schema_is_usable(tool.definition.input_schema):
        warnings.append("its input schema is broken, or refers to another document: arguments are not checked here")
    if opened is not None and tool.definition.name in opened.changed:
        warnings.append("its definition is not the one that was approved")
    return tuple(warnings)


def _warnings(
    entries: Sequence[_Entry], integrations: Sequence[CheckedIntegration], tokens: int, limits: Limits
) -> tuple[str, ...]:
    """What is to be said of the request as a whole, and of each entry."""
    warnings = [*offer_warnings(sum(len(one.tools) for one in integrations), tokens, limits)]
    for entry, one in zip(entries, integrations, strict=True):
        label = provider_label(one.provider)
        if one.error is None and not one.tools:
            warnings.append(f"'{label}' would offer no tools")
        if entry.opened is not None:
            alone = _dry_run([entry.request])
            for told in (duplicate_warnings, drift_warnings, problem_warnings):
                warnings += told(alone, [entry.opened])
        flagged = [tool.offered.definition.name for tool in one.tools if tool.suspicions]
        if flagged:
            warnings.append(f"'{label}': suspicious texts in the definition of {', '.join(flagged)}")
    return tuple(warnings)
