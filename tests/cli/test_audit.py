"""`orchestrator audit`: reading, exporting, signing and proving, as an auditor does it."""

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from click.testing import Result

from orchestrator.core.json_types import JsonObject
from orchestrator.store import migrate
from orchestrator.store.audit import SqlAuditStore
from orchestrator.store.database import open_database
from orchestrator.store.read_only import COPIED_WITH_LOG
from orchestrator.store.responses import SqlResponseStore
from tests.cli.program import run
from tests.store.samples import NOON, call, new_response
from tests.store.test_audit_chain import ADA_LINKS, BOB_LINKS, write_everything

pytest_plugins = ("tests.store.databases",)

FORMS = ("jsonl", "csv", "parquet")


async def fill(url: str) -> None:
    database = await open_database(url)
    await write_everything(SqlResponseStore(database))
    await database.aclose()


@pytest.fixture
def url(sqlite_url: str) -> str:
    """A database with a journal of two owners."""
    anyio.run(fill, sqlite_url)
    return sqlite_url


@pytest.fixture
def audit(url: str, tmp_path: Path) -> Callable[..., Result]:
    """The command, on that database."""

    def command(*arguments: str) -> Result:
        return run("audit", *arguments, DATABASE_URL=url, DATA_DIR=str(tmp_path / "data"))

    return command


def said(result: Result) -> Any:
    """The JSON that a command printed."""
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


PROVED = f"{ADA_LINKS + BOB_LINKS} links of calls, 4 of responses"


def change(url: str, *statements: str) -> None:
    """What somebody does who can write to the file."""
    connection = sqlite3.connect(url.partition(":///")[2])
    for (trigger,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {trigger}")
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


# ---- reading ----------------------------------------------------------------------------------


def test_calls_are_listed_and_filtered(audit: Callable[..., Result]) -> None:
    calls = said(audit("list", "--json"))["tool_calls"]
    assert len(calls) == 8
    oldest = said(audit("list", "--oldest-first", "--limit", "3", "--json"))["tool_calls"]
    assert oldest == calls[::-1][:3]
    found = said(audit("list", "--owner", "ada", "--argument", "to=mo*", "--error", "--json"))["tool_calls"]
    assert [call["call_id"] for call in found] == ["call_3"]
    table = audit("list", "--status", "invalid").stdout
    assert "call_3" in table and "(fly)" in table and "call_1" not in table


def test_a_call_is_shown_whole(audit: Callable[..., Result]) -> None:
    whole = said(audit("show", "call_2", "--json"))
    assert (whole["tool"], whole["definition"]["name"], len(whole["links"])) == ("search", "search", 2)
    assert "docs_search" in audit("show", "call_2").stdout
    missing = audit("show", "call_x")
    assert (missing.exit_code, "there is no tool call 'call_x'" in missing.stderr) == (1, True)


def test_statistics_are_shown(audit: Callable[..., Result]) -> None:
    rows = said(audit("stats", "--owner", "ada", "--bucket", "60", "--json"))["stats"]
    assert sum(row["calls"] for row in rows) == 6
    assert "mcp/clock" in audit("stats").stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("list", "--from", "yesterday"),
        ("list", "--argument", "path"),
        ("export", "--output", "calls.txt"),
        ("verify", "--from", "3"),
        ("verify", "--owner", "ada", "--from", "x"),
        ("verify", "--public-key", "key.pub"),
        ("verify", "--file", "missing.jsonl"),
        ("verify", "--since", "missing.json"),
        ("export", "--output", "calls.jsonl", "--sign", "missing.pem"),
    ],
)
def test_what_cannot_be_done_is_one_line(audit: Callable[..., Result], arguments: tuple[str, ...]) -> None:
    result = audit(*arguments)
    assert result.exit_code != 0 and result.stderr.strip() and "Traceback" not in result.output


# ---- proving the database ---------------------------------------------------------------------


