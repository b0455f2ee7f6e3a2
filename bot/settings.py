"""Every setting of Nightschool: what it means, where it came from, and one clear line for each that is wrong."""

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping
from datetime import time
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ByteSize, Field, PrivateAttr, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from pydantic_settings.exceptions import SettingsError as UnreadableVariable

from bot.slack.settings import SlackSettings
from learner.settings import LearningSettings
from storage.errors import NightschoolError

CONFIG_NAME = "nightschool.toml"
PREFIX = "NIGHTSCHOOL_"


class BadSettings(NightschoolError):
    """A setting is unknown or has a value that cannot be: correct the lines named."""


class Resolved(NamedTuple):
    """One setting as it holds: dotted name, value as text with secrets masked, and where it came from."""

    name: str
    value: str
    origin: str


class Settings(BaseSettings):
    """What an operator may choose. Read with `load`: environment over `.env` over nightschool.toml over the default.

    In the environment a name is NIGHTSCHOOL_ and the setting in capitals, two underscores before a part
    (NIGHTSCHOOL_LEARNING__RANK=16); DATABASE_URL is understood without the prefix too.
    """

    # Not `serve_port` and the like: Kubernetes sets NIGHTSCHOOL_SERVE_PORT=tcp://… for a Service of that name.
    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", env_ignore_empty=True, extra="forbid", validate_default=False
    )

    data_folder: Path = Field(
        default=Path(".nightschool"),
        description="Folder of everything kept on this machine: the embedded database, models, adapters, nights' work.",
    )
    database_url: SecretStr | None = Field(
        default=None,
        description="PostgreSQL 15 or newer with pgvector, say postgresql://user:password@host/name. Without it an "
        "embedded one runs in the data folder.",
    )
    team: str = Field(
        default="home",
        pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$",
        description="Key of the team the commands speak for: small letters, digits, - and _, say `acme`.",
    )
    model: str = Field(
        default="packaged",
        min_length=1,
        description="The base model: `packaged` (SmolLM2-135M-Instruct), a folder, a .gguf file, or a name on the "
        "Hugging Face hub, say `Qwen/Qwen3-0.6B`.",
    )
    embedder: str = Field(
        default="packaged",
        min_length=1,
        description="The sentence-transformers model: `packaged` (all-mpnet-base-v2, or all-MiniLM-L6-v2 where that one's "
        "packages are not installed), a folder, or a hub name.",
    )
    adapters: str | None = Field(
        default=None,
        description="Where adapter versions are kept: a folder or any fsspec URL, say `s3://bucket/adapters`. Default: "
        "`adapters` in the data folder.",
    )
    night_at: time = Field(
        default=time(2, 0), description="The hour at which the team's night begins, in its time zone, say `02:30`."
    )
    timezone: str = Field(default="UTC", description="The team's time zone, say `Europe/Berlin`.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe log line written. Nobody's words are logged above `debug`."
    )
    log_format: Literal["console", "json"] = Field(
        default="console", description="`console` for eyes, `json` (one object a line) for a log collector."
    )
    listen_host: str = Field(
        default="127.0.0.1",
        description="Address that `serve` and the worker's metrics listen on; 0.0.0.0 for all. The local JSON API "
        "answers this machine only, whatever stands here.",
    )
    listen_port: int = Field(default=8010, ge=1, le=65535, description="Port of `serve`.")
    worker_metrics_port: int = Field(
        default=8011,
        ge=0,
        le=65535,
        description="Port of the worker's /healthz, /readyz and /metrics; 0 turns them off.",
    )
    engine_memory: ByteSize = Field(
        default=ByteSize(2 * 1024**3),
        gt=0,
        description="Memory for loaded adapters and answers under way, say `4GiB`; the least recently used go first.",
    )
    threads: int | None = Field(
        default=None, ge=1, description="CPU threads of the model; without it the engine chooses."
    )
    secret_keys: SecretStr | None = Field(
        default=None,
        description="Keys that encrypt stored tokens (Fernet, comma-separated: the first encrypts, all decrypt). Without it "
        "one is made in the data folder.",
    )
    slack: SlackSettings = Field(
        default_factory=SlackSettings, description="How the Slack app is connected; docs/slack.md leads through it."
    )
    learning: LearningSettings = Field(
        default_factory=LearningSettings,
        description="How the nights learn; each has its reason in learner/settings.py.",
    )

    _origins: dict[str, str] = PrivateAttr(default_factory=dict)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is handed in: `load` reads the sources itself, to know where each value came from."""
        return (init_settings,)

    @classmethod
    def load(cls, config: Path | None = None, overrides: Mapping[str, Any] | None = None) -> "Settings":
        """The settings that hold here; `overrides` (the command line's) come before all. Raises BadSettings.

        `config` names the TOML file; without it `nightschool.toml` in the current folder is read if it is there.
        """
        sources = [
            ("command line", dict(overrides or {})),
            ("environment", _variables(EnvSettingsSource(cls), "the environment")),
            (".env", _variables(DotEnvSettingsSource(cls, env_file=".env", dotenv_filtering="match_prefix"), ".env")),
            *_toml(config),
        ]
        merged: dict[str, Any] = {}
        origins: dict[str, str] = {}
        for origin, values in sources:
            for name, value in _leaves(values):
                if name not in origins:
                    origins[name] = origin
                    _put(merged, name, value)
        if problems := [_unknown(name, origin) for name, origin in origins.items() if name not in KNOWN]:
            raise BadSettings("\n".join(problems))
        try:
            settings = cls(**merged)
        except ValidationError as error:
            raise BadSettings("\n".join(_wrong(problem, origins) for problem in error.errors())) from None
        settings._origins = origins
        return settings

    @field_validator("timezone")
    @classmethod
    def _zone_exists(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("no such time zone; write one like Europe/Berlin or UTC") from None
        return value

    @property
    def folder(self) -> Path:
        """The data folder, absolute."""
        return self.data_folder.expanduser().absolute()

    @property
    def url(self) -> str | None:
        """The database's address with its password, or None for the embedded one."""
        return self.database_url.get_secret_value() if self.database_url else None

    @property
    def adapters_root(self) -> str:
        """Where adapter versions are kept: the setting, or `adapters` in the data folder."""
        return self.adapters or str(self.folder / "adapters")

    @property
    def nights_folder(self) -> Path:
        """Where nights keep their work while they run."""
        return self.folder / "nights"

    def chosen(self, name: str) -> bool:
        """Whether somebody set `name`, rather than leaving the default."""
        return name in self._origins

    def resolved(self) -> Iterator[Resolved]:
        """Every setting in order, secrets masked, with where it came from."""
        for name, value in _values(self):
            yield Resolved(name, _shown(name, value), self._origins.get(name, "default"))


def masked(text: str) -> str:
    """`text` without the passwords of database addresses: `postgresql://ada:***@db/school`."""
    text = re.sub(r"(\w+://[^\s:/@]*):[^\s@]*@", r"\1:***@", text)
    return re.sub(r"(?i)\b(password\s*=\s*)('[^']*'|\S+)", r"\1***", text)


def _shown(name: str, value: object) -> str:
    if isinstance(value, SecretStr):
        return masked(value.get_secret_value()) if name == "database_url" else "***"
    if isinstance(value, ByteSize):
        return value.human_readable()
    if isinstance(value, time):
        return value.isoformat("minutes")
    return "-" if value is None else str(value)


def _variables(source: EnvSettingsSource, place: str) -> dict[str, Any]:
    try:
        values = source()
    except UnreadableVariable as error:
        raise BadSettings(f"{place}: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadSettings(f"{place} cannot be read ({error}): correct it or remove it.") from None
    plain = source.env_vars.get("database_url")
    if plain:
        values.setdefault("database_url", plain)
    return values


def _toml(config: Path | None) -> list[tuple[str, dict[str, Any]]]:
    path = config or Path(CONFIG_NAME)
    if config is None and not path.is_file():
        return []
    try:
        return [(path.name, tomllib.loads(path.read_text(encoding="utf-8")))]
    except FileNotFoundError:
        raise BadSettings(f"{path} does not exist: correct --config.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadSettings(f"{path} is not TOML: {error}") from None
    except OSError as error:
        raise BadSettings(f"{path} cannot be read: {error.strerror}.") from None


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and (not prefix or value) and f"{prefix}{key}" not in KNOWN:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _values(model: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from _values(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _put(values: dict[str, Any], name: str, value: object) -> None:
    *parts, last = name.split(".")
    for part in parts:
        values = values.setdefault(part, {})
    values[last] = value


def _kinds(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, type]]:
    for name, field in model.model_fields.items():
        kind = next((k for k in (field.annotation, *get_args(field.annotation)) if isinstance(k, type)), object)
        if issubclass(kind, BaseModel):
            yield from _kinds(kind, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", kind


def _unknown(name: str, origin: str) -> str:
    close = difflib.get_close_matches(name, KNOWN, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}?" if close else "`nightschool doctor` lists the settings there are."
    return f"{origin}: there is no setting {name!r}: {hint}"


def _wrong(problem: Any, origins: Mapping[str, str]) -> str:
    name = ".".join(str(part) for part in problem["loc"])
    known = next((leaf for leaf in origins if name == leaf or name.startswith(f"{leaf}.")), name)
    said = problem["msg"].removeprefix("Value error, ")
    given = "" if problem["input"] is None or known in _UNSHOWN else f" (given: {str(problem['input'])[:80]!r})"
    return f"{origins.get(known, 'default')}: {known}: {said[:1].lower()}{said[1:]}{given}"


KNOWN: frozenset[str] = frozenset(name for name, _ in _kinds(Settings))
"""Dotted names of all settings."""
# An address may hold a password where none belongs.
_UNSHOWN = {name for name, kind in _kinds(Settings) if issubclass(kind, SecretStr)} | {"learning.teacher"}
