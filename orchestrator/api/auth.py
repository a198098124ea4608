"""Who asks: the caller of a request, from its token."""

from dataclasses import dataclass
from typing import Final

from orchestrator.api.errors import HttpRequest
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.ports import Token
from orchestrator.service.callers import Caller
from orchestrator.service.quotas import Quotas
from orchestrator.service.tokens import TokenService, looks_like_a_token

TWO_TOKENS: Final = "The request has two different tokens. Send one, as 'Authorization: Bearer …' or as 'x-api-key: …'."


@dataclass(frozen=True, slots=True)
class Authenticator:
    """Tells the caller of a request. `required` False lets requests without a token in, as `local`."""

    tokens: TokenService
    quotas: Quotas
    required: bool

    async def caller(self, request: HttpRequest) -> Caller:
        """The caller.

        Where no token is required, one that is meant as ours is checked all the same; anything else is
        the placeholder of a client that cannot do without a key ("lm-studio", an empty variable).

        Raises:
            OrchestratorError: `invalid_api_key`; `rate_limited` where the token asks too often.
        """
        texts = [text for text in _sent_tokens(request) if self.required or looks_like_a_token(text)]
        if len(texts) > 1:
            self._count_address(request)
            raise OrchestratorError(ErrorKind.INVALID_API_KEY, TWO_TOKENS)
        if texts:
            text = texts[0]
            token = await self._verified(request, text)
            caller = Caller(token.owner, token.id, token.permissions, token.limits, text, token.account)
            await self.quotas.count_request(caller)
            return caller
        self._count_address(request)
        if self.required:
            message = "An API token is required. Send it as 'Authorization: Bearer …' or 'x-api-key: …'."
            raise OrchestratorError(ErrorKind.INVALID_API_KEY, message)
        placeholders = _sent_tokens(request)
        return Caller(token=(placeholders[0] or None) if placeholders else None)

    async def _verified(self, request: HttpRequest, text: str) -> Token:
        try:
            return await self.tokens.verify(text)
        except OrchestratorError as error:
            if error.info.kind is ErrorKind.INVALID_API_KEY:
                self._count_address(request)
            raise

    def _count_address(self, request: HttpRequest) -> None:
        self.quotas.count_anonymous(request.client.host if request.client is not None else "")


def _sent_tokens(request: HttpRequest) -> list[str]:
    """Each that differs once: a client may send the same one in both headers."""
    bearers = [
        credentials.strip()
        for scheme, _, credentials in (
            one.strip().partition(" ") for one in request.headers.getall("authorization", [])
        )
        if scheme.lower() == "bearer"
    ]
    return list(dict.fromkeys([*bearers, *request.headers.getall("x-api-key", [])]))