def test_the_journal_is_proved_and_a_changed_row_is_named(audit: Callable[..., Result], url: str) -> None:
    report = said(audit("verify", "--json"))
    assert (report["ok"], report["links"]) == (True, ADA_LINKS + BOB_LINKS)
    assert audit("verify").stdout == f"ok: {PROVED} are as they were written\n"
    part = said(audit("verify", "--owner", "ada", "--from", "3", "--to", "5", "--json"))
    assert part["links"] == 3
    later = said(audit("verify", "--owner", "ada", "--from", "2026-03-01T12:00:30", "--json"))
    assert 0 < later["links"] < ADA_LINKS
    everybodys = said(audit("verify", "--from", "2026-03-01T12:00:30", "--json"))
    assert later["links"] <= everybodys["links"] < ADA_LINKS + BOB_LINKS
    assert said(audit("verify", "--to", "2027-01-01", "--json"))["links"] == ADA_LINKS + BOB_LINKS
    several = audit("verify", "--from", "3").stderr
    assert "there are 'ada', 'bob': name one with --owner" in several
    assert "Nobody has calls since 2030-01-01" in audit("verify", "--from", "2030-01-01").stderr

    change(url, "UPDATE tool_calls SET output = '[]' WHERE call_id = 'call_2'")
    result = audit("verify")
    assert result.exit_code == 1
    assert result.stdout == (
        "NOT ok: link 6 of ada, call call_2: its output is not the one that was chained "
        "(5 links before it are as they were written)\n"
    )
    assert json.loads(audit("verify", "--json").stdout)["problem"]["call_id"] == "call_2"


def test_a_message_that_somebody_changed_is_named_by_its_response(audit: Callable[..., Result], url: str) -> None:
    change(url, "UPDATE output_items SET content = 'I never said that.' WHERE type = 'reasoning' AND position = 0")
    result = audit("verify")
    assert (result.exit_code, result.stdout) == (
        1,
        "NOT ok: link 2 of ada's responses, response resp_a: its output is not the one that was chained "
        f"({ADA_LINKS + BOB_LINKS} links of calls, 1 of responses before it are as they were written)\n",
    )
    assert json.loads(audit("verify", "--json").stdout)["problem"]["response_id"] == "resp_a"


def test_where_there_is_one_chain_the_number_of_a_link_is_of_that(sqlite_url: str, tmp_path: Path) -> None:
    async def one_chain() -> None:
        database = await open_database(sqlite_url)
        await SqlResponseStore(database).open_response(new_response("resp_a"))
        await SqlResponseStore(database).journal_calls("resp_a", [call(0, "call_1"), call(1, "call_2")], NOON)
        await database.aclose()

    anyio.run(one_chain)
    found = run("audit", "verify", "--from", "2", "--json", DATABASE_URL=sqlite_url, DATA_DIR=str(tmp_path / "data"))
    assert said(found)["links"] == 1


def test_a_cut_tail_is_noticed_with_an_earlier_export(audit: Callable[..., Result], url: str, tmp_path: Path) -> None:
    said(audit("export", "--output", str(tmp_path / "a.jsonl"), "--json"))
    manifest = str(tmp_path / "a.jsonl.manifest.json")
    assert audit("verify", "--since", manifest).exit_code == 0
    change(
        url,
        "DELETE FROM audit_chain WHERE owner = 'bob'",
        "DELETE FROM audit_heads WHERE owner = 'bob'",
        "DELETE FROM output_items WHERE response_id = 'resp_b'",
        "DELETE FROM tool_calls WHERE owner = 'bob'",
    )
    assert audit("verify").exit_code == 0, "nothing that is there is wrong"
    cut = audit("verify", "--since", manifest)
    assert (cut.exit_code, "its end was cut off" in cut.stdout) == (1, True)
    # As before, but foreign keys do not hold: somebody left the item behind.
    change(
        url,
        "DELETE FROM audit_chain WHERE owner = 'ada' AND sequence > 6",
        "DELETE FROM tool_calls WHERE call_id IN ('call_5', 'call_6')",
        "UPDATE audit_heads SET sequence = 6 WHERE owner = 'ada'",
    )
    cut = audit("verify", "--since", manifest)
    assert (cut.exit_code, cut.stdout.startswith("NOT ok: ada: the chain ends here")) == (1, True), cut.output


EVERYTHING = ("output_items", "tool_calls", "call_arguments", "audit_chain", "audit_heads", "audit_events")
ALL_OF_RESPONSES = ("input_items", "responses", "response_chain", "response_heads")


