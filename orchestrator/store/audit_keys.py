"""The keys with which exports are signed."""

import os
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from orchestrator.core.errors import ErrorKind, OrchestratorError


def _refused(message: str) -> OrchestratorError:
    return OrchestratorError(ErrorKind.INVALID_VALUE, message)


def make_keys(path: Path) -> Path:
    """Write a new key pair: the private key at `path`, for its owner alone, the public one at `path`.pub.

    Raises:
        OrchestratorError: a file is there already, or cannot be written.
    """
    key, public = Ed25519PrivateKey.generate(), path.with_name(path.name + ".pub")
    private_text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public_text = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    try:
        for file, text, mode in ((path, private_text, 0o600), (public, public_text, 0o644)):
            with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as opened:
                opened.write(text)
    except OSError as error:
        raise _refused(f"the key {error.filename} cannot be written: {error.strerror}") from None
    return public


def private_key(path: Path) -> Ed25519PrivateKey:
    """The private key at `path`.

    Raises:
        OrchestratorError: there is none that can be used.
    """
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise _refused(f"the key {path} cannot be read: {error.strerror}") from None
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise _refused(f"{path} is no Ed25519 private key without a password; `orchestrator audit keygen` makes one")
    return key


def public_key(path: Path) -> Ed25519PublicKey:
    """The public key at `path`.

    Raises:
        OrchestratorError: there is none that can be used.
    """
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise _refused(f"the key {path} cannot be read: {error.strerror}") from None
    except ValueError:
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise _refused(f"{path} is no Ed25519 public key (PEM)")
    return key


def check_key(path: Path) -> None:
    """See that exports can be signed with the key at `path`.

    Raises:
        OrchestratorError: they cannot.
    """
    private_key(path)
