"""Which calls need somebody's approval, and what that somebody may decide.

The notation is OpenAI's `require_approval` (https://platform.openai.com/docs/guides/tools-remote-mcp),
with `read_only`, `destructive` and `default` in its filters' company.
"""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, cast

from orchestrator.core.items import ProviderInfo
from orchestrator.core.json_types import JsonObject, JsonValue
from orchestrator.core.tools import ToolDefinition

Demand: TypeAlias = Literal["never", "always"]
FILTER_KEYS: Final = ("tool_names", "read_only", "destructive")


@dataclass(frozen=True, slots=True)
class ToolFilter:
    """Some of a server's tools: those named, and those whose annotations are as said here."""

    tool_names: tuple[str, ...] = ()
    read_only: bool | None = None
    destructive: bool | None = None

    def hints_at(self, tool: ToolDefinition) -> bool:
        """Whether an annotation of `tool` is one that is asked for; a missing one has MCP's default."""
        hints = tool.annotations
        read_only = hints.read_only is True
        destructive = not read_only and hints.destructive is not False
        return self.read_only is read_only or self.destructive is destructive


@dataclass(frozen=True, slots=True)
class ApprovalPolicy:
    """When a call needs approval: a tool's name decides before its annotations, `always` before `never`."""

    default: Demand = "never"
    always: ToolFilter = ToolFilter()
    never: ToolFilter = ToolFilter()

    def demands(self, tool: ToolDefinition) -> bool:
        """Whether a call of `tool` must not run before somebody approves it."""
        if tool.name in self.always.tool_names:
            return True
        if tool.name in self.never.tool_names:
            return False
        if self.always.hints_at(tool):
            return True
        return not self.never.hints_at(tool) and self.default == "always"

    @property
    def can_demand(self) -> bool:
        """Whether there may be any tool at all that needs approval."""
        return self != NEVER


NEVER: Final = ApprovalPolicy()


class ApprovalPolicyProblem(ValueError):
    """The text of a policy cannot be used; `path` is where, such as `always.tool_names`, empty for the whole."""

    def __init__(self, problem: str, path: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.path = path


def parse_approval_policy(value: JsonValue) -> ApprovalPolicy:
    """`never`, `always`, or an object with the filters `never` and `always`, and `default` for the rest.

    Without `default` the rest needs approval, unless `always` is the only filter.

    Raises:
        ApprovalPolicyProblem: it is something else.
    """
    if isinstance(value, dict):
        _only(value, ("always", "never", "default"), "")
        fallback: Demand = "never" if "always" in value and "never" not in value else "always"
        return ApprovalPolicy(
            _demand(value["default"], "default") if "default" in value else fallback,
            _filter(value.get("always"), "always"),
            _filter(value.get("never"), "never"),
        )
    return ApprovalPolicy(_demand(value, ""))


def approval_policy_json(policy: ApprovalPolicy) -> JsonValue:
    """`policy` as `parse_approval_policy` reads it."""
    if policy == ApprovalPolicy(policy.default):
        return policy.default
    return {"default": policy.default, "always": _filter_json(policy.always), "never": _filter_json(policy.never)}


def _demand(value: JsonValue, path: str) -> Demand:
    if value not in ("never", "always"):
        raise ApprovalPolicyProblem("must be 'never' or 'always'" + ("" if path else ", or an object of these"), path)
    return value


def _filter(value: JsonValue, path: str) -> ToolFilter:
    if value is None:
        return ToolFilter()
    if not isinstance(value, dict):
        raise ApprovalPolicyProblem("must be an object", path)
    _only(value, FILTER_KEYS, path)
    names = value.get("tool_names")
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise ApprovalPolicyProblem("must be a list of names", f"{path}.tool_names")
    hints = [value.get(key) for key in FILTER_KEYS[1:]]
    for key, hint in zip(FILTER_KEYS[1:], hints, strict=True):
        if hint is not None and not isinstance(hint, bool):
            raise ApprovalPolicyProblem("must be true or false", f"{path}.{key}")
    return ToolFilter(tuple(cast("list[str]", names or [])), *cast("list[bool | None]", hints))


def _only(value: JsonObject, keys: tuple[str, ...], path: str) -> None:
    unknown = next((key for key in value if key not in keys), None)
    if unknown is not None:
        raise ApprovalPolicyProblem(f"takes only {', '.join(keys)}", f"{path}.{unknown}".lstrip("."))


def _filter_json(part: ToolFilter) -> JsonObject:
    said: JsonObject = {}
    if part.tool_names:
        said["tool_names"] = list(part.tool_names)
    for key in FILTER_KEYS[1:]:
        hint: bool | None = getattr(part, key)
        if hint is not None:
            said[key] = hint
    return said


@dataclass(frozen=True, slots=True)
class Approve:
    """The call may run, with `arguments` in the place of the model's where they are given."""

    arguments: JsonObject | None = None


@dataclass(frozen=True, slots=True)
class Deny:
    """The call must not run; `reason` is told to the model."""

    reason: str | None = None


Decision: TypeAlias = Approve | Deny


@dataclass(frozen=True, slots=True)
class PendingApproval:
    """A call that waits for somebody to decide about it."""

    call_id: str
    tool: str
    arguments: JsonObject
    provider: ProviderInfo