def test_an_emptied_journal_is_not_said_to_be_right(audit: Callable[..., Result], url: str) -> None:
    change(url, "PRAGMA foreign_keys = OFF", *(f"DELETE FROM {table}" for table in EVERYTHING))
    found = audit("verify")
    assert (found.exit_code, "response resp_a: its output is not" in found.stdout) == (1, True), found.stdout
    change(url, "PRAGMA foreign_keys = OFF", *(f"DELETE FROM {table}" for table in ALL_OF_RESPONSES))
    found = audit("verify")
    assert (found.exit_code, found.stdout) == (
        3,
        "nothing is proven: there are no calls, and nothing here says whether there were any\n",
    )
    told = json.loads(audit("verify", "--json").stdout)
    assert (told["ok"], told["complete"]) == (True, False)


def test_an_event_that_has_heads_of_chains_or_names_calls_betrays_that_they_are_gone(
    audit: Callable[..., Result], url: str
) -> None:
    async def told(kind: str, details: JsonObject) -> None:
        database = await open_database(url)
        await SqlAuditStore(database).record_event(kind, NOON, "service", None, details)
        await database.aclose()

    erasure: JsonObject = {"call_ids": ["call_1"], "total": 1}
    anyio.run(told, "erasure", erasure)
    kept = [table for table in EVERYTHING if table != "audit_events"]
    change(
        url, *(f"DELETE FROM {table}" for table in kept[:-1]), "DELETE FROM audit_heads WHERE owner IN ('ada', 'bob')"
    )
    found = audit("verify")
    assert (found.exit_code, "call call_1: an event says" in found.stdout) == (1, True), found.stdout
    export: JsonObject = {"heads": [["ada", 2, "00"]]}
    anyio.run(told, "export", export)
    found = audit("verify")
    assert (found.exit_code, "link 2 of ada" in found.stdout) == (1, True), found.stdout


def test_evidence_on_read_only_media_is_read_with_its_log(
    audit: Callable[..., Result], url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(url.partition(":///")[2])
    media = tmp_path / "media"
    media.mkdir()
    writer = sqlite3.connect(path)
    writer.execute("INSERT INTO audit_heads VALUES ('carol', 0, x'00', 0)")
    writer.commit()  # it stands in the log alone
    for name in (path.name, path.name + "-wal"):
        shutil.copy(path.with_name(name), media)
        (media / name).chmod(0o444)
    writer.close()
    media.chmod(0o555)

    def may_access(path: str | Path, mode: int) -> bool:
        """Whoever is root may write all the same."""
        return mode != os.W_OK or media not in (Path(path), Path(path).parent)

    monkeypatch.setattr(os, "access", may_access)

    def there(*arguments: str) -> Result:
        return run("audit", *arguments, DATABASE_URL=f"sqlite+aiosqlite:///{media / path.name}", DATA_DIR=str(media))

    found = there("verify", "--owner", "carol")
    assert (found.exit_code, found.stdout.startswith("nothing is proven")) == (3, True), found.output
    found = there("verify")
    assert (found.exit_code, found.stdout) == (0, f"ok: {PROVED} are as they were written\n")
    assert found.stderr == f"note: {COPIED_WITH_LOG}\n"
    made = there("export", "--output", str(tmp_path / "calls.jsonl"), "--json")
    assert (said(made)["rows"], made.stderr) == (8, f"note: {COPIED_WITH_LOG}, and who read it is not recorded\n")
    assert sorted(each.name for each in media.iterdir()) == sorted([path.name, path.name + "-wal"])
    media.chmod(0o755)


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        (
            "DELETE FROM tool_calls WHERE call_id = 'call_2'",
            "link 2 of ada, call call_2: the journal has no such call any more: its row was removed",
        ),
        ("DELETE FROM tool_definitions", "ada, call call_1: its definition"),
        ("DELETE FROM tool_calls; DELETE FROM audit_chain; DELETE FROM audit_heads; DELETE FROM audit_events", "resp_"),
    ],
)
def test_a_row_that_others_refer_to_is_named_when_it_was_removed(
    audit: Callable[..., Result], url: str, statement: str, said: str
) -> None:
    change(url, *statement.split("; "))
    found = audit("verify")
    assert (found.exit_code, found.stderr) == (1, "")
    assert found.stdout.startswith("NOT ok: ") and said in found.stdout


def test_a_database_of_another_version_is_not_migrated_to_be_proved(
    audit: Callable[..., Result], url: str, tmp_path: Path
) -> None:
    anyio.run(partial(migrate.downgrade, url, "0011", lose_evidence=True))
    found = audit("verify")
    assert found.exit_code != 0 and "is at revision 0011" in found.stderr and "orchestrator db upgrade" in found.stderr
    assert anyio.run(migrate.current_revision, url) == "0011"
    missing = tmp_path / "missing.db"
    nothing = run("audit", "verify", DATABASE_URL=f"sqlite+aiosqlite:///{missing}", DATA_DIR=str(tmp_path / "data"))
    assert nothing.exit_code != 0 and "There is no database file" in nothing.stderr and not missing.exists()


