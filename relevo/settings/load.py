"""How values reach the table. A later source wins:

defaults < profile < settings file < contract's environment names < ``RELEVO_*`` environment < command line.

Every source is a flat mapping from a dotted name to a value and where it was found, so that each effective value
and each error can say its origin.
"""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, get_origin

from pydantic import BaseModel, ValidationError

from relevo.errors import ConfigurationError
from relevo.settings import alchemy, hidrometro
from relevo.settings.table import SWITCHES, Settings

PREFIX = "RELEVO_"
CONTRACT_NAMES = {
    "HISTORY_LIMIT": "hidrometro.history_limit",
    "MQTT_TOPIC_DADOS": "hidrometro.topic_dados",
    "MQTT_TOPIC_CMD": "hidrometro.topic_cmd",
    "DEFAULT_DEVICE_SERIAL": "hidrometro.default_serial",
    "LEAK_FLOW_THRESHOLD": "hidrometro.leak_flow_lmin",
    "LEAK_MIN_SECONDS": "hidrometro.leak_min_s",
    "JWT_EXP_MINUTES": "hidrometro.token_minutes",
}


class Found(NamedTuple):
    """A value before validation, and where it was found."""

    value: Any
    origin: str


Source = dict[str, Found]


def names() -> dict[str, Any]:
    """Dotted name of every setting and its pydantic field."""
    found: dict[str, Any] = {}
    for name, field in Settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found |= {f"{name}.{inner}": value for inner, value in field.annotation.model_fields.items()}
        else:
            found[name] = field
    return found


def environment_name(name: str) -> str:
    """``limits.packet_bytes`` is ``RELEVO_LIMITS__PACKET_BYTES``."""
    return PREFIX + name.upper().replace(".", "__")


def load(
    options: Mapping[str, Any] | None = None,
    env: Mapping[str, str] | None = None,
    config_path: Path | str | None = None,
) -> Settings:
    """Read all sources and validate.

    ``options`` are command-line values by dotted name; ``None`` among them means not given. ``env`` defaults to the
    process environment. ``config_path`` names the settings file; it must exist then.
    Raises :class:`relevo.errors.ConfigurationError` naming the setting, the value, the limit and the origin.
    """
    environment = _environment(os.environ if env is None else env)
    given = {
        name: Found(value, f"option --{name.replace('.', '-').replace('_', '-')}")
        for name, value in (options or {}).items()
        if value is not None
    }
    for name, found in given.items():
        _known(name, found.origin)
    if config_path is not None:
        given["config"] = Found(config_path, "option --config")
    above = environment | given
    path = above.get("config")
    file = _file(Path(path.value).expanduser(), path.origin) if path else _file_of_data_directory(above)
    merged = _profile((file | above).get("profile")) | file | above
    try:
        settings = Settings.model_validate(_nested(merged))
    except ValidationError as error:
        raise ConfigurationError(_explain(error, merged)) from None
    settings.origins.update({name: found.origin for name, found in merged.items()})
    return settings


def _profile(profile: Found | None) -> Source:
    if profile is None or profile.value != "lab":
        return {}
    return {name: Found(True, "profile lab") for name in SWITCHES}


def _environment(env: Mapping[str, str]) -> Source:
    # An empty variable counts as absent: compose files pass them on as ${NAME:-}.
    source = {name: Found(env[key], f"environment {key}") for key, name in CONTRACT_NAMES.items() if env.get(key)}
    for contract in (hidrometro, alchemy):
        source |= {name: Found(*value) for name, value in contract.values(env).items()}
    fields = names()
    by_key = {environment_name(name): name for name in fields}
    for key, text in env.items():
        if not key.startswith(PREFIX) or not text:
            continue
        if key not in by_key:
            raise ConfigurationError(f"environment {key}: no such setting{_nearest(key, list(by_key))}")
        name = by_key[key]
        value: Any = text
        if text.startswith("[") and get_origin(fields[name].annotation) is list:
            try:
                value = json.loads(text)
            except ValueError:
                value = text
        source[name] = Found(value, f"environment {key}")
    return source


def _file_of_data_directory(above: Source) -> Source:
    found = above.get("data")
    data = Path(found.value).expanduser() if found else Settings().data
    path = data / "relevo.toml"
    if not path.is_file():
        return {}
    source = _file(path, None)
    if "data" in source:
        raise ConfigurationError(
            f"{source['data'].origin}: data cannot be set by a file inside the data directory; "
            "use --data, RELEVO_DATA or a file named by --config"
        )
    return source


def _file(path: Path, origin: str | None) -> Source:
    # 1 MB that a server without a settings file need not carry.
    import tomllib

    try:
        text = path.read_text("utf-8")
        document = tomllib.loads(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        via = f" ({origin})" if origin else ""
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigurationError(f"settings file {path}{via} cannot be read: {reason}") from None
    flat: dict[str, Any] = {}
    for name, value in document.items():
        if isinstance(value, dict):
            flat |= {f"{name}.{inner}": v for inner, v in value.items()}
        else:
            flat[name] = value
    lines = _lines(text)
    source = {name: Found(v, f"{path}:{lines[name]}" if name in lines else str(path)) for name, v in flat.items()}
    for name, found in source.items():
        _known(name, found.origin)
        if name == "config":
            raise ConfigurationError(f"{found.origin}: config cannot be set in a settings file")
    return source


def _lines(text: str) -> dict[str, int]:
    """Line of each ``name = value``; tomllib does not tell. Only for messages, so an odd layout may be missed."""
    table = ""
    found: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[\s*([\w.-]+)\s*\]", line):
            table = header[1] + "."
        elif key := re.match(r"\s*([\w.-]+)\s*=", line):
            found.setdefault(table + key[1], number)
    return found


def _known(name: str, origin: str) -> None:
    fields = names()
    if name not in fields:
        raise ConfigurationError(f"{origin}: no setting is called {name}{_nearest(name, list(fields))}")


def _nearest(name: str, known: list[str]) -> str:
    import difflib  # only a mistake needs it

    near = difflib.get_close_matches(name, known, 1, 0.0)
    return f"; did you mean {near[0]}?" if near else ""


def _nested(source: Source) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, found in source.items():
        group, _, inner = name.rpartition(".")
        (values.setdefault(group, {}) if group else values)[inner] = found.value
    return values


def _explain(error: ValidationError, source: Source) -> str:
    lines = []
    fields = names()
    for item in error.errors(include_url=False, include_context=False):
        name = ".".join(str(part) for part in item["loc"] if isinstance(part, str))
        message = item["msg"].removeprefix("Value error, ").removeprefix("Input ")
        found = source.get(name)
        if found is None:
            lines.append(message)
            continue
        secret = (fields[name].json_schema_extra or {}).get("secret")
        value = "(hidden)" if secret else repr(found.value)
        lines.append(f"{name} = {value} from {found.origin}: {message}")
    return "\n".join(lines)
