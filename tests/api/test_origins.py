"""Which hosts and origins may come in (contract, section 9): the decision as a table, and what the edge makes of it."""

import pytest

from orchestrator.api.origins import Admitted, Decision, OriginPolicy, Refused, admit
from tests.api.house import CHAT, chat_body, house

pytestmark = pytest.mark.anyio

LOOPBACK = OriginPolicy("127.0.0.1")
LOCALHOST = OriginPolicy("localhost")
EVERYWHERE = OriginPolicy("0.0.0.0")
EVERYWHERE_6 = OriginPolicy("::")
LAN = OriginPolicy("192.168.1.5")
NAMED = OriginPolicy("agent.lan")
OPEN = OriginPolicy(
    "127.0.0.1", frozenset({"agent.example"}), frozenset({"https://app.example", "http://localhost:3000"})
)

HOST = Refused("This Host is not served here. Names can be added by the setting ALLOWED_HOSTS.")
ONE_HOST = Refused("The request must have exactly one Host header.")
ONE_ORIGIN = Refused("The request must have at most one Origin header.")
ORIGIN = Refused("This Origin is not allowed. Origins can be added by the setting CORS_ORIGINS.")
SITE = Refused("Requests from other sites are not allowed. Origins can be added by the setting CORS_ORIGINS.")
YES = Admitted()


@pytest.mark.parametrize(
    ("policy", "host", "expected"),
    [
        *[(LOOPBACK, host, YES) for host in ("127.0.0.1", "127.0.0.1:1234", "localhost:1234", "LOCALHOST", "localhost.", "app.localhost", "127.8.8.8", "[::1]", "[::1]:1234")],
        *[(LOOPBACK, host, HOST) for host in ("", "evil.example", "evil.example:1234", "localhost.evil.example", "127.0.0.1.nip.io", "192.168.1.5", "0.0.0.0:1234", "[::]", "[fe80::1]", "a b", "localhost:", "localhost:x", "localhost:123456", "user@localhost", "[localhost]", "localhost/x", "127.0.0.1, evil.example", "1", "2130706433", "xn--localhost")],
        (LOCALHOST, "localhost:1234", YES),
        (LOCALHOST, "127.0.0.1", YES),
        (LOCALHOST, "192.168.1.5", HOST),
        *[(policy, host, YES) for policy in (EVERYWHERE, EVERYWHERE_6, LAN, NAMED) for host in ("localhost", "192.168.1.5:1234", "10.0.0.1", "[fe80::1]:1234")],
        *[(policy, host, HOST) for policy in (EVERYWHERE, EVERYWHERE_6, LAN) for host in ("agent.lan", "evil.example")],
        (NAMED, "agent.lan:1234", YES),
        (NAMED, "AGENT.lan.", YES),
        (NAMED, "evil.example", HOST),
        (OPEN, "agent.example", YES),
        (OPEN, "agent.example:8443", YES),
        (OPEN, "www.agent.example", HOST),
    ],
)  # fmt: skip
def test_a_host_is_served_or_not(policy: OriginPolicy, host: str, expected: Decision) -> None:
    assert admit(policy, scheme="http", hosts=[host], origins=[], fetch_site=None) == expected


@pytest.mark.parametrize(
    ("scheme", "host", "origin", "site", "expected"),
    [
        ("http", "127.0.0.1:1234", None, None, YES),
        ("http", "127.0.0.1:1234", None, "none", YES),
        ("http", "127.0.0.1:1234", None, "same-origin", YES),
        ("http", "127.0.0.1:1234", None, "same-site", YES),
        ("http", "127.0.0.1:1234", None, "cross-site", SITE),
        ("http", "127.0.0.1:1234", None, "Cross-Site", SITE),
        ("http", "127.0.0.1:1234", "http://127.0.0.1:1234", None, YES),
        ("http", "127.0.0.1:1234", "http://127.0.0.1:1234", "same-origin", YES),
        ("http", "127.0.0.1:1234", "http://127.0.0.1:1234", "cross-site", SITE),
        ("http", "127.0.0.1:1234", "http://127.0.0.1:4321", None, ORIGIN),
        ("http", "127.0.0.1:1234", "http://127.0.0.1", None, ORIGIN),
        ("http", "127.0.0.1:1234", "http://localhost:1234", None, ORIGIN),
        ("http", "127.0.0.1:1234", "https://127.0.0.1:1234", None, ORIGIN),
        ("http", "127.0.0.1:1234", "https://evil.example", None, ORIGIN),
        ("http", "127.0.0.1:1234", "null", None, ORIGIN),
        ("http", "127.0.0.1:1234", "", None, ORIGIN),
        ("http", "127.0.0.1:1234", "file://", None, ORIGIN),
        ("http", "127.0.0.1:1234", "http://127.0.0.1:1234/", None, ORIGIN),
        ("http", "127.0.0.1:1234", "http://[", None, ORIGIN),
        ("http", "127.0.0.1:1234", "http://evil.example@127.0.0.1:1234", None, ORIGIN),
        ("http", "127.0.0.1:1234", "chrome-extension://abc", None, ORIGIN),
        ("http", "localhost", "http://localhost", None, YES),
        ("http", "localhost:80", "http://localhost", None, YES),
        ("https", "agent.example", "https://agent.example", None, YES),
        ("https", "agent.example:443", "https://agent.example", None, YES),
        ("http", "agent.example", "https://agent.example", "same-origin", YES),
        ("http", "agent.example", "https://agent.example", None, ORIGIN),
        ("http", "agent.example", "https://agent.example", "same-site", ORIGIN),
        ("http", "127.0.0.1:1234", "https://app.example", "cross-site", Admitted("https://app.example")),
        ("http", "127.0.0.1:1234", "http://localhost:3000", "same-site", Admitted("http://localhost:3000")),
        ("http", "127.0.0.1:1234", "https://app.example:443", None, ORIGIN),
        ("http", "127.0.0.1:1234", "http://app.example", None, ORIGIN),
        ("http", "127.0.0.1:1234", "https://app.example.evil.example", None, ORIGIN),
        ("http", "evil.example", "https://app.example", None, HOST),
    ],
)
def test_an_origin_is_let_in_or_not(
    scheme: str, host: str, origin: str | None, site: str | None, expected: Decision
) -> None:
    origins = [] if origin is None else [origin]
    assert admit(OPEN, scheme=scheme, hosts=[host], origins=origins, fetch_site=site) == expected