def test_what_matches_nothing_is_said_and_what_cannot_match_is_refused(audit: Callable[..., Result]) -> None:
    assert audit("list", "--tool", "nothing").stdout == "no calls match\n"
    assert said(audit("list", "--plugin", "CLOCK", "--json")) == said(audit("list", "--plugin", "mcp/clock", "--json"))
    assert "clock" in audit("list", "--plugin", "CLOCK").stdout
    for option, value in (("--response", "xx"), ("--definition", "142a9b")):
        result = audit("list", option, value)
        assert (result.exit_code, repr(value) in result.stderr) == (2, True)


# ---- proving an export ------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_a_signed_export_is_proved_without_the_database(
    audit: Callable[..., Result], tmp_path: Path, form: str
) -> None:
    key, file = tmp_path / "key.pem", tmp_path / f"calls.{form}"
    said(audit("keygen", str(key), "--json"))
    assert key.stat().st_mode & 0o777 == 0o600
    made = said(audit("export", "--output", str(file), "--sign", str(key), "--json"))
    assert (made["rows"], made["signed"]) == (8, True)
    there = tmp_path / "elsewhere"
    there.mkdir()
    for name in (file.name, file.name + ".definitions.jsonl", file.name + ".manifest.json", "key.pem.pub"):
        shutil.copy(tmp_path / name, there)
    proof = ("audit", "verify", "--file", str(there / file.name), "--public-key", str(there / "key.pem.pub"))
    report = said(run(*proof, "--json", DATA_DIR=str(there / "no database")))
    assert (report["ok"], report["signature"], report["links"]) == (True, True, ADA_LINKS + BOB_LINKS)
    assert report["definitions"] == 2
    assert not (there / "no database").exists()


def rewrite(file: Path, old: str, new: str) -> None:
    """Change one text in an export, whatever it is written in."""
    if file.suffix != ".parquet":
        text = file.read_text("utf-8")
        assert text.count(old) > 0
        file.write_text(text.replace(old, new, 1), "utf-8")
        return
    import pyarrow as pa  # pyright: ignore[reportMissingTypeStubs] - it has none
    import pyarrow.parquet as pq  # pyright: ignore[reportMissingTypeStubs] - it has none

    library: Any = pa
    parquet: Any = pq
    table = parquet.read_table(file)
    rows = table.to_pylist()
    row = next(row for row in rows if row["tool"] == old)
    row["tool"] = new
    parquet.write_table(library.Table.from_pylist(rows, table.schema), file)


@pytest.mark.parametrize("form", FORMS)
def test_a_row_that_was_changed_in_an_export_is_named(audit: Callable[..., Result], tmp_path: Path, form: str) -> None:
    file = tmp_path / f"calls.{form}"
    said(audit("export", "--output", str(file), "--json"))
    rewrite(file, "search", "remove")
    result = audit("verify", "--file", str(file))
    assert (result.exit_code, "call call_2" in result.stdout) == (1, True), result.output


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"created_at":"2', '"created_at":5,"was":"2', "call call_1"),
        ('"duration_ms":12', '"duration_ms":[1]', "call call_2"),
        ('"tool":"search"', '"tool":5', "call call_2"),
        ('"call_id":"call_1"', '"call_id":5', "call 5"),
        ('"journaled_sequence":1', '"journaled_sequence":"1"', "call call_1"),
        ('"owner":"ada"', '"owner":["ada"]', "call call_1"),
        ('"definition_digest":"', '"definition_digest":{},"was":"', "call call_1"),
        ('"journaled_hash":"', '"journaled_hash":"x', "row 1 is no exported call"),
        ('"arguments":{', f'"arguments":{"[" * 100_000},"was":{{', "row 1 is no exported call"),
        ('{"call_id"', '[{"call_id"', "row 1 is no exported call"),
    ],
)
def test_a_row_of_an_export_that_cannot_even_be_read_is_named(
    audit: Callable[..., Result], tmp_path: Path, old: str, new: str, said: str
) -> None:
    file = tmp_path / "calls.jsonl"
    assert audit("export", "--output", str(file)).exit_code == 0
    rewrite(file, old, new)
    result = audit("verify", "--file", str(file))
    assert (result.exit_code, said in result.output) == (1, True), result.output
    assert "Traceback" not in result.output and isinstance(result.exception, SystemExit)


