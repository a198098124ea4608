"""The secrets of all tests, and where none of them may be once the tests are over: databases, logs and exports.

They are given to the product as header values, environment values, keys and tokens. A new test's secret begins with
`hunter2-` and so is known here.
"""

import re
from collections.abc import Iterator
from pathlib import Path

SECRETS = re.compile(
    rb"hunter2[0-9-][a-z0-9-]*|hunter22|sk-very-secret|the-(?:first|second)-key|a-wrong-key|tok-secret-1"
    rb"|long-secret-1|hush-hush|hf_averysecrettoken|t0ken-long|Bearer s3cret"
)
_WRITTEN = (".log", ".jsonl", ".csv", ".parquet", "-wal", "-journal")
_SQLITE = b"SQLite format 3\0"


def leaks(folder: Path) -> Iterator[str]:
    """Every file below `folder` that the product writes and that holds one of them."""
    for file in sorted(folder.rglob("*")):
        if file.is_file() and not file.is_symlink():
            with file.open("rb") as opened:
                begins = opened.read(len(_SQLITE))
                if begins == _SQLITE or file.name.endswith(_WRITTEN):
                    found = SECRETS.search(begins + opened.read())
                    if found is not None:
                        yield f"{file.relative_to(folder)} holds {found[0]!r}"