@pytest.mark.parametrize("hosts", [[], ["127.0.0.1", "127.0.0.1"], ["127.0.0.1", "evil.example"]])
def test_a_request_has_one_host(hosts: list[str]) -> None:
    assert admit(LOOPBACK, scheme="http", hosts=hosts, origins=[], fetch_site=None) == ONE_HOST


def test_a_request_has_one_origin_at_most() -> None:
    origins = ["https://app.example", "https://evil.example"]
    assert admit(OPEN, scheme="http", hosts=["localhost"], origins=origins, fetch_site=None) == ONE_ORIGIN


async def test_a_foreign_page_reaches_no_route_and_reads_nothing() -> None:
    async with house() as api:
        response = await api.client.post(CHAT, json=chat_body(), headers={"Origin": "https://evil.example"})
        assert api.engine.requests == []
    told = {"type": "invalid_request", "message": ORIGIN.why, "code": "forbidden_origin"}
    assert (response.status_code, response.json()) == (403, {"error": told})
    assert not [name for name in response.headers if name.startswith("access-control-")]


async def test_a_rebound_name_reaches_no_route() -> None:
    async with house() as api:
        response = await api.client.post(CHAT, json=chat_body(), headers={"Host": "evil.example:1234"})
        assert api.engine.requests == []
    told = {"type": "invalid_request", "message": HOST.why, "code": "forbidden_origin"}
    assert (response.status_code, response.json()) == (403, {"error": told})


APP = "https://app.example"


@pytest.mark.parametrize("path", ["/health", "/nope", "/api/v1/responses/resp_1"])
async def test_a_configured_origin_may_read_every_reply(path: str) -> None:
    async with house(cors_origins=["https://APP.example"]) as api:
        theirs = await api.client.get(path, headers={"Origin": APP})
        ours = await api.client.get(path)
    assert theirs.headers["Access-Control-Allow-Origin"] == APP
    assert (
        theirs.headers["Access-Control-Expose-Headers"]
        == "Request-Id, Retry-After, X-Request-Id, X-Response-Id, X-Token-Count"
    )
    assert "Access-Control-Allow-Origin" not in ours.headers
    assert (theirs.headers["Vary"], ours.headers["Vary"]) == ("Origin", "Origin")


async def test_a_configured_origin_may_ask_what_it_may_send() -> None:
    ask = {"Access-Control-Request-Method": "POST"}
    async with house(cors_origins=[APP]) as api:
        theirs = await api.client.options(CHAT, headers={"Origin": APP, **ask})
        private = await api.client.options(
            CHAT, headers={"Origin": APP, **ask, "Access-Control-Request-Private-Network": "true"}
        )
        foreign = await api.client.options(CHAT, headers={"Origin": "https://evil.example", **ask})
        plain = await api.client.options(CHAT, headers={"Origin": APP})
    told = {name: value for name, value in theirs.headers.items() if name.startswith("access-control-")}
    assert (theirs.status_code, theirs.content) == (204, b"")
    assert told == {
        "access-control-allow-origin": APP,
        "access-control-allow-methods": "GET, POST, DELETE",
        "access-control-allow-headers": "Anthropic-Beta, Anthropic-Dangerous-Direct-Browser-Access, Anthropic-Version, "
        "Authorization, Content-Type, Idempotency-Key, Last-Event-ID, X-Api-Key, X-Request-Id, X-Stream-Extensions",
        "access-control-expose-headers": "Request-Id, Retry-After, X-Request-Id, X-Response-Id, X-Token-Count",
        "access-control-max-age": "600",
    }
    assert private.headers["Access-Control-Allow-Private-Network"] == "true"
    assert foreign.status_code == 403
    assert (plain.status_code, set(plain.headers["Allow"].split(", "))) == (204, {"POST", "OPTIONS"})


async def test_a_page_of_a_configured_origin_may_send_the_headers_that_its_client_library_has() -> None:
    names = (
        "authorization, content-type,idempotency-key, openai-organization, x-stainless-lang, x-stainless-retry-count"
    )
    ask = {"Origin": APP, "Access-Control-Request-Method": "POST"}
    async with house(cors_origins=[APP]) as api:
        theirs = await api.client.options(CHAT, headers={**ask, "Access-Control-Request-Headers": names})
        odd = await api.client.options(CHAT, headers={**ask, "Access-Control-Request-Headers": "a b, x-c, x-c, ,<d>"})
        many = ", ".join(f"x-{number}" for number in range(200))
        most = await api.client.options(CHAT, headers={**ask, "Access-Control-Request-Headers": many})
    allowed = theirs.headers["Access-Control-Allow-Headers"]
    assert allowed.split(", ") == [name.strip() for name in names.split(",")]
    assert odd.headers["Access-Control-Allow-Headers"] == "x-c"
    assert len(most.headers["Access-Control-Allow-Headers"].split(", ")) == 100


async def test_names_and_origins_are_given_in_any_case() -> None:
    async with house(allowed_hosts=["Agent.Example"]) as api:
        response = await api.client.get("/health", headers={"Host": "agent.example"})
    assert response.status_code == 200
