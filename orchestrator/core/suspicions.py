"""Tool poisoning: texts of a server that are written for the model and not for whom they describe a tool to.

A description is data, and the model reads it as part of its instructions. The patterns below find what
is known of such attacks. They are hints for a person: an honest text may match one, and a text that
matches none is not thereby safe.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from orchestrator.core.json_types import JsonValue
from orchestrator.core.tools import ToolDefinition

LONGEST_SCANNED: Final = 20_000
LONGEST_USUAL: Final = 4_000
"""Characters: what is longer has room for more than a description."""
MOST_FOUND: Final = 50
_AROUND: Final = 30
_DEEPEST: Final = 64


@dataclass(frozen=True, slots=True)
class Pattern:
    """A kind of suspicious text: its name, and what it means to whoever reads the finding."""

    name: str
    meaning: str
    expression: re.Pattern[str] | None = None


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A finding: which pattern, in which text of the definition, and the place, made printable."""

    pattern: str
    where: str
    excerpt: str


def _phrase(expression: str) -> re.Pattern[str]:
    return re.compile(expression, re.IGNORECASE | re.DOTALL)


_ADDRESS: Final = (
    r"(https?://|[\w.+-]+@[\w-]+\.\w+|\bwww\.\w|\b\d{1,3}(\.\d{1,3}){3}\b"
    r"|\b([a-z0-9-]{1,63}\.){1,8}(com|net|org|io|dev|app|ai|co|xyz|info|biz|cloud|site|online|top|ru|cn|example|onion)\b)"
)
"""Where data may be sent to. Of hosts without a scheme only usual endings count: `main.py` is a file."""

