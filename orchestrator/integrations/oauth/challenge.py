"""What a server says when a token is missing, or does not do (RFC 6750, RFC 9728). Pure."""

from dataclasses import dataclass, replace

import httpx2
from mcp.client.auth.utils import (
    extract_field_from_www_auth,
    extract_resource_metadata_from_www_auth,
    extract_scope_from_www_auth,
    union_scopes,
)
from mcp.shared.inbound import MCP_PROTOCOL_VERSION_HEADER


@dataclass(frozen=True, slots=True)
class Challenge:
    """A refusal that another token would answer: none is there (401), or its rights do not reach (403).

    `for_bearers` is whether the server says that it takes tokens at all.
    """

    insufficient_scope: bool = False
    scope: str | None = None
    resource_metadata: str | None = None
    protocol_version: str | None = None
    for_bearers: bool = False

    @classmethod
    def of(cls, request: httpx2.Request, response: httpx2.Response) -> "Challenge | None":
        """The challenge in an answer, None where it is another kind of answer."""
        wants_more = (
            response.status_code == 403 and extract_field_from_www_auth(response, "error") == "insufficient_scope"
        )
        if response.status_code != 401 and not wants_more:
            return None
        return cls(
            wants_more,
            extract_scope_from_www_auth(response),
            extract_resource_metadata_from_www_auth(response),
            request.headers.get(MCP_PROTOCOL_VERSION_HEADER),
            "bearer" in response.headers.get("www-authenticate", "").lower(),
        )

    def wanting(self, scope: str | None) -> "Challenge":
        """The same challenge, for the rights of `scope` as well."""
        return replace(self, scope=union_scopes(scope, self.scope))

    def request(self, url: str) -> httpx2.Request:
        """A request such as the one that was refused."""
        version = {} if self.protocol_version is None else {MCP_PROTOCOL_VERSION_HEADER: self.protocol_version}
        return httpx2.Request("POST", url, headers=version)

    def response(self, request: httpx2.Request) -> httpx2.Response:
        """The refusal, with nothing but what counts of it."""
        fields = {
            "error": "insufficient_scope" if self.insufficient_scope else None,
            "scope": self.scope,
            "resource_metadata": self.resource_metadata,
        }
        said = ", ".join(f'{name}="{value}"' for name, value in fields.items() if value is not None)
        status = 403 if self.insufficient_scope else 401
        return httpx2.Response(status, headers={"WWW-Authenticate": f"Bearer {said}".strip()}, request=request)
