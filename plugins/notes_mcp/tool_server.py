"""An MCP server whose failed calls read as one plain sentence.

The SDK answers arguments that do not fit with the validator's own report (several lines, with links), puts its own words before an
expected error, and passes over an argument that the tool does not have. A small model needs the sentence and nothing else.

The plugins here hold the same copy of this file, so that each can be taken, read and changed by itself.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool
from mcp_types import CallToolResult, InputRequiredResult, TextContent, ToolAnnotations
from pydantic import BaseModel, ValidationError


@dataclass(frozen=True, slots=True)
class ToolEntry:
    """A function to offer as a tool under its own name."""

    function: Callable[..., Any]
    title: str
    description: str
    annotations: ToolAnnotations


class PlainToolServer(MCPServer[Any]):
    """An MCP server of fixed tools; `expected` is the exception whose message is for the caller to read."""

    def __init__(
        self,
        name: str,
        *,
        title: str,
        version: str,
        instructions: str,
        entries: Sequence[ToolEntry],
        expected: type[Exception],
    ) -> None:
        tools = [_tool(entry) for entry in entries]
        super().__init__(
            name, title=title, version=version, instructions=instructions, tools=tools, log_level="WARNING"
        )
        self._expected = expected
        self._parameters = {tool.name: _parameter_names(tool) for tool in tools}

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[Any, Any] | None = None
    ) -> CallToolResult | InputRequiredResult:
        """Calls a tool.

        Raises:
            ToolError: the tool is unknown, the arguments do not fit, or the tool raised the expected exception; the message is
                one sentence or two that begin with "Error: ".
            UnexpectedToolError: the tool raised anything else.
        """
        if name not in self._parameters:
            raise ToolError(f"Error: there is no tool '{name}'. The tools are {', '.join(self._parameters)}.")
        takes = ", ".join(self._parameters[name]) or "no arguments"
        unknown = [argument for argument in arguments if argument not in self._parameters[name]]
        if unknown:
            raise ToolError(f"Error: {name} has no argument '{unknown[0]}'. It takes {takes}.")
        try:
            return await super().call_tool(name, arguments, context)
        except ToolError as error:
            cause = error.__cause__
            if isinstance(cause, self._expected):
                raise ToolError(f"Error: {cause}") from cause
            if isinstance(cause, ValidationError):
                # Without the cause: the SDK would take it for a report that it has to write itself.
                raise ToolError(f"Error: {_what_does_not_fit(cause)} {name} takes {takes}.") from None
            raise


def answer(text: str, structured: BaseModel) -> CallToolResult:
    """A result that a model reads as `text` and a program as `structured`."""
    return CallToolResult(
        content=[TextContent(type="text", text=text)],
        structured_content=structured.model_dump(mode="json", by_alias=True),
    )


def _tool(entry: ToolEntry) -> Tool:
    tool = Tool.from_function(
        entry.function,
        title=entry.title,
        description=entry.description,
        annotations=entry.annotations,
        structured_output=True,
    )
    tool.parameters["additionalProperties"] = False
    return tool


def _parameter_names(tool: Tool) -> tuple[str, ...]:
    return tuple(tool.parameters.get("properties", {}))


def _what_does_not_fit(error: ValidationError) -> str:
    sentences: list[str] = []
    for detail in error.errors(include_url=False, include_context=False, include_input=False):
        argument = ".".join(str(part) for part in detail["loc"])
        message = detail["msg"].removeprefix("Input ")
        sentences.append(f"{argument} is missing." if detail["type"] == "missing" else f"{argument} {message}.")
    return " ".join(sentences)