PATTERNS: Final[tuple[Pattern, ...]] = (
    Pattern(
        "overrides_instructions",
        "asks the model to set aside instructions that others gave it",
        _phrase(
            r"\b(ignore|disregard|forget|override|bypass)\b.{0,40}\b(previous|prior|above|earlier|all|any|other|system|safety)\b"
            r".{0,30}\b(instructions?|prompts?|rules?|messages?|guidelines?|polic(y|ies)|directions?)\b"
            r"|\b(ignore|disregard|forget|discard)\b.{0,30}\b(what|everything|all|anything)\b.{0,20}\b(was|were|is|are|been)\b"
            r".{0,10}\b(said|told|written|given|stated)\b"
            r"|\b(instructions?|prompts?|rules?|guidelines?)\b.{0,20}\b(is|are)\b.{0,10}"
            r"\b(void|no longer valid|superseded|cancelled|canceled|revoked)\b"
        ),
    ),
    Pattern(
        "instruction_tag",
        "dresses text up as instructions by a tag",
        _phrase(
            r"<\s*/?\s*(important|system|instructions?|secret|hidden|critical|admin|assistant|directive)(\s[^<>]{0,100})?>"
            r"|(^|[.!?:;]\s*)(?-i:SYSTEM|ASSISTANT)(\s+(message|prompt|note|instructions?))?\s*:"
        ),
    ),
    Pattern(
        "chat_markup",
        "holds the markup by which chat templates part messages",
        _phrase(
            r"<\|(im_start|im_end|system|user|assistant|endoftext|eot_id|start_header_id)\|>|\[/?INST\]|<</?SYS>>|<start_of_turn>"
            r"|#{2,3}\s*(instruction|system|assistant)\s*:"
        ),
    ),
    Pattern(
        "hides_from_user",
        "asks the model to keep something from the user",
        _phrase(
            r"\b(do not|don't|don\u2019t|never|must not|without|avoid)\b.{0,30}"
            r"\b(tell|telling|mention|mentioning|inform|informing|reveal|revealing|show|showing|notify|notifying|disclos(e|ing))\b"
            r".{0,40}\b(user|users|human|person|anyone|anybody|them)\b"
        ),
    ),
    Pattern(
        "reads_secrets",
        "asks for files or values that hold secrets",
        _phrase(
            r"\b(read|open|cat|load|fetch|include|send|pass|provide|copy|attach|content of|contents of)\b.{0,60}"
            r"(~/\.|/etc/(passwd|shadow)|\.ssh\b|id_(rsa|ed25519)|\.env\b|\.aws\b|\.netrc\b|mcp\.json|\.cursor\b|private keys?\b"
            r"|ssh keys?\b|credentials\b|keychain\b|(user|system) prompt\b|conversation history\b)"
        ),
    ),
    Pattern(
        "sends_data",
        "names an address that data is to be sent to",
        _phrase(
            r"\b(send|forward|upload|post|exfiltrate|transmit|e-?mail|bcc|copy|report)\b.{0,60}\bto\b.{0,40}"
            + _ADDRESS
            + r"|\b(send|forward|upload|post|exfiltrate|transmit)\b.{0,60}\bto\s+([a-z0-9-]{1,63}\.){1,8}[a-z]{2,}/\w"
        ),
    ),
    Pattern(
        "orders_the_model",
        "gives orders about when to use this tool or others",
        _phrase(
            r"\b(before|instead of|prior to)\b.{0,40}\b(using|calling|use|call|invoking|running)\b.{0,60}\b(must|always|have to|required to)\b"
            r"|\b(must|always|have to|required to)\b.{0,40}\b(call|use|run|invoke)\b.{0,30}\bthis tool\b.{0,40}\b(before|first|instead)\b"
            r"|\b(you|the (assistant|model|agent|ai))\s+(must|shall|are required to)\b.{0,80}\b(first|always|never|before|pass|read|send|include)\b"
            r"|\b(the|this|any) (assistant|model|agent|ai|llm)\s+(should|needs to|has to|ought to|is to|will)\b.{0,80}"
            r"\b(first|always|never|before|call|send|include)\b"
            r"|\b(before|prior to|instead of) (you )?(using|calling|running|invoking|use|call|run) (any|all|every|the) other tools?\b"
        ),
    ),
    Pattern(
        "remote_picture",
        "holds a picture by address, which a renderer would fetch",
        _phrase(r"!\[[^\]\n]{0,200}\]\(\s*https?://"),
    ),
    Pattern("html_comment", "holds a comment that a page would not show", _phrase(r"<!--")),
    Pattern("encoded_text", "holds a long encoded text that nobody can read", re.compile(r"[A-Za-z0-9+/]{160,}={0,2}")),
    Pattern("hidden_unicode", "holds characters that are not seen, or that change the order in which text is seen"),
    Pattern("mixed_scripts", "holds words of Latin letters and of others that look like them"),
    Pattern("control_characters", "holds control characters, such as those that steer a terminal"),
    Pattern("long_text", f"is longer than {LONGEST_USUAL} characters"),
    Pattern("names_other_tool", "names a tool of another server: one server has no business with another's tools"),
)
"""Every pattern; those without an expression are found by code."""

_HIDDEN: Final = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u2028-\u202e\u2060-\u2064\u2066-\u206f\u3164\ufeff\uffa0"
    "\U0001d173-\U0001d17a\U000e0000-\U000e007f\U000e0100-\U000e01ef]"
)
_LATIN: Final = "aceijopsxyhkvdqwbmntrgulABCEHIJKMOPSTXYZGNVDQWL"
_ALIKE: Final = str.maketrans(
    "".join(
        (
            # Cyrillic, then Greek, Armenian and Latin of other alphabets, below one another as they look.
            "\u0430\u0441\u0435\u0456\u0458\u043e\u0440\u0455\u0445\u0443\u04bb\u043a\u0475\u0501\u051b\u051d\u044c\u043c\u043f\u0442\u0433\u0581\u057d\u04cf",
            "\u0410\u0412\u0421\u0415\u041d\u0406\u0408\u041a\u041c\u041e\u0420\u0405\u0422\u0425\u04ae\u0417\u050c\u039d\u0474\u0500\u051a\u051c\u053c",
            "\u03b1\u03f2\u03b5\u03b9\u03bf\u03c1\u03c7\u03ba\u03bd\u03c5\u0391\u0392\u0395\u0397\u0399\u039a\u039c\u039f\u03a1\u03a4\u03a5\u03a7\u0396",
            "\u0131\u0251\u0261\u0578\u0585\u0570",
        )
    ),
    _LATIN + "aceiopxkvuABEHIKMOPTYXZ" + "iagnoh",
)
"""Letters that a model and a person read as Latin ones, and that NFKC leaves as they are."""
_WORD: Final = re.compile(r"\w+")
_LEAST_LATIN: Final = 3
"""Letters of a word in which scripts mix, so that a symbol with an index is not meant."""
_CONTROL: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_UNMISTAKABLE: Final = re.compile(r"(?=.*[_\-./])[A-Za-z0-9_.\-/]{6,}")


