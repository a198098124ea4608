"""What servers ask of us, answered by policy: elicitation, sampling, roots.

Servers of the handshake family send requests of their own; those of the stateless one answer ours with
`input_required` and get the same request again, with the answers. Both end here.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import anyio
import mcp_types as types
from mcp.client import ClientRequestContext
from pydantic import ValidationError

from orchestrator.core.content import described
from orchestrator.core.errors import OrchestratorError
from orchestrator.core.items import ImageInput, TextInput
from orchestrator.core.json_types import JsonObject
from orchestrator.core.prompt import AssistantMessage, UserMessage, UserPart
from orchestrator.core.server_requests import (
    CANCELLED,
    DECLINED,
    LONGEST_NOTE,
    Elicitation,
    ElicitationAnswer,
    SamplingRequest,
    clipped,
)
from orchestrator.integrations.open_calls import NotOursError, OpenCall, OpenCalls
from orchestrator.integrations.results import storable_text
from orchestrator.integrations.server_url import ServerUrlError, parse_server_url

MAX_ROUNDS: Final = 10
"""How often a server may ask for further input to one request."""
_PAUSE_SECONDS: Final = (0.05, 0.25)
"""First and longest pause before a request is sent again that a server only put off."""

T = TypeVar("T")
_Answer = types.ElicitResult | types.CreateMessageResult | types.ListRootsResult | types.ErrorData


@dataclass(frozen=True, slots=True)
class ClientFeatures:
    """What servers are told that we can do for them. Without a feature, a request for it is refused."""

    elicitation: bool = False
    sampling: bool = False
    roots: tuple[Path, ...] = ()


NO_FEATURES: Final = ClientFeatures()


class UnansweredError(Exception):
    """A server needs an answer that it does not get; the message says why, as the rest of a sentence about it."""


class ServerRequests:
    """Answers the requests of one server for the calls that they belong to."""

    def __init__(self, features: ClientFeatures, calls: OpenCalls, redact: Callable[[str], str]) -> None:
        self._features = features
        self._calls = calls
        self._redact = redact

    def callbacks(self) -> Mapping[str, Any]:
        """What the SDK's client is to be made with; a feature without a callback is not announced."""
        callbacks: dict[str, Any] = {}
        if self._features.elicitation:
            callbacks["elicitation_callback"] = self._on_elicitation
        if self._features.sampling:
            callbacks["sampling_callback"] = self._on_sampling
        if self._features.roots:
            callbacks["list_roots_callback"] = self._on_roots
        return callbacks

    async def complete(
        self,
        call: OpenCall,
        send: Callable[[types.InputResponses | None, str | None], Awaitable[JsonObject]],
    ) -> JsonObject:
        """`send`, and send again with what the server wants, until it has a result.

        Raises:
            UnansweredError: it wants what it does not get, or too often.
        """
        raw = await send(None, None)
        pause = _PAUSE_SECONDS[0]
        for _ in range(MAX_ROUNDS):
            if raw.get("resultType") != "input_required":
                return raw
            try:
                wanted = types.InputRequiredResult.model_validate(raw, by_name=False)
            except ValidationError:
                raise UnansweredError("it asks for further input in a way that does not follow the protocol") from None
            call.clock.heard()
            if wanted.input_requests:
                pause = _PAUSE_SECONDS[0]
                raw = await send(await self._answers(call, wanted.input_requests), wanted.request_state)
            else:
                await anyio.sleep(pause)
                pause = min(2 * pause, _PAUSE_SECONDS[1])
                raw = await send(None, wanted.request_state)
        if raw.get("resultType") == "input_required":
            raise UnansweredError(f"it asked for further input more than {MAX_ROUNDS} times")
        return raw

    async def _answers(self, call: OpenCall, wanted: types.InputRequests) -> types.InputResponses:
        answers: dict[str, _Answer] = {}

        async def answer(key: str, request: types.InputRequest) -> None:
            answers[key] = await self._answer(call, request)

        async with anyio.create_task_group() as asking:
            for key, request in wanted.items():
                asking.start_soon(answer, key, request)
        responses: types.InputResponses = {}
        for key in wanted:
            given = answers[key]
            if isinstance(given, types.ErrorData):
                raise UnansweredError(f"it asks for further input, which it does not get: {given.message}")
            responses[key] = given
        return responses

    async def _answer(self, call: OpenCall, request: types.InputRequest) -> _Answer:
        match request:
            case types.ElicitRequest(params=params):
                if not self._features.elicitation:
                    return types.ElicitResult(action="decline")
                return await self._elicit(call, params)
            case types.CreateMessageRequest(params=params):
                if not self._features.sampling:
                    return _refused("servers may not use the model (sampling is switched off)")
                return await self._sample(call, params)
            case types.ListRootsRequest():
                return self._roots()

    # ---- the handshake family: requests of the server's own ----

    async def _on_elicitation(self, context: ClientRequestContext, params: types.ElicitRequestParams) -> _Answer:
        try:
            call = self._calls.of_server_request()
        except NotOursError as error:
            return _refused(f"the user cannot be asked: {error}")
        return await self._elicit(call, params)

    async def _on_sampling(self, context: ClientRequestContext, params: types.CreateMessageRequestParams) -> _Answer:
        try:
            call = self._calls.of_server_request()
        except NotOursError as error:
            return _refused(f"the model cannot be used: {error}")
        return await self._sample(call, params)

    async def _on_roots(self, context: ClientRequestContext) -> _Answer:
        return self._roots()

    # ---- answers ----

    async def _elicit(self, call: OpenCall, params: types.ElicitRequestParams) -> _Answer:
        asked = self._question(params)
        if asked is None or call.side.elicit is None:
            answer = DECLINED if asked is None else CANCELLED
        else:
            try:
                with call.clock.paused():
                    answer = await call.side.elicit(asked)
            except OrchestratorError as error:
                return _refused(error.info.message)
        return _elicited(answer)

    def _question(self, params: types.ElicitRequestParams) -> Elicitation | None:
        """None for an address that nobody should be sent to."""
        message = clipped(storable_text(self._redact(params.message)), 4 * LONGEST_NOTE)
        if isinstance(params, types.ElicitRequestFormParams):
            return Elicitation(message, "form", params.requested_schema)
        try:
            parse_server_url(params.url)
        except ServerUrlError:
            return None
        return Elicitation(message, "url", url=params.url)

    async def _sample(self, call: OpenCall, params: types.CreateMessageRequestParams) -> _Answer:
        if call.side.sample is None:
            return _refused("there is no model to be used for this call")
        if params.tools:
            return _refused("tools are not supported in sampling")
        try:
            with call.clock.paused():
                reply = await call.side.sample(_sampling_request(params))
        except OrchestratorError as error:
            return _refused(error.info.message)
        return types.CreateMessageResult(
            role="assistant",
            content=types.TextContent(type="text", text=reply.text),
            model=reply.model,
            stop_reason=reply.stop_reason,
        )

    def _roots(self) -> _Answer:
        if not self._features.roots:
            return _refused("no roots are configured for this server")
        roots = [types.Root(uri=folder.as_uri(), name=folder.name or str(folder)) for folder in self._features.roots]  # pyright: ignore[reportArgumentType] - pydantic makes a URL of it
        return types.ListRootsResult(roots=roots)


