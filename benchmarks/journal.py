"""A journal of any size, as a year of use leaves it: for the benchmarks of everything that reads one.

    python benchmarks/journal.py DATABASE_URL [CALLS]

The database must be empty; it is migrated first. CALLS is 1,000,000 if absent. Responses have four
calls each and stand in chains of eight, but for the first 1,000, which are one chain; the audit chain
over them is whole, and their words can be searched. Words are as frequent as in a language: the first
is in nearly every response, the last in hardly any. Seeded: always the same.
"""

import asyncio
import itertools
import json
import random
import sqlite3
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import asyncpg
from sqlalchemy import make_url
from sqlalchemy.dialects import postgresql

from orchestrator.core.items import EphemeralProvider, PluginProvider, ProviderInfo
from orchestrator.core.json_types import JsonObject
from orchestrator.core.listing import listing_number
from orchestrator.core.search import BREAK, words_of
from orchestrator.core.tools import ToolDefinition, definition_digest
from orchestrator.store import audit_links as links
from orchestrator.store import response_links
from orchestrator.store.audit_arguments import argument_leaves
from orchestrator.store.columns import SearchWords
from orchestrator.store.labels import call_labels, opening_labels, owner_word
from orchestrator.store.migrate import upgrade
from orchestrator.store.rows import PREVIEW

CALLS: Final = 1_000_000
CALLS_A_RESPONSE: Final = 4
CHAIN: Final = 8
LONG_CHAIN: Final = 1_000
BATCH: Final = 2_500
"""Responses that are written at a time."""

BEGIN: Final = datetime(2025, 1, 1, tzinfo=UTC)
YEAR: Final = timedelta(days=365)

OWNERS: Final = ["local", *(f"owner_{number:016x}" for number in range(1, 20))]
MODELS: Final = ["demo/tiny-tools", "qwen3:8b", "mistral/small", "meta/llama", "google/gemma"]
PLUGINS: Final = [f"mcp/plugin-{number}" for number in range(12)]
TOOLS: Final = [f"tool_{number}" for number in range(40)]
RARE_TOOL: Final = "drop_table"
FOLDERS: Final = ["/home/ada", "/home/bob", "/srv/data", "/var/log", "/tmp", "/usr/share"]
RARE_FOLDER: Final = "/etc"
STATUSES: Final = ["succeeded"] * 92 + ["failed"] * 3 + ["refused"] * 2 + ["invalid"] * 2 + ["abandoned"]
WORDS: Final = ["".join(letters) for letters in itertools.product("bdfgklmnprstvz", "aeiou", "blmnrst", "aeiou")][::-1]
"""What is said, the most frequent first."""

SERVER: Final = "search"
"""The label of a server that requests bring along."""

TABLES: Final = {
    "responses": (
        *("id", "previous_response_id", "root_id", "depth", "owner", "model_key", "model_instance_id", "stored"),
        *("parameters", "metadata", "status", "stats", "created_at", "ended_at"),
        *("number", "input_preview", "output_preview", "input_salt", "output_salt"),
    ),
    "input_items": ("response_id", "position", "type", "content"),
    "tool_calls": (
        *("call_id", "response_id", "position", "turn", "owner", "model_key", "model_name", "arguments_text"),
        *("arguments", "tool", "provider_type", "provider_name", "definition_digest", "reason", "status", "output"),
        *("structured", "shown", "is_error", "duration_ms", "created_at", "settled_at", "token_id"),
        *("arguments_salt", "output_salt"),
    ),
    "output_items": ("response_id", "position", "turn", "type", "content", "call_id"),
    "call_arguments": ("path", "value", "created_at", "call_id"),
    "audit_chain": ("owner", "sequence", "kind", "call_id", "content_digest", "previous", "hash"),
    "response_chain": ("owner", "sequence", "kind", "response_id", "content_digest", "previous", "hash"),
    "response_labels": ("label", "number"),
    "response_search": ("number", "words"),
}
STATS: Final = json.dumps(
    {
        "input_tokens": 900,
        "total_output_tokens": 120,
        "reasoning_output_tokens": 0,
        "tokens_per_second": 40.5,
        "time_to_first_token_seconds": 0.2,
        "model_load_time_seconds": None,
        "cached_input_tokens": 800,
        "unknown": [],
    }
)