def text_suspicions(text: str, where: str) -> list[Suspicion]:
    """What is suspicious about one text."""
    text = text[:LONGEST_SCANNED]
    found = [
        Suspicion(name, where, _excerpt(text, match))
        for name, match in (("hidden_unicode", _HIDDEN.search(text)), ("control_characters", _CONTROL.search(text)))
        if match is not None
    ]
    # As a model reads it: look-alikes made alike, what is not seen taken away, however far apart the words stand.
    plain = " ".join(unicodedata.normalize("NFKC", _HIDDEN.sub("", text)).split())
    mixed = next((word for word in _WORD.finditer(plain) if _mixes_scripts(word.group())), None)
    if mixed is not None:
        found.append(Suspicion("mixed_scripts", where, _excerpt(plain, mixed)))
    folded = plain.translate(_ALIKE)
    for pattern in PATTERNS:
        match = None if pattern.expression is None else pattern.expression.search(folded)
        if match is not None:
            found.append(Suspicion(pattern.name, where, _excerpt(folded, match)))
    if len(text) > LONGEST_USUAL:
        found.append(Suspicion("long_text", where, f"{len(text)} characters"))
    return found


def _mixes_scripts(word: str) -> bool:
    latin = sum(letter.isascii() and letter.isalpha() for letter in word)
    return latin >= _LEAST_LATIN and any(ord(letter) in _ALIKE and letter > "\u0370" for letter in word)


def tool_suspicions(tool: ToolDefinition) -> tuple[Suspicion, ...]:
    """What is suspicious about a tool: its name, title and description, and every text in its schemas."""
    texts = [("name", tool.name), ("title", tool.title or ""), ("description", tool.description)]
    texts += _texts(tool.input_schema, "inputSchema")
    texts += _texts(tool.output_schema, "outputSchema")
    found: list[Suspicion] = []
    for where, text in texts:
        found += text_suspicions(text, where)
    return tuple(found[:MOST_FOUND])


def names_other_tools(tool: ToolDefinition, others: frozenset[str]) -> tuple[Suspicion, ...]:
    """Tools of other servers, `others`, that the description names; names that are plain words are not looked for."""
    names = sorted(name for name in others if name != tool.name and _UNMISTAKABLE.fullmatch(name))
    matches = ((name, re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", tool.description)) for name in names)
    return tuple(
        Suspicion("names_other_tool", "description", _excerpt(tool.description, match))
        for _, match in matches
        if match is not None
    )


def _texts(schema: JsonValue, where: str, depth: int = 0) -> Iterator[tuple[str, str]]:
    if isinstance(schema, str):
        yield where, schema
    elif isinstance(schema, list) and depth < _DEEPEST:
        for index, item in enumerate(schema):
            yield from _texts(item, f"{where}.{index}", depth + 1)
    elif isinstance(schema, dict) and depth < _DEEPEST:
        for key, item in schema.items():
            yield f"{where} (a key)", key
            yield from _texts(item, f"{where}.{key}", depth + 1)


def _excerpt(text: str, match: re.Match[str]) -> str:
    begin, end = max(0, match.start() - _AROUND), min(len(text), match.end() + _AROUND)
    cut = text[begin : min(end, begin + 200)]
    shown = "".join(
        letter if letter.isprintable() else " " if letter in "\n\t\r" else f"\\u{{{ord(letter):x}}}" for letter in cut
    )
    return ("…" if begin else "") + " ".join(shown.split()) + ("…" if begin + len(cut) < len(text) else "")
