"""What a server says of itself when it is connected."""

from dataclasses import dataclass
from typing import cast

from mcp.client import ClientSession
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from orchestrator.core.json_types import JsonObject
from orchestrator.core.materials import MaterialList
from orchestrator.integrations.results import clean, storable_text


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """Its protocol, its name where it gives one, and what it offers; `tells_changes` are the lists it watches for us."""

    protocol_version: str
    name: str | None
    version: str | None
    title: str | None
    instructions: str | None
    capabilities: JsonObject
    tells_changes: frozenset[MaterialList]

    @property
    def is_stateless(self) -> bool:
        """Whether it speaks the family of protocols without a handshake."""
        return self.protocol_version in MODERN_PROTOCOL_VERSIONS


def server_facts(session: ClientSession) -> ServerFacts:
    """The facts, once the connection is initialised."""
    capabilities, info = session.server_capabilities, session.server_info
    tells: set[MaterialList] = set()
    offered: JsonObject = {}
    if capabilities is not None:
        dumped = capabilities.model_dump(by_alias=True, mode="json", exclude_none=True)
        offered = cast(JsonObject, clean(dumped))
        if capabilities.tools is not None and capabilities.tools.list_changed:
            tells.add("tools")
        if capabilities.resources is not None and capabilities.resources.list_changed:
            tells.add("resources")
        if capabilities.prompts is not None and capabilities.prompts.list_changed:
            tells.add("prompts")
    return ServerFacts(
        session.protocol_version or "",
        None if info is None else storable_text(info.name),
        None if info is None else storable_text(info.version),
        None if info is None or info.title is None else storable_text(info.title),
        None if session.instructions is None else storable_text(session.instructions),
        offered,
        frozenset(tells),
    )