class Year:
    """The rows of a year, batch by batch."""

    def __init__(self, calls: int) -> None:
        self.responses = calls // CALLS_A_RESPONSE
        self.random = random.Random(42)
        self.heads: dict[str, tuple[int, bytes]] = dict.fromkeys(OWNERS, (0, links.NO_LINK))
        self.response_heads: dict[str, tuple[int, bytes]] = dict.fromkeys(OWNERS, (0, links.NO_LINK))
        self.definitions = {
            name: ToolDefinition(name, f"Does what {name} does.", {"type": "object"}) for name in [*TOOLS, RARE_TOOL]
        }
        self.digests = {name: definition_digest(definition) for name, definition in self.definitions.items()}
        self.weights = list(itertools.accumulate(1 / (rank + 1) for rank in range(len(OWNERS))))
        self.word_weights = list(itertools.accumulate(1 / (rank + 1) for rank in range(len(WORDS))))

    def batches(self) -> Iterator[dict[str, list[tuple[Any, ...]]]]:
        """Rows by their table."""
        rows: dict[str, list[tuple[Any, ...]]] = {table: [] for table in TABLES}
        for number in range(self.responses):
            self._response(number, rows)
            if (number + 1) % BATCH == 0:
                yield rows
                rows = {table: [] for table in TABLES}
        yield rows

    def _sentence(self, words: int) -> str:
        return " ".join(self.random.choices(WORDS, cum_weights=self.word_weights, k=words)).capitalize() + "."

    def _response(self, number: int, rows: dict[str, list[tuple[Any, ...]]]) -> None:
        long = number < LONG_CHAIN
        root, depth = (0, number) if long else (number - number % CHAIN, number % CHAIN)
        of_root = random.Random(root)
        owner = of_root.choices(OWNERS, cum_weights=self.weights)[0]
        model = of_root.choice(MODELS)
        at = BEGIN + YEAR * (number / self.responses)
        id, parent = _response_id(number), None if depth == 0 else _response_id(number - 1)
        parameters, metadata = {"temperature": 0}, {"ticket": str(number % 1_000)}
        said, answer = f"Question {number}: what stands in the file?", self._sentence(40)
        place = listing_number(at, id)
        row: dict[str, Any] = {
            "id": id,
            "previous_response_id": parent,
            "root_id": _response_id(root),
            "depth": depth,
            "owner": owner,
            "model_key": model,
            "model_instance_id": model,
            "stored": True,
            "parameters": json.dumps(parameters),
            "metadata": json.dumps(metadata),
            "status": "cancelled" if number % 50 == 49 else "completed",
            "stats": STATS,
            "created_at": at,
            "ended_at": at + timedelta(seconds=30),
            "number": place,
            "input_preview": said[:PREVIEW],
            "output_preview": answer[:PREVIEW],
            "input_salt": of_root.randbytes(links.SALT_BYTES),
            "output_salt": of_root.randbytes(links.SALT_BYTES),
        }
        rows["responses"].append(tuple(row[column] for column in TABLES["responses"]))
        rows["input_items"].append((id, 0, "text", said))
        texts, used = [said], list[tuple[str, ProviderInfo]]()
        for position in range(CALLS_A_RESPONSE):
            call = self._call(id, number * CALLS_A_RESPONSE + position, position, owner, model, at, rows)
            texts += [call["tool"], call["arguments_text"], call["shown"]]
            kind = PluginProvider if call["provider_type"] == "plugin" else EphemeralProvider
            used.append((call["tool"], kind(call["provider_name"])))
        rows["output_items"].append((id, CALLS_A_RESPONSE, 2, "message", answer, None))
        self._chain(row | {"parameters": parameters}, rows)
        labels = {*opening_labels(owner, model, metadata), *call_labels(owner, used)}
        rows["response_labels"] += [(label, place) for label in sorted(labels)]
        rows["response_search"].append((place, [owner_word(owner), BREAK, *words_of([*texts, answer])]))

    def _chain(self, row: dict[str, Any], rows: dict[str, list[tuple[Any, ...]]]) -> None:
        """Put the response into its owner's chain. Its items are the last ones among `rows`."""
        told = dict.fromkeys(NEVER_SET) | row
        said = [_item("input_items", rows["input_items"][-1]) | {"origin": None, "details": None}]
        written = [_item("output_items", each) for each in rows["output_items"][-CALLS_A_RESPONSE - 1 :]]
        for kind, items in (("opened", said), ("ended", written)):
            digest = links.salted_digest(row[response_links.SALTS[kind]], response_links.CONTENTS[kind](told, items))
            sequence, previous = self.response_heads[row["owner"]]
            facts = response_links.FACTS[kind](told, digest)
            head = links.link_hash(row["owner"], sequence + 1, previous, kind, facts)
            rows["response_chain"].append((row["owner"], sequence + 1, kind, row["id"], digest, previous, head))
            self.response_heads[row["owner"]] = sequence + 1, head

    def _call(
        self,
        response_id: str,
        number: int,
        position: int,
        owner: str,
        model: str,
        at: datetime,
        rows: dict[str, list[tuple[Any, ...]]],
    ) -> dict[str, Any]:
        draw = self.random
        status = draw.choice(STATUSES)
        tool = RARE_TOOL if number % 5_000 == 1 else draw.choice(TOOLS)
        folder = RARE_FOLDER if number % 3_000 == 2 else draw.choice(FOLDERS)
        provider = ("plugin", PLUGINS[hash_of(tool) % len(PLUGINS)]) if number % 40 else ("ephemeral_mcp", SERVER)
        arguments: JsonObject = {"path": f"{folder}/{draw.randrange(10_000)}.txt", "depth": draw.randrange(5)}
        text = json.dumps(arguments)
        ran = status in ("succeeded", "failed")
        duration = min(60_000, int(draw.lognormvariate(4, 1.5))) if ran else 0
        created = at + timedelta(milliseconds=position)
        settled = created + timedelta(milliseconds=duration)
        shown = self._sentence(40)
        output = json.dumps([{"type": "text", "text": shown}])
        row: dict[str, Any] = {
            "call_id": f"call_{number:024x}",
            "response_id": response_id,
            "position": position,
            "turn": 1,
            "owner": owner,
            "model_key": model,
            "model_name": tool,
            "arguments_text": text,
            "arguments": text,
            "tool": tool,
            "provider_type": provider[0],
            "provider_name": provider[1],
            "definition_digest": self.digests[tool],
            "reason": None,
            "status": status,
            "output": output,
            "structured": None,
            "shown": shown,
            "is_error": status != "succeeded" or draw.random() < 0.03,
            "duration_ms": duration,
            "created_at": created,
            "settled_at": settled,
            "token_id": None,
            "arguments_salt": draw.randbytes(links.SALT_BYTES),
            "output_salt": draw.randbytes(links.SALT_BYTES),
        }
        rows["tool_calls"].append(tuple(row[column] for column in TABLES["tool_calls"]))
        rows["output_items"].append((response_id, position, 1, "tool_call", None, row["call_id"]))
        for path, value in argument_leaves(arguments):
            rows["call_arguments"].append((path, value, created, row["call_id"]))
        asked = links.salted_digest(row["arguments_salt"], links.journaled_content(row, links.argument_text(arguments)))
        answered = links.salted_digest(row["output_salt"], links.settled_content(row))
        for kind, digest, facts in (
            ("journaled", asked, links.journaled_facts(row, asked)),
            ("settled", answered, links.settled_facts(row, answered)),
        ):
            sequence, previous = self.heads[owner]
            head = links.link_hash(owner, sequence + 1, previous, kind, facts)
            rows["audit_chain"].append((owner, sequence + 1, kind, row["call_id"], digest, previous, head))
            self.heads[owner] = sequence + 1, head
        return row


