"""The vault: secrets at rest, sealed with Fernet (AES-128-CBC and HMAC). The first key seals, all keys open.

https://cryptography.io/en/latest/fernet/ and https://github.com/fernet/spec
"""

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import structlog
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from filelock import FileLock

from bot.assembly import data_folder
from bot.settings import BadSettings, Settings
from storage.errors import NightschoolError

log = structlog.get_logger(__name__)

KEY_FILE = "secrets.key"
_SETTING = "NIGHTSCHOOL_SECRET_KEYS"


class KeyLost(NightschoolError):
    """A stored secret opens with none of the keys: the key was lost or changed. Put the old one (without the setting it
    is in secrets.key of the data folder) behind the new in NIGHTSCHOOL_SECRET_KEYS, or install the app anew."""


class Vault:
    """Seals and opens. To change keys put the new one first and leave the old one behind it until all is sealed anew."""

    def __init__(self, keys: Sequence[str], place: str = _SETTING) -> None:
        """Keys of 32 bytes as url-safe base64; `place` is where the operator finds them. Raises BadSettings."""
        if not keys:
            raise BadSettings(f"{place} holds no key: {_HOW}")
        fernets = [_fernet(key, number, place) for number, key in enumerate(keys, 1)]
        self._first = fernets[0]
        self._all = MultiFernet(fernets)

    @classmethod
    def load(cls, settings: Settings) -> "Vault":
        """With the keys of the settings, else that of the data folder, made if missing. Blocking, milliseconds.

        Raises BadSettings, DataFolderUnusable.
        """
        if settings.secret_keys is not None:
            return cls(_split(settings.secret_keys.get_secret_value()))
        file = data_folder(settings) / KEY_FILE
        try:
            return cls(_split(_key_in(file)), str(file))
        except (OSError, UnicodeDecodeError) as error:
            raise BadSettings(f"{file} cannot be used ({error}): mend its rights, or set {_SETTING}.") from error

    def seal(self, secrets: dict[str, Any]) -> bytes:
        """What may be stored of `secrets`, which are anything that JSON can say."""
        return self._all.encrypt(json.dumps(secrets).encode())

    def open(self, sealed: bytes, *, seconds: int | None = None) -> dict[str, Any]:
        """What was sealed; with `seconds`, only if that was not longer ago. Raises KeyLost."""
        try:
            secrets: dict[str, Any] = json.loads(self._all.decrypt(sealed, ttl=seconds))
        except InvalidToken:
            raise KeyLost from None
        return secrets

    def sealed_with_older(self, sealed: bytes) -> bool:
        """Whether another key than the first sealed it: it is to be sealed anew before that one is taken away."""
        try:
            self._first.extract_timestamp(sealed)
        except InvalidToken:
            return True
        return False


_HOW = (
    "a key is 32 random bytes as url-safe base64, from "
    '`python -c "from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())"`.'
)


def _split(keys: str) -> list[str]:
    return [key.strip() for key in keys.split(",") if key.strip()]


def _fernet(key: str, number: int, place: str) -> Fernet:
    try:
        return Fernet(key)
    except ValueError:  # its message may hold the key
        raise BadSettings(f"{place}: key {number} is malformed: {_HOW}") from None


def _key_in(file: Path) -> str:
    """The file's text; a key is made where there is no file. Locked and renamed, so that two processes get the same key."""
    if not file.exists():
        with FileLock(file.parent / f".{file.name}.lock"):
            if not file.exists():  # another process made it while this one waited
                handle, staged = tempfile.mkstemp(
                    prefix=f".{file.name}.", dir=file.parent
                )  # readable by its owner alone
                with os.fdopen(handle, "wb") as staging:
                    staging.write(Fernet.generate_key() + b"\n")
                    staging.flush()
                    os.fsync(staging.fileno())
                Path(staged).rename(file)
                log.info("made a key for stored tokens: keep a copy, without it they are lost", file=str(file))
    if file.stat().st_mode & 0o077:
        log.warning("others on this machine may read the key: chmod 600", file=str(file))
    return file.read_text(encoding="ascii")
