"""Pinned connections over TLS: the certificate is that of the name, whatever the address."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from orchestrator.integrations import http_transport
from tests.integrations.harness import SCOPE, catalog_of, ephemeral, refusal_to_open, serving
from tests.integrations.programs.faulty_app import FaultyApp

pytestmark = pytest.mark.anyio


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A certificate for `right.example` that we trust, with its key in the same file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "right.example")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("right.example")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "certificate.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(signed.public_bytes(serialization.Encoding.PEM) + private)
    trusting = ssl.create_default_context(cafile=str(file))
    monkeypatch.setattr(http_transport, "default_tls", lambda: trusting)

    async def getaddrinfo(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        assert host.removesuffix(".").endswith(".example")
        return [(0, 0, 0, "", ("127.0.0.1", port))]

    monkeypatch.setattr(anyio, "getaddrinfo", getaddrinfo)
    return file


@pytest.mark.parametrize("host", ["right.example", "RIGHT.example", "right.example."])
async def test_the_certificate_is_checked_against_the_name_that_was_asked_for(
    tmp_path: Path, certificate: Path, host: str
) -> None:
    app = FaultyApp()
    async with serving(app, certificate=certificate) as origin, catalog_of(tmp_path) as catalog:
        url = origin.replace("127.0.0.1", host)
        async with catalog.open([ephemeral(f"{url}/fine")], SCOPE) as (session,):
            assert (await session.call_tool("first", {})).text == "fine"
    assert {request.headers["host"] for request in app.seen} == {url.removeprefix("https://").lower()}


async def test_a_certificate_for_another_name_fails_at_the_handshake(tmp_path: Path, certificate: Path) -> None:
    app = FaultyApp()
    async with serving(app, certificate=certificate) as origin, catalog_of(tmp_path) as catalog:
        for host in ("wrong.example", "127.0.0.1"):
            refused = await refusal_to_open(catalog, ephemeral(origin.replace("127.0.0.1", host) + "/fine"))
            assert "(stage: TLS): " in refused.message
            assert "mismatch" in refused.message
    assert app.seen == []