NEVER_SET: Final = (
    *("removed_parent_id", "forked_from", "forked_position", "forked_rest", "replay_of", "token_id", "system_prompt"),
    *("ending_reason", "error_kind", "error_message", "error_param"),
)


def _item(table: str, values: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(TABLES[table], values, strict=True))


def hash_of(text: str) -> int:
    """A number that is the same in every process."""
    return sum(text.encode())


def _response_id(number: int) -> str:
    return f"resp_{number:048x}"


# ---- writing ----------------------------------------------------------------------------------


async def fill(url: str, calls: int = CALLS) -> None:
    """Migrate the database at `url` and write a year of so many calls into it."""
    await upgrade(url)
    year = Year(calls)
    definitions = [
        (year.digests[name], json.dumps(definition.as_json()), BEGIN) for name, definition in year.definitions.items()
    ]
    write = _fill_sqlite if make_url(url).drivername.startswith("sqlite") else _fill_postgres
    await write(url, year, definitions)


HEADS: Final = ("owner", "sequence", "hash", "checkpointed")


def _heads(heads: dict[str, tuple[int, bytes]]) -> list[tuple[Any, ...]]:
    return [(owner, sequence, digest, 0) for owner, (sequence, digest) in heads.items()]


async def _fill_sqlite(url: str, year: Year, definitions: list[tuple[Any, ...]]) -> None:
    path = make_url(url).database or ""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA cache_size = -400000")
    _insert(connection, "tool_definitions", ("digest", "definition", "first_seen_at"), definitions)
    for rows in year.batches():
        words = [(number, " ".join(found)) for number, found in rows["response_search"]]
        for table, values in (rows | {"response_search": words}).items():
            _insert(connection, table, TABLES[table], values)
        _insert(connection, "response_words", ("rowid", "words"), words)
        connection.commit()
    _insert(connection, "audit_heads", HEADS, _heads(year.heads))
    _insert(connection, "response_heads", HEADS, _heads(year.response_heads))
    connection.commit()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def _insert(
    connection: sqlite3.Connection, table: str, columns: Sequence[str], values: Iterable[tuple[Any, ...]]
) -> None:
    places = ", ".join("?" * len(columns))
    written = (
        tuple(f"{value:%Y-%m-%d %H:%M:%S.%f}" if isinstance(value, datetime) else value for value in row)
        for row in values
    )
    connection.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})", written)


