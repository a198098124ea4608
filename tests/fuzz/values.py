"""Values of nearly right requests: ids that are there and ids that are not, moments, numbers, texts, integrations."""

from typing import Any, Final, cast

from hypothesis import strategies as st

from tests.api.test_validation_properties import values

V1: Final = "/api/v1"

strange_texts: Final = st.sampled_from(
    ["", "\0", "a\0b", "é", "🦜", "' OR 1=1 --", "%", "_", "..", "../..", "a/b", "\u202e", "\x10", "x" * 3000, "null", "-1",
     "1e999", "9" * 30, "NaN", "2026-13-45", "2026-01-01T00:00:00+99:99", "0001-01-01T00:00:00+14:00", "resp_", "\ufeff"]
)  # fmt: skip
texts: Final = strange_texts | st.text(st.characters(codec="utf-8"), max_size=8)
numbers: Final = st.sampled_from(["0", "1", "2", "100", "1000", "-1", "1.5", "2147483648", "9" * 20, "x"])
moments: Final = st.sampled_from(
    [
        "2026-01-01",
        "2026-01-01T12:00:00Z",
        "2026-01-01T12:00:00+02:00",
        "9999-12-31T23:59:59Z",
        "0001-01-01",
        "tomorrow",
        "9999-12-31T23:59:59-12:00",
        "0001-01-01T00:00:00+10:00",
    ]
)


anything: Final[st.SearchStrategy[Any]] = cast("st.SearchStrategy[Any]", values) | texts


def ids(kind: str) -> st.SearchStrategy[str]:
    """An id that is there, mostly; else one that could be, or something strange."""
    could_be = {
        "conversation": "conv_" + "3" * 48,
        "response": "resp_" + "0" * 48,
        "thread": "thread_" + "1" * 48,
        "call": "call_" + "2" * 24,
    }
    there = st.integers(0, 20).map(lambda n: f"@{kind}:{n}")
    return st.one_of(there, there, there, there, there, st.just(could_be.get(kind, "job_0123456789")), texts)


server_urls: Final = st.sampled_from(
    ["http://127.0.0.1:9/mcp", "http://me:canary-in-a-url@127.0.0.1:9/", "http://127.0.0.1:9/?key=canary-in-a-query",
     "http://169.254.169.254/latest", "http://[::ffff:10.0.0.1]/", "ftp://127.0.0.1/", "http://", "//x", "http://127.0.0.1:99999/",
     "http://0x7f000001/", "http://127.0.0.1:9/\0", "http://[fe80::1%25eth0]/"]
)  # fmt: skip
integrations: Final = st.lists(
    st.sampled_from(["mcp/clock", "mcp/clock", "mcp/gone", "mcp/nope", "clock"])
    | st.fixed_dictionaries(
        {"type": st.just("plugin"), "id": st.just("mcp/clock")},
        optional={
            "allowed_tools": st.lists(st.sampled_from(["get_current_time", "fly"]), max_size=2),
            "require_approval": st.sampled_from(["never", "always"]),
        },
    )
    | st.fixed_dictionaries(
        {"type": st.just("ephemeral_mcp"), "server_label": st.sampled_from(["own", "a b"]), "server_url": server_urls},
        optional={"headers": st.just({"X-Key": "canary-in-a-header"}) | st.just({"Host": "x"}) | st.just({"a\r\nb": "c"})},
    ),
    max_size=2,
)  # fmt: skip

said: Final = st.sampled_from(["hello", "hello", "fail", "a\0b", "\x10", "x" * 4000])