def _elicited(answer: ElicitationAnswer) -> types.ElicitResult:
    content: Any = answer.content
    return types.ElicitResult(action=answer.action, content=content)


def _refused(why: str) -> types.ErrorData:
    return types.ErrorData(code=types.INVALID_REQUEST, message=why)


def _sampling_request(params: types.CreateMessageRequestParams) -> SamplingRequest:
    messages: list[UserMessage | AssistantMessage] = []
    for message in params.messages:
        parts = message.content_as_list
        if message.role == "assistant":
            messages.append(AssistantMessage("", "\n".join(_text(part) for part in parts), ()))
        else:
            messages.append(UserMessage(tuple(_input(part) for part in parts)))
    return SamplingRequest(
        tuple(messages),
        params.max_tokens,
        None if params.system_prompt is None else storable_text(params.system_prompt),
        params.temperature,
        tuple(params.stop_sequences or ()),
    )


def _input(part: types.SamplingMessageContentBlock) -> UserPart:
    if isinstance(part, types.ImageContent) and part.mime_type.startswith("image/"):
        return ImageInput(f"data:{part.mime_type};base64,{part.data}")
    return TextInput(_text(part))


def _text(part: types.SamplingMessageContentBlock) -> str:
    return storable_text(described(part.model_dump(by_alias=True, mode="json", exclude_none=True)))
