"""What servers ask during a call, answered at the terminal: a form field by field, an address, the use of the model."""

import json
import signal
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, Final, Literal, TypeAlias, cast

import click

from orchestrator.api.wire import ElicitationReply
from orchestrator.api.wire_events import ElicitationRequested
from orchestrator.api.wire_requests import ElicitationAnswer
from orchestrator.cli.chat_client import Answer, ServiceClient
from orchestrator.cli.command_error import CommandError
from orchestrator.cli.terminal_stream import provider_text
from orchestrator.cli.terminal_text import one_line, visible
from orchestrator.core.json_types import JsonObject, JsonValue
from orchestrator.core.tools import schema_problems

Action: TypeAlias = Literal["accept", "decline", "cancel"]
ACTIONS: Final[Mapping[str, Action]] = {"a": "accept", "d": "decline", "c": "cancel"}


def answering(client: ServiceClient) -> Answer | None:
    """Who answers what servers ask: the person at the terminal, None where there is none."""
    if not sys.stdin.isatty():
        return None

    async def answer(response_id: str, asked: ElicitationRequested) -> None:
        # Nothing else is to be done meanwhile, and a thread that waits for a key could not be interrupted.
        with _interruptible():
            given = ask_person(asked)
        path = f"/api/v1/responses/{response_id}/elicitations/{asked.elicitation_id}"
        try:
            await client.ask("POST", path, ElicitationReply, given)
        except CommandError as error:
            click.echo(str(error), err=True)  # too late, say; the call goes on by itself

    return answer


@contextmanager
def _interruptible() -> Generator[None]:
    """Ctrl-C ends the question, not the call: the event loop's own handler would wait for the answer."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def ask_person(asked: ElicitationRequested) -> ElicitationAnswer:
    """What the person at the terminal answers; Ctrl-C and the end of the input cancel."""
    try:
        click.echo(f"{provider_text(asked.provider_info)} asks: {visible(asked.message)}", err=True)
        if isinstance(asked.url, str):
            click.echo(f"open this address, then accept: {one_line(asked.url)}", err=True)
        action = _choice("accept, decline or cancel", ACTIONS)
        if action != "accept" or not isinstance(asked.requested_schema, dict):
            return ElicitationAnswer(action)
        return ElicitationAnswer("accept", ask_form(asked.requested_schema))
    except click.Abort:
        click.echo("cancelled", err=True)
        return ElicitationAnswer("cancel")


def ask_form(schema: JsonObject) -> JsonObject:
    """The fields of a form one by one, each until it matches its schema; an empty answer leaves out what may be."""
    fields = schema.get("properties")
    required = schema.get("required")
    needed = required if isinstance(required, list) else []
    content: JsonObject = {}
    for name, field in fields.items() if isinstance(fields, dict) else ():
        value = _field(name, field if isinstance(field, dict) else {}, required=name in needed)
        if value is not None:
            content[name] = value
    return content


def _field(name: str, field: JsonObject, *, required: bool) -> JsonValue:
    label, choices = _label(name, field), _choices(field)
    if field.get("description"):
        click.echo(f"  {one_line(str(field['description']))}", err=True)
    for value, title in choices.items():
        click.echo(f"    {one_line(value)}{f'  {one_line(title)}' if title != value else ''}", err=True)
    default = field.get("default")
    shown = "" if default is None else _shown(default)
    while True:
        written: str = click.prompt(label, default=shown, show_default=bool(shown), err=True)
        if not written and not required:
            return None
        value = _value(written, field)
        problem = schema_problems(field, value)
        if problem is None and choices:
            picked = value if isinstance(value, list) else [value]
            strange = [str(one) for one in picked if str(one) not in choices]
            problem = f"{', '.join(strange)} is none of {', '.join(choices)}" if strange else None
        if problem is None:
            return value
        click.echo(one_line(problem), err=True)


def _label(name: str, field: JsonObject) -> str:
    hints = {"boolean": " (y/n)", "array": " (several: a, b)"}
    return one_line(str(field.get("title") or name)) + hints.get(str(field.get("type")), "")


def _choices(field: JsonObject) -> dict[str, str]:
    """The values that a choice has, with their titles."""
    items = field.get("items")
    source = items if isinstance(items, dict) else field
    titled = source.get("oneOf") or source.get("anyOf")
    if isinstance(titled, list):
        options = [cast("dict[str, Any]", one) for one in titled if isinstance(one, dict) and "const" in one]
        return {str(one["const"]): str(one.get("title", one["const"])) for one in options}
    values, names = source.get("enum"), source.get("enumNames")
    if not isinstance(values, list):
        return {}
    titles = names if isinstance(names, list) and len(names) == len(values) else values
    return {str(value): str(title) for value, title in zip(values, titles, strict=True)}


def _value(written: str, field: JsonObject) -> JsonValue:
    """What was written, as the field's type has it; text that is no such thing stays text, and is refused as that."""
    match field.get("type"):
        case "boolean":
            words: dict[str, bool] = {"y": True, "yes": True, "true": True, "n": False, "no": False, "false": False}
            return words.get(written.strip().lower(), written)
        case "integer" | "number":
            try:
                number: object = json.loads(written)
            except ValueError:
                return written
            return number if isinstance(number, int | float) and not isinstance(number, bool) else written
        case "array":
            return [part.strip() for part in written.split(",") if part.strip()]
        case _:
            return written


def _shown(default: JsonValue) -> str:
    match default:
        case bool():
            return "y" if default else "n"
        case list():
            return ", ".join(str(one) for one in default)
        case _:
            return str(default)


def _choice(question: str, actions: Mapping[str, Action]) -> Action:
    written: str = click.prompt(question, type=click.Choice(list(actions)), err=True)
    return actions[written]
