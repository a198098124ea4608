"""The rules of redaction as people write them: patterns with names, and paths of JSON.

Patterns are those of RE2 (https://github.com/google/re2/wiki/Syntax): matching takes time in proportion to
the text, whatever the pattern and the text are, because there is no backtracking. That is why look-around and
back-references are not known to it.
"""

import hashlib
import json
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias, cast

import re2

Scope: TypeAlias = Literal["arguments", "result"]

MAX_RULES: Final = 100
MAX_PATTERN: Final = 2000
"""Characters of a pattern."""

MAX_STEPS: Final = 32
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,39}")
_STEP: Final = re.compile(
    r"(?P<dots>\.\.?)(?P<name>[^.\[\]'\"*\s][^.\[\]'\"*]*)|(?P<any>\.\*|\[\*?\])|\[(?P<index>\d{1,6})\]"
    r"|\[(?P<quote>['\"])(?P<quoted>[^'\"]+)(?P=quote)\]"
)
_ROOTS: Final[dict[str, Scope | None]] = {"arguments": "arguments", "result": "result", "output": "result", "$": None}


class RedactionProblem(ValueError):
    """A rule cannot be used, and why; it repeats the rule, which is no secret, and nothing that it matched."""


@dataclass(frozen=True, slots=True)
class PatternRule:
    """What texts are searched for. Of a match its group `secret` is replaced, if the pattern has one."""

    name: str
    source: str
    regex: Any = field(compare=False, repr=False)  # the library has no types
    group: int = 0
    holds: Callable[[str], bool] | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.name}={self.source}"


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a path: a member by name, an element by index, or any of either; `below` at any depth."""

    name: str | None = None
    index: int | None = None
    below: bool = False


@dataclass(frozen=True, slots=True)
class PathRule:
    """A place in the arguments of calls, in their results, or (None) in both."""

    name: str
    source: str
    scope: Scope | None
    steps: tuple[Step, ...]

    def __str__(self) -> str:
        return self.source


def is_card(text: str) -> bool:
    """Whether the digits of `text` have the check digit of payment cards (ISO/IEC 7812-1, annex B)."""
    digits = [int(each) for each in text if each.isdigit()]
    doubled = [digit * 2 - 9 * (digit > 4) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


BUILT_IN: Final[dict[str, tuple[str, Callable[[str], bool] | None]]] = {
    "card": (
        r"\b(?:4\d{3}|5[1-5]\d\d|2[2-7]\d\d|6\d{3})(?:[ -]\d{4}){3}\b|\b3[47]\d\d[ -]\d{6}[ -]\d{5}\b"
        r"|\b(?:4|5[1-5]|2[2-7]|3[47]|6)\d{11,17}\b",
        is_card,
    ),
    "email": (r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})+", None),
    "jwt": (r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*", None),
    "private_key": (r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?s:.*?)(?:-----END [A-Z ]*PRIVATE KEY-----|\z)", None),
    "api_key": (
        r"\b(?:sk-[A-Za-z0-9_:-]{16,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{20,}"
        r"|xox[abeprs]-[A-Za-z0-9-]{10,}|A(?:KIA|SIA)[0-9A-Z]{16}|AIza[0-9A-Za-z_-]{35}|hf_[A-Za-z0-9]{20,})",
        None,
    ),
}
"""Patterns that need only be named. `api_key` knows the beginnings that several well-known services give their keys."""


def parse_patterns(written: object) -> tuple[PatternRule, ...]:
    """Names of built-in patterns as a list, or an object of name and pattern, where `true` stands for a built-in one.

    Raises:
        RedactionProblem: one of them cannot be used.
    """
    if isinstance(written, list):
        pairs = [(name, True) for name in cast("list[object]", written)]
    elif isinstance(written, dict):
        pairs = list(cast("dict[object, object]", written).items())
    else:
        raise RedactionProblem("must be a list of names, or an object of name and pattern")
    if len(pairs) > MAX_RULES:
        raise RedactionProblem(f"at most {MAX_RULES} patterns")
    return tuple(_pattern(name, pattern) for name, pattern in pairs)


def literal_rule(name: str, texts: Collection[str]) -> PatternRule:
    """A rule for these texts, which are secret: it shows nothing of them. There must be one at least."""
    library: Any = re2
    options = library.Options()
    options.log_errors = False
    found = {form for text in texts for form in (text, json.dumps(text, ensure_ascii=False)[1:-1])}
    source = "|".join(library.escape(text) for text in sorted(found, key=len, reverse=True))
    digest = hashlib.sha256(source.encode("utf-8", "replace")).hexdigest()
    return PatternRule(name, f"literals {digest}", library.compile(source.encode("utf-8", "replace"), options))


def parse_paths(written: object) -> tuple[PathRule, ...]:
    """Each path begins with `arguments`, `result` or, for both, `$`.

    Then come `.name`, `['name']`, `[0]`, `[*]` or `.*` for any element or member, `..name` for any depth.

    Raises:
        RedactionProblem: one of them cannot be used.
    """
    if not isinstance(written, list):
        raise RedactionProblem("must be a list of paths")
    paths = cast("list[object]", written)
    if len(paths) > MAX_RULES:
        raise RedactionProblem(f"at most {MAX_RULES} paths")
    return tuple(_path(path) for path in paths)


def _pattern(name: object, written: object) -> PatternRule:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise RedactionProblem(f"{name!r}: a name has up to 40 of a-z, 0-9, '_', '-' and '.'")
    if written is True:
        if name not in BUILT_IN:
            raise RedactionProblem(f"'{name}': there is no such built-in pattern; there are {', '.join(BUILT_IN)}")
        return _compiled(name, *BUILT_IN[name])
    if not isinstance(written, str) or not written:
        raise RedactionProblem(f"'{name}': a pattern must be a text, or true for a built-in one")
    return _compiled(name, written, None)


def _compiled(name: str, source: str, holds: Callable[[str], bool] | None) -> PatternRule:
    if len(source) > MAX_PATTERN:
        raise RedactionProblem(f"{name!r}: a pattern has at most {MAX_PATTERN} characters")
    library: Any = re2
    options = library.Options()
    options.log_errors = False  # it would write them to standard error by itself
    try:
        regex = library.compile(source.encode(), options)
    except (library.error, UnicodeEncodeError) as error:
        why = error.args[0].decode("utf-8", "replace") if isinstance(error.args[0], bytes) else "it is not UTF-8"
        raise RedactionProblem(f"'{name}': {source!r} is no pattern of RE2: {why}") from None
    if regex.search(b"") is not None:
        raise RedactionProblem(f"'{name}': {source!r} matches the empty text, and so everywhere")
    return PatternRule(name, source, regex, regex.groupindex.get(b"secret", 0), holds)


def _path(written: object) -> PathRule:
    if not isinstance(written, str):
        raise RedactionProblem(f"{written!r}: a path must be a text")
    path = written.strip()
    root = re.match(r"\$|[a-z]+", path)
    if root is None or root[0] not in _ROOTS:
        raise RedactionProblem(f"{path!r}: a path begins with 'arguments', 'result' or '$'")
    steps = _steps(path, root.end())
    if not steps:
        raise RedactionProblem(f"{path!r}: it names nothing below '{root[0]}'")
    named = [step.name for step in steps if step.name is not None]
    word = re.sub(r"[^a-z0-9_.-]+", "_", named[-1].lower()).strip("_.-")[:40] if named else ""
    return PathRule(word or "value", path, _ROOTS[root[0]], steps)


def _steps(path: str, start: int) -> tuple[Step, ...]:
    steps: list[Step] = []
    while start < len(path):
        found = _STEP.match(path, start)
        if found is None:
            raise RedactionProblem(f"{path!r}: it cannot be read from {path[start:]!r} on")
        start = found.end()
        name, index = found["name"] or found["quoted"], found["index"]
        steps.append(
            Step(
                None if name is None else name.casefold(),
                None if index is None else int(index),
                found["dots"] == "..",
            )
        )
        if len(steps) > MAX_STEPS:
            raise RedactionProblem(f"{path[:80]!r}: a path has at most {MAX_STEPS} steps")
    return tuple(steps)
