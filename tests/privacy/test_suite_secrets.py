"""The look at what the tests leave behind finds something where there is something."""

import sqlite3
from pathlib import Path

from tests.suite_secrets import leaks


def test_a_secret_of_the_tests_is_found_in_databases_logs_and_exports(tmp_path: Path) -> None:
    secret = "hunter2-" + "found"
    database = sqlite3.connect(tmp_path / "any.name")
    database.execute("CREATE TABLE t AS SELECT ? AS x", (secret,))
    database.commit()
    database.close()
    for name in ("service.log", "calls.csv", "mcp.json", "notes.txt"):
        (tmp_path / name).write_text(f"the header was {secret}")
    found = list(leaks(tmp_path))
    for file in tmp_path.iterdir():
        file.unlink()
    assert found == [f"{name} holds b'{secret}'" for name in ("any.name", "calls.csv", "service.log")]
