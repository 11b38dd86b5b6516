"""What people read about settings: the reference page and the table of ``relevo settings``."""

import re
from typing import Any, NamedTuple

from relevo.settings import alchemy, hidrometro
from relevo.settings.load import CONTRACT_NAMES, environment_name, names
from relevo.settings.table import (
    Alchemy,
    Autocore,
    Backup,
    Commands,
    Hidrometro,
    History,
    Limits,
    Notifications,
    Settings,
    Thingsnxt,
    Twins,
    Webhooks,
)

MASK = "********"


class Row(NamedTuple):
    """One setting in force: dotted name, value as text (secrets masked) and where it came from."""

    name: str
    value: str
    origin: str


def describe(settings: Settings) -> list[Row]:
    """Every setting with its effective value and origin, in the order of the table."""
    rows = []
    for name, field in names().items():
        value: Any = settings
        for part in name.split("."):
            value = getattr(value, part)
        if name == "open_reads" and value is None:
            value = settings.reads_open
        extra = field.json_schema_extra or {}
        rows.append(Row(name, _masked(_text(value), extra.get("secret")), settings.origins.get(name, "default")))
    return rows


class Told(NamedTuple):
    """A setting for whoever looks at it over the API; ``value`` of a secret is None, and ``set`` says whether it has
    one. ``default`` is a text; ``least`` and ``most`` are bounds of numbers, where there are any."""

    name: str
    value: str | None
    set: bool
    secret: bool
    default: str
    origin: str
    source: str
    help: str
    environment: str
    least: int | float | None
    most: int | float | None


def tell(settings: Settings) -> list[Told]:
    """Every setting as :func:`describe` has it, with its help and limits; nothing of a secret but whether it is set."""
    fields = names()
    told = []
    for row in describe(settings):
        field = fields[row.name]
        extra = field.json_schema_extra or {}
        secret = bool(extra.get("secret"))
        default = extra.get("default_text")
        if default is None:
            default = "" if secret else _text(field.get_default(call_default_factory=True))
        bounds = {type(m).__name__: m for m in field.metadata}
        told.append(
            Told(
                row.name,
                None if secret else row.value,
                bool(row.value),
                secret,
                default.replace("`", ""),
                row.origin,
                source_of(row.origin),
                field.description or "",
                environment_name(row.name),
                bounds["Ge"].ge if "Ge" in bounds else None,
                bounds["Le"].le if "Le" in bounds else None,
            )
        )
    return told


def source_of(origin: str) -> str:
    """The kind of an origin: ``default``, ``profile``, ``file``, ``environment`` or ``option``."""
    kind = origin.partition(" ")[0]
    return kind if kind in ("default", "profile", "environment", "option") else "file"


def _masked(text: str, secret: Any) -> str:
    if secret == "url":  # noqa: S105 - the kind of the setting
        # Up to the last @: a password that should have been escaped must not show its tail.
        text = re.sub(r"(?<=://)([^/@:]*):.*@", rf"\1:{MASK}@", text)
        return re.sub(r"(?i)(pass\w*=)[^&]*", rf"\1{MASK}", text)
    return MASK if secret and text else text


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    return str(value)


def settings_page() -> str:
    """``docs/settings.md`` as Markdown, made from the table alone."""
    contract = {name: key for key, name in CONTRACT_NAMES.items()}
    parts = [_HEAD]
    sections: dict[str, list[str]] = {}
    for name, field in names().items():
        group, _, inner = name.rpartition(".")
        extra = field.json_schema_extra or {}
        default = extra.get("default_text")
        if default is None:
            text = _text(field.get_default(call_default_factory=True))
            default = f"`{text}`" if text else ""
        notes = [field.description, _limits(field)]
        if extra.get("secret"):
            notes.append("Secret.")
        if name in contract:
            notes.append(f"Also `{contract[name]}`.")
        for of, known in (("alchemy", alchemy.NAMES), ("hidrometro", hidrometro.NAMES)):
            if name in known:
                notes.append(f"Contract {of}: {', '.join(f'`{one}`' for one in known[name])}.")
        sections.setdefault(group, []).append(
            f"| `{inner}` | `{environment_name(name)}` | {default} | {' '.join(filter(None, notes))} |"
        )
    heads = {
        "": "",
        "limits": f"## [limits]\n\n{Limits.__doc__}\n",
        "commands": f"## [commands]\n\n{Commands.__doc__}\n",
        "notifications": f"## [notifications]\n\n{Notifications.__doc__}\n",
        "webhooks": f"## [webhooks]\n\n{Webhooks.__doc__}\n",
        "history": f"## [history]\n\n{History.__doc__}\n",
        "backup": f"## [backup]\n\n{Backup.__doc__}\n",
        "hidrometro": f"## [hidrometro]\n\n{Hidrometro.__doc__}\n",
        "twins": f"## [twins]\n\n{Twins.__doc__}\n",
        "autocore": f"## [autocore]\n\n{Autocore.__doc__}\n",
        "alchemy": f"## [alchemy]\n\n{Alchemy.__doc__}\n",
        "thingsnxt": f"## [thingsnxt]\n\n{Thingsnxt.__doc__}\n",
    }
    for group, lines in sections.items():
        parts += [
            heads[group].replace("``", "`"),
            "| Name | Environment | Default | Meaning |",
            "|---|---|---|---|",
            *lines,
            "",
        ]
    return "\n".join(parts)


def _limits(field: Any) -> str:
    bounds = {type(m).__name__: m for m in field.metadata}
    if "Ge" in bounds and "Le" in bounds:
        return f"From {bounds['Ge'].ge:,} to {bounds['Le'].le:,}."
    return ""


_HEAD = """\
# Settings

<!-- Made from relevo/settings/table.py by `python -m relevo.settings`; a test fails when it is out of date. -->

A later source wins: the default, the profile, `relevo.toml` (in the data directory, or the file named by `--config`),
the environment, the command line. `relevo settings` prints the values in force and where each came from. Unknown
names are refused. Switches take `on`/`off`, `true`/`false`, `1`/`0`; lists are separated by commas, or TOML lists in
the file. An empty environment variable counts as absent.

The names that the contracts' own servers read are taken too, below `RELEVO_…`. `MQTT_KEEPALIVE` changes nothing: the
MQTT door is the server's own. `SECRET_KEY` signs tokens of contract hidrometro when it is random and has 32 characters;
a shorter one, or a sample, is not used: the server's own keys are generated and kept in the data directory.
`MQTT_BROKER_URL`, or the host of `MQTT_URL`, names this machine, or else the broker that is to replace the own door;
`DB_ENGINE=sqlite`, or a `sqlite` in `SQLALCHEMY_DATABASE_URI` is the database in the data directory.
"""
