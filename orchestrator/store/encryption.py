"""What needs a key that stays outside the database: encryption at rest (AES-256-GCM) and keyed digests (HMAC-SHA-256).

The key is in the setting `ENCRYPTION_KEY` (several, separated by commas: the first encrypts, all
decrypt), or in a file that only its owner may read and that is made when it is first needed.
"""

import base64
import binascii
import hashlib
import hmac
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from orchestrator.core.errors import ErrorKind, OrchestratorError

KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_VERSION: Final = b"\x01"


class MissingKeyError(Exception):
    """None of the keys at hand is the one that something was sealed with; the message says where they came from."""


def new_key() -> str:
    """A key as text: 32 random bytes in URL-safe base64."""
    return base64.urlsafe_b64encode(os.urandom(KEY_BYTES)).decode()


def key_id(key: bytes) -> str:
    """A fingerprint of the key, short enough to be read out."""
    return hashlib.sha256(b"orchestrator key id\0" + key).hexdigest()[:12]


def parse_key(text: str) -> bytes:
    """The key that `text` writes down.

    Raises:
        ValueError: it is not 32 bytes in base64; the message does not repeat it.
    """
    try:
        key = base64.b64decode(text.strip().replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise ValueError(f"a key is {KEY_BYTES} random bytes in base64")
    return key


class Sealer:
    """Seals and opens texts with the keys of the setting, or else with the one in `file`."""

    def __init__(self, keys: Sequence[bytes], file: Path) -> None:
        self._file = file
        self._given = tuple(keys)
        self._keys: tuple[bytes, ...] = self._given

    @property
    def source(self) -> str:
        """Where the keys come from, for messages."""
        return "ORCHESTRATOR_ENCRYPTION_KEY" if self._given else str(self._file)

    def seal(self, content: bytes, context: str) -> tuple[bytes, str]:
        """`content`, readable only with the key whose id is returned with it, and only under the same `context`.

        Raises:
            OrchestratorError: there is no key and none can be made.
        """
        keys = self._load(make=True)
        nonce = os.urandom(_NONCE_BYTES)
        return _VERSION + nonce + AESGCM(keys[0]).encrypt(nonce, content, context.encode()), key_id(keys[0])

    def open(self, sealed: bytes, sealed_with: str, context: str) -> bytes:
        """What was sealed.

        Raises:
            MissingKeyError: the key is not here.
            OrchestratorError: the key file cannot be used, or what was sealed has been changed.
        """
        key = next((key for key in self._load(make=False) if key_id(key) == sealed_with), None)
        if key is None:
            raise MissingKeyError(f"the encryption key {sealed_with} is not in {self.source}")
        nonce, ciphertext = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        try:
            return AESGCM(key).decrypt(nonce, ciphertext, context.encode())
        except InvalidTag:
            raise OrchestratorError(ErrorKind.STORE_ERROR, "An encrypted row of the database was changed.") from None

    def digest(self, content: bytes, context: str) -> tuple[bytes, str]:
        """A digest of `content` that nobody can make without the key whose id is returned with it.

        Raises:
            OrchestratorError: there is no key and none can be made.
        """
        key = self._load(make=True)[0]
        return _digest(key, content, context), key_id(key)

    def matches(self, digest: bytes, digested_with: str, content: bytes, context: str) -> bool:
        """Whether `digest` is that of `content`; in the same time whatever differs.

        Raises:
            MissingKeyError: the key is not here.
            OrchestratorError: the key file cannot be used.
        """
        key = next((key for key in self._load(make=False) if key_id(key) == digested_with), None)
        if key is None:
            raise MissingKeyError(f"the encryption key {digested_with} is not in {self.source}")
        return hmac.compare_digest(digest, _digest(key, content, context))

    def _load(self, *, make: bool) -> tuple[bytes, ...]:
        if not self._keys:
            text = _read(self._file)
            if text is None and make:
                _make(self._file)
                text = _read(self._file)
            if text is not None:
                self._keys = _parse_file(text, self._file)
        return self._keys


def _digest(key: bytes, content: bytes, context: str) -> bytes:
    own = hmac.digest(key, b"orchestrator digest\0" + context.encode(), "sha256")  # the key itself only encrypts
    return hmac.digest(own, content, "sha256")


def _read(file: Path) -> str | None:
    try:
        with file.open(encoding="ascii") as opened:
            if stat.S_IMODE(os.fstat(opened.fileno()).st_mode) & 0o077:
                raise _unusable(file, "can be read by other users; run: chmod 600 " + str(file))
            return opened.read()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise _unusable(file, "holds no key") from None
    except OSError as error:
        raise _unusable(file, f"cannot be read ({error.strerror})") from None


def _make(file: Path) -> None:
    """Make the file whole or not at all; where another process was faster, its key counts."""
    draft = file.with_name(f".{file.name}.{os.urandom(6).hex()}")
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as opened:
            opened.write(new_key() + "\n")
            opened.flush()
            os.fsync(opened.fileno())
        try:
            os.link(draft, file)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    except OSError as error:
        raise _unusable(file, f"cannot be made ({error.strerror})") from None


def _parse_file(text: str, file: Path) -> tuple[bytes, ...]:
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    try:
        keys = tuple(parse_key(line) for line in lines)
    except ValueError as error:
        raise _unusable(file, f"holds no key: {error}") from None
    if not keys:
        raise _unusable(file, "holds no key")
    return keys


def _unusable(file: Path, why: str) -> OrchestratorError:
    return OrchestratorError(ErrorKind.STORE_ERROR, f"The encryption key file {file} {why}.")