@pytest.mark.parametrize(
    ("old", "new"), [('"hash": "', '"hash": "x'), ('"sequence": ', '"sequence": "x", "was": '), ("{", "[")]
)
def test_a_manifest_that_cannot_be_read_is_one_line(
    audit: Callable[..., Result], tmp_path: Path, old: str, new: str
) -> None:
    file = tmp_path / "calls.jsonl"
    assert audit("export", "--output", str(file)).exit_code == 0
    manifest = tmp_path / "calls.jsonl.manifest.json"
    rewrite(manifest, old, new)
    for asked in (("--file", str(file)), ("--since", str(manifest))):
        result = audit("verify", *asked)
        assert (result.exit_code, "is no manifest" in result.output) == (1, True), result.output


def test_a_definition_beside_an_export_that_cannot_be_read_is_named(
    audit: Callable[..., Result], tmp_path: Path
) -> None:
    file = tmp_path / "calls.jsonl"
    assert audit("export", "--output", str(file)).exit_code == 0
    rewrite(tmp_path / "calls.jsonl.definitions.jsonl", '"definition":', f'"definition":{"[" * 100_000},"was":')
    result = audit("verify", "--file", str(file))
    assert (result.exit_code, "line 1 is no definition" in result.output) == (1, True), result.output


def test_a_row_that_is_missing_in_an_export_is_noticed(audit: Callable[..., Result], tmp_path: Path) -> None:
    file = tmp_path / "calls.jsonl"
    said(audit("export", "--output", str(file), "--json"))
    lines = file.read_text("utf-8").splitlines(keepends=True)
    for gone in range(len(lines)):
        file.write_text("".join(lines[:gone] + lines[gone + 1 :]), "utf-8")
        result = audit("verify", "--file", str(file))
        assert (result.exit_code, "missing in the file" in result.stdout) == (1, True), result.output
    file.write_text("".join(lines + lines[:1]), "utf-8")
    assert "twice" in audit("verify", "--file", str(file)).stdout


def test_a_selection_is_proved_row_by_row(audit: Callable[..., Result], tmp_path: Path) -> None:
    file = tmp_path / "errors.csv"
    said(audit("export", "--output", str(file), "--error", "--json"))
    result = audit("verify", "--file", str(file))
    assert result.exit_code == 3
    assert result.stdout.startswith("complete: not proven (the export is a selection)")
    one = tmp_path / "ada.jsonl"
    said(audit("export", "--output", str(one), "--owner", "ada", "--json"))
    assert audit("verify", "--file", str(one)).stdout == (
        f"ok: {ADA_LINKS} links are as they were written; "
        "the 2 definitions beside it are what their digests stand for\n"
    )


def test_an_export_without_its_manifest_is_not_said_to_be_complete(
    audit: Callable[..., Result], tmp_path: Path
) -> None:
    file = tmp_path / "calls.jsonl"
    said(audit("export", "--output", str(file), "--json"))
    assert said(audit("verify", "--file", str(file), "--json"))["complete"] is True
    (tmp_path / "calls.jsonl.manifest.json").unlink()
    file.write_text("".join(file.read_text("utf-8").splitlines(keepends=True)[:-2]), "utf-8")
    result = audit("verify", "--file", str(file))
    assert result.exit_code == 3
    assert result.stdout.startswith("complete: not proven (there is no manifest beside it)")
    told = json.loads(audit("verify", "--file", str(file), "--json").stdout)
    assert (told["ok"], told["complete"]) == (True, False)


