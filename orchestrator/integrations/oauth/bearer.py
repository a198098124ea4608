"""Requests to a server carry a token, and a refusal that another token would answer is tried again with it."""

from collections.abc import AsyncGenerator, Callable
from typing import Protocol

import httpx2
from mcp.shared._request_clock import waiting_on_a_person

from orchestrator.integrations.oauth.challenge import Challenge


class AuthorizationError(Exception):
    """There is no token that would do; the message says why, as the rest of a sentence about the server."""


class Bearers(Protocol):
    """Where tokens for one server come from."""

    async def token(self) -> str | None:
        """A token that has not expired, renewed where that can be done; None where there is none.

        Raises:
            AuthorizationError: there should be one, and why there is not.
        """
        ...

    async def another(self, challenge: Challenge, refused: str | None) -> str:
        """A token to answer `challenge` with, when `refused` was not enough.

        Raises:
            AuthorizationError: there is none.
        """
        ...


class BearerAuth(httpx2.Auth):
    """Adds the token to each request; `unauthorised` is told why a refusal could not be answered.

    The refusal itself goes to whoever asked: an error in this place would end the whole session.
    """

    def __init__(self, bearers: Bearers, unauthorised: Callable[[httpx2.Request, str], None]) -> None:
        self._bearers = bearers
        self._unauthorised = unauthorised

    async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        token: str | None = None
        problem: str | None = None
        try:
            with waiting_on_a_person():
                token = await self._bearers.token()
        except AuthorizationError as error:
            problem = str(error)
        tried: set[bool] = set()
        while True:
            if token is not None:
                request.headers["Authorization"] = f"Bearer {token}"
            response = yield request
            challenge = Challenge.of(request, response)
            if challenge is None:
                return
            # Once for a missing token and once for missing rights: a server may ask for one after the other.
            if challenge.insufficient_scope in tried:
                return
            tried.add(challenge.insufficient_scope)
            if problem is None:
                try:
                    # The SDK takes a server that is slow to answer its first question for one of the older
                    # family; the time that a login takes says nothing of the server. Our own deadlines go on.
                    with waiting_on_a_person():
                        token = await self._bearers.another(challenge, token)
                except AuthorizationError as error:
                    problem = str(error)
            if problem is not None:
                self._unauthorised(request, problem)
                return
