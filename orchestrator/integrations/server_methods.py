"""The methods of a server that a request of ours may call, over a connection that is open."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, TypeVar

import mcp_types as types
from mcp.client import ClientSession
from pydantic import RootModel

from orchestrator.core.json_types import JsonObject
from orchestrator.core.materials import MaterialList, Piece, Prompt, Resource, ResourceTemplate
from orchestrator.core.tools import ToolResult
from orchestrator.integrations import listings
from orchestrator.integrations.call_clock import CallClock, CallLimits
from orchestrator.integrations.materials import prompt_pieces, resource_pieces
from orchestrator.integrations.open_calls import NOBODY, CallSide, OpenCall
from orchestrator.integrations.redaction import Redactor
from orchestrator.integrations.results import tool_result
from orchestrator.integrations.server_notices import ServerNotices
from orchestrator.integrations.server_requests import ServerRequests

T = TypeVar("T")


class Ask(Protocol):
    """Has work done by the task that owns the connection."""

    async def __call__(self, work: Callable[[ClientSession], Awaitable[T]], call: OpenCall) -> T:
        """The result of `work`, within the time of `call`.

        Raises:
            ConnectionEndedError, NoAnswerError
        """
        ...


class _RawResult(RootModel[dict[str, Any]]):
    """A result as the server sent it: no field added, none lost, no output schema checked."""


class ServerMethods:
    """Calls the server's methods through `ask`. `keeps_lists`: somebody hears when they change."""

    def __init__(
        self,
        ask: Ask,
        requests: ServerRequests,
        notices: ServerNotices,
        keeps_lists: Callable[[MaterialList], bool],
        redact: Redactor,
    ) -> None:
        self._ask = ask
        self._requests = requests
        self._notices = notices
        self._keeps_lists = keeps_lists
        self._redact = redact

    async def call_tool(
        self, tool: str, arguments: JsonObject, limits: CallLimits, side: CallSide = NOBODY
    ) -> ToolResult:
        """Call a tool; cancelling, and a timeout, cancel the call at the server where the transport can.

        Raises:
            ConnectionEndedError, NoAnswerError
        """

        def request(answers: types.InputResponses | None, state: str | None) -> types.CallToolRequest:
            return types.CallToolRequest(
                params=types.CallToolRequestParams(
                    name=tool, arguments=arguments, input_responses=answers, request_state=state
                )
            )

        return tool_result(await self._request(request, limits, side))

    async def read_resource(self, uri: str, limits: CallLimits, side: CallSide = NOBODY) -> tuple[Piece, ...]:
        """The contents of a resource.

        Raises:
            ConnectionEndedError, NoAnswerError
        """

        def request(answers: types.InputResponses | None, state: str | None) -> types.ReadResourceRequest:
            return types.ReadResourceRequest(
                params=types.ReadResourceRequestParams(uri=uri, input_responses=answers, request_state=state)
            )

        return resource_pieces(await self._request(request, limits, side))

    async def get_prompt(
        self, name: str, arguments: Mapping[str, str], limits: CallLimits, side: CallSide = NOBODY
    ) -> tuple[Piece, ...]:
        """The messages of a prompt.

        Raises:
            ConnectionEndedError, NoAnswerError
        """

        def request(answers: types.InputResponses | None, state: str | None) -> types.GetPromptRequest:
            return types.GetPromptRequest(
                params=types.GetPromptRequestParams(
                    name=name, arguments=dict(arguments), input_responses=answers, request_state=state
                )
            )

        return prompt_pieces(await self._request(request, limits, side))

    async def list_resources(self, timeout: float) -> tuple[Resource, ...]:
        """The resources, as last listed unless the server said that they changed.

        Raises:
            ConnectionEndedError, NoAnswerError
        """
        return await self._listed("resources", listings.list_resources, timeout)

    async def list_resource_templates(self, timeout: float) -> tuple[ResourceTemplate, ...]:
        """The templates of resources.

        Raises:
            ConnectionEndedError, NoAnswerError
        """
        return await self._list(listings.list_resource_templates, timeout)

    async def list_prompts(self, timeout: float) -> tuple[Prompt, ...]:
        """The prompts, as last listed unless the server said that they changed.

        Raises:
            ConnectionEndedError, NoAnswerError
        """
        return await self._listed("prompts", listings.list_prompts, timeout)

    async def _request(
        self,
        request: Callable[[types.InputResponses | None, str | None], types.ClientRequest],
        limits: CallLimits,
        side: CallSide,
    ) -> JsonObject:
        """Send a request that the server may answer by asking for more."""
        call = OpenCall(CallClock(limits), side, self._redact)

        async def work(session: ClientSession) -> JsonObject:
            async def send(answers: types.InputResponses | None, state: str | None) -> JsonObject:
                asked = request(answers, state)
                return (await session.send_request(asked, _RawResult, progress_callback=call.progressed)).root

            return await self._requests.complete(call, send)

        return await self._ask(work, call)

    async def _listed(
        self, what: MaterialList, ask: Callable[[ClientSession], Awaitable[tuple[T, ...]]], timeout: float
    ) -> tuple[T, ...]:
        known = self._notices.lists.get(what)
        if known is not None:
            return known
        found = await self._list(ask, timeout)
        if self._keeps_lists(what):
            self._notices.lists[what] = found
        return found

    async def _list(self, ask: Callable[[ClientSession], Awaitable[T]], timeout: float) -> T:
        return await self._ask(ask, OpenCall(CallClock(CallLimits(timeout, timeout)), NOBODY, self._redact))