def test_which_definition_stands_behind_a_digest_is_proved_from_the_files_alone(
    audit: Callable[..., Result], tmp_path: Path
) -> None:
    file, beside = tmp_path / "calls.jsonl", tmp_path / "calls.jsonl.definitions.jsonl"
    manifest = tmp_path / "calls.jsonl.manifest.json"
    made = said(audit("export", "--output", str(file), "--json"))
    assert (made["file"], made["definitions"], made["manifest"]) == (str(file), str(beside), str(manifest))
    calls = [json.loads(line) for line in file.read_text().splitlines()]
    first, second = beside.read_text().splitlines(keepends=True)
    definitions = {entry["digest"]: entry["definition"] for entry in map(json.loads, (first, second))}
    assert definitions.keys() == {call["definition_digest"] for call in calls} - {None}
    owner = {digest: next(x for x in calls if x["definition_digest"] == digest) for digest in definitions}

    def verified() -> tuple[int, str]:
        result = audit("verify", "--file", str(file))
        return result.exit_code, result.stdout

    assert verified() == (
        0,
        f"ok: {ADA_LINKS + BOB_LINKS} links are as they were written; "
        "the 2 definitions beside it are what their digests stand for\n",
    )
    whose = json.loads(first)["digest"]
    call = owner[whose]["call_id"]
    beside.write_text(first.replace('"name":"', '"name":"x') + second)
    code, told = verified()
    assert (code, f"call {call}: its definition {whose} in {beside.name} is not the one" in told) == (1, True), told
    beside.write_text(second)
    code, told = verified()
    assert (code, f"call {call}: its definition {whose} is not in {beside.name}" in told) == (1, True), told
    beside.write_text(second + first)
    code, told = verified()
    assert (code, "is not the file of definitions that the manifest was made for" in told) == (1, True), told
    beside.write_text(first + second + '{"digest":"sha256:0","definition":{}}\n')
    code, told = verified()
    assert (code, "NOT ok: the file: the definition sha256:0 in" in told) == (1, True), told
    beside.write_text("[]\n")
    assert "line 1 is no definition" in audit("verify", "--file", str(file)).stderr
    beside.unlink()
    code, told = verified()
    assert (code, f"{beside.name}, are not there any more" in told) == (1, True), told
    # As an export of an earlier version is.
    told_before = json.loads(manifest.read_text())
    del told_before["definitions"]
    manifest.write_text(json.dumps(told_before))
    code, told = verified()
    assert (code, told.endswith("; no definitions lie beside it\n")) == (0, True), told
    beside.write_text("")
    file.unlink()
    assert f"{beside} is there already" in audit("export", "--output", str(file)).stderr


def test_a_manifest_that_was_changed_or_signed_by_another_is_refused(
    audit: Callable[..., Result], tmp_path: Path
) -> None:
    file, manifest = tmp_path / "calls.jsonl", tmp_path / "calls.jsonl.manifest.json"
    for name in ("one", "two"):
        said(audit("keygen", str(tmp_path / name), "--json"))
    again = audit("keygen", str(tmp_path / "one"))
    assert (again.exit_code, "File exists" in again.stderr) == (1, True)
    said(audit("export", "--output", str(file), "--sign", str(tmp_path / "one"), "--json"))
    assert "is there already" in (refused := audit("export", "--output", str(file)).stderr)
    assert "give another --output" in refused

    def proof(key: str) -> Result:
        return audit("verify", "--file", str(file), "--public-key", str(tmp_path / key))

    assert proof("one.pub").exit_code == 0
    assert "somebody else signed it" in proof("two.pub").stderr
    assert "no Ed25519 public key" in proof("one").stderr
    signed = manifest.read_text()
    manifest.write_text(signed.replace('"rows": 8', '"rows": 7'))
    assert "was changed" in proof("one.pub").stderr
    told = json.loads(signed)
    del told["signature"]
    manifest.write_text(json.dumps(told))
    assert "is not signed" in proof("one.pub").stderr
    manifest.write_text(signed)
    file.write_text(file.read_text().replace("call_2", "call_2 ", 1))
    assert proof("one.pub").exit_code == 1


def test_who_reads_at_the_command_line_is_recorded_before(audit: Callable[..., Result], url: str) -> None:
    audit("list", "--owner", "ada", "--json")
    audit("show", "call_1")
    audit("stats")
    with sqlite3.connect(url.partition(":///")[2]) as connection:
        found = connection.execute("SELECT kind, actor, details FROM audit_events ORDER BY sequence").fetchall()
    connection.close()
    readings = [(actor, json.loads(details)) for kind, actor, details in found if kind == "reading"]
    assert [told for _, told in readings] == [
        {"use": "list", "asked": {"owner": "ada"}},
        {"use": "get", "asked": {"call_id": "call_1"}},
        {"use": "stats", "asked": {}},
    ]
    assert all(actor.startswith("command line") for actor, _ in readings)
    assert said(audit("verify", "--json"))["ok"] is True
