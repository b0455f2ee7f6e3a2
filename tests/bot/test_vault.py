"""The vault: what it seals, how keys change, and what it says where a key is wrong or gone."""

import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from bot.settings import BadSettings, Settings
from bot.vault import KEY_FILE, KeyLost, Vault

SECRETS = {"bot_token": "xoxb-1-secret", "expires_at": None, "name": "Häfen"}


def key() -> str:
    return Fernet.generate_key().decode()


def settings(folder: Path, keys: str | None = None) -> Settings:
    return Settings(data_folder=folder, secret_keys=SecretStr(keys) if keys is not None else None)


def test_what_is_sealed_opens_and_shows_nothing() -> None:
    vault = Vault([key()])
    sealed = vault.seal(SECRETS)
    assert vault.open(sealed) == SECRETS
    assert b"secret" not in sealed and sealed != vault.seal(SECRETS)


def test_keys_change_in_steps() -> None:
    old, new = key(), key()
    sealed = Vault([old]).seal(SECRETS)
    both = Vault([new, old])
    assert both.open(sealed) == SECRETS and both.sealed_with_older(sealed)
    anew = both.seal(both.open(sealed))
    assert not both.sealed_with_older(anew)
    assert Vault([new]).open(anew) == SECRETS


@pytest.mark.parametrize("spoil", [lambda sealed: sealed[:-1] + b"!", lambda sealed: b"", lambda sealed: b"gAAAAA"])
def test_what_no_key_opens_says_what_to_do(spoil: Callable[[bytes], bytes]) -> None:
    vault = Vault([key()])
    for sealed in (Vault([key()]).seal(SECRETS), spoil(vault.seal(SECRETS))):
        with pytest.raises(KeyLost, match="NIGHTSCHOOL_SECRET_KEYS, or install the app anew"):
            vault.open(sealed)
        assert vault.sealed_with_older(sealed)


def test_what_is_too_old_does_not_open() -> None:
    secret = key()
    old = Fernet(secret).encrypt_at_time(b"{}", int(time.time()) - 601)
    with pytest.raises(KeyLost):
        Vault([secret]).open(old, seconds=600)
    assert Vault([secret]).open(old) == {}


@pytest.mark.parametrize("wrong", ["", " , ", "short", "é" * 44, "A" * 43])
def test_a_malformed_key_is_named_but_not_shown(tmp_path: Path, wrong: str) -> None:
    with pytest.raises(BadSettings, match=r"NIGHTSCHOOL_SECRET_KEYS.*32 random bytes") as raised:
        Vault.load(settings(tmp_path, wrong))
    assert not wrong.strip(" ,") or wrong not in str(raised.value)
    if wrong.strip(" ,"):
        with pytest.raises(BadSettings, match="key 2 is malformed"):
            Vault.load(settings(tmp_path, f"{key()}, {wrong}"))


def test_the_settings_keys_make_no_file(tmp_path: Path) -> None:
    old, new = key(), key()
    sealed = Vault([old]).seal(SECRETS)
    assert Vault.load(settings(tmp_path, f" {new} ,{old},")).open(sealed) == SECRETS
    assert not (tmp_path / KEY_FILE).exists()


def test_without_keys_one_is_made_for_the_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    sealed = Vault.load(settings(folder)).seal(SECRETS)
    assert stat.S_IMODE((folder / KEY_FILE).stat().st_mode) == 0o600
    assert Vault.load(settings(folder)).open(sealed) == SECRETS
    made = (folder / KEY_FILE).read_text().strip()
    assert Vault.load(settings(folder, f"{key()},{made}")).open(sealed) == SECRETS


def test_a_spoilt_file_is_named(tmp_path: Path) -> None:
    (tmp_path / KEY_FILE).write_text("half a k")
    with pytest.raises(BadSettings, match=rf"{KEY_FILE}: key 1 is malformed"):
        Vault.load(settings(tmp_path))
    (tmp_path / KEY_FILE).write_text("")
    with pytest.raises(BadSettings, match=rf"{KEY_FILE} holds no key"):
        Vault.load(settings(tmp_path))
    (tmp_path / KEY_FILE).write_bytes(b"\xff")
    with pytest.raises(BadSettings, match=rf"{KEY_FILE} cannot be used"):
        Vault.load(settings(tmp_path))


def test_processes_that_start_at_once_share_one_key(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from bot.settings import Settings; from bot.vault import Vault\n"
        "vault = Vault.load(Settings(data_folder=Path(sys.argv[1])))\n"
        "sys.stdout.write('sealed ' + vault.seal({}).decode() + '\\n')"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    outputs = [process.communicate(timeout=120)[0] for process in started]
    vault = Vault.load(settings(tmp_path))
    for output in outputs:
        assert vault.open(output.split("sealed ")[1].strip().encode()) == {}
    assert {file.name for file in tmp_path.iterdir()} <= {KEY_FILE, f".{KEY_FILE}.lock"}