async def _fill_postgres(url: str, year: Year, definitions: list[tuple[Any, ...]]) -> None:
    address = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    connect: Any = asyncpg.connect  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - it has no types
    connection = await connect(address)
    await connection.execute("SET synchronous_commit = off")

    async def copy(table: str, columns: Sequence[str], values: list[tuple[Any, ...]]) -> None:
        await connection.copy_records_to_table(table, records=values, columns=list(columns))

    await copy("tool_definitions", ("digest", "definition", "first_seen_at"), definitions)
    await connection.execute("CREATE TEMPORARY TABLE found_words (number bigint, words text)")
    vectors, dialect = SearchWords(), postgresql.dialect()
    for rows in year.batches():
        words = rows.pop("response_search")
        for table, values in rows.items():
            await copy(table, TABLES[table], values)
        texts = [(number, vectors.process_bind_param(found, dialect)) for number, found in words]
        await copy("found_words", ("number", "words"), texts)
        await connection.execute("INSERT INTO response_search SELECT number, words::tsvector FROM found_words")
        await connection.execute("TRUNCATE found_words")
    await copy("audit_heads", HEADS, _heads(year.heads))
    await copy("response_heads", HEADS, _heads(year.response_heads))
    await connection.execute("VACUUM ANALYZE")
    await connection.close()


async def main(url: str, calls: int) -> None:
    """Fill the database and say how long it took."""
    begun = time.perf_counter()
    await fill(url, calls)
    sys.stdout.write(f"{calls} calls in {time.perf_counter() - begun:.0f} s\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else CALLS))
