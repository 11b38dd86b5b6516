"""``docs/rights.md``: who may use which route, topic and command. ``python -m relevo.http.rights`` prints it."""

import sys
from typing import Final

from relevo import dialects
from relevo.http.app import described
from relevo.http.needs import NEEDS

OUTSIDE: Final = {
    "GET /": "everybody",
    "GET /docs": "everybody",
    "GET /redoc": "everybody",
    "GET /api/docs/": "everybody",
    "GET /api/redoc/": "everybody",
    "GET /openapi.json": "everybody",
    "GET /metrics": "everybody who is signed in",
    "GET /ui": "everybody",
    "GET /ui/": "everybody",
    "GET /ui/{path}": "everybody; what a page shows it asks for as whoever is signed in",
    "GET /ui/enter/{ticket}": "who has the one-time ticket",
    "WebSocket /api/v1/ws": "everybody who is signed in, for the devices they may view",
    "GET /events/stream": "everybody who is signed in, for what is theirs",
    "GET /notifications/stream": "everybody who is signed in, for what is theirs",
    "GET /dashboard": "everybody who is signed in, for the meters they may view",
    "GET /control": "administrators",
    "POST /control": "administrators, with a form of ours",
    "GET /clientes": "everybody who is signed in, for customers of whom they may view a meter",
    "POST /clientes": "administrators, with a form of ours",
    "GET /dispositivos, as HTML": "everybody who is signed in, for the meters they may view",
    "POST /dispositivos, a form": "the device's owner, with a form of ours",
    "POST /login, a form": "everybody",
    "POST /logout, a form": "everybody who is signed in, with a form of ours",
    "GET, POST, WebSocket /socket.io/": "everybody on a private network while `open_reads` is on, otherwise everybody "
    "who is signed in, for the meters they may view",
    "WebSocket /ws": "everybody who is signed in, for what is theirs",
    "WebSocket /ws/mqtt": "operators, for the devices they may view; publishing needs the right to control the device",
    "WebSocket /mqtt": "as MQTT over TCP",
    "WebSocket /": "as MQTT over TCP",
}
"""Routes that are not part of the OpenAPI description."""

_COMMANDS: Final = "everybody who may read the data directory of the server"


def page() -> str:
    """The page as Markdown."""
    lines = [
        "# Who may do what",
        "",
        "Made by `python -m relevo.http.rights`; a test holds it true. Roles: administrator, operator, viewer.",
        "A device has an owner; a grant lets others view or control it, a site or a tag. A viewer never does more",
        "than view, and an administrator owns everything. Who may not even know of a device is told that there is",
        "none (404).",
        "",
        "## Routes",
        "",
        "| Route | Who |",
        "|---|---|",
    ]
    found = dict(OUTSIDE)
    for path, item in described().openapi()["paths"].items():
        for method, operation in item.items():
            found[f"{method.upper()} {path}"] = operation[NEEDS]
    lines += [f"| `{route}` | {who} |" for route, who in sorted(found.items(), key=_by_path)]
    lines += [
        "",
        "## MQTT topics",
        "",
        "| Topic | May publish | May subscribe |",
        "|---|---|---|",
    ]
    for name, dialect in sorted(dialects.load().items()):
        publish, subscribe = dialect.device_filters("{device}")
        for topic in sorted({*publish, *subscribe}):
            device = f"the {name} device itself"
            lines.append(
                f"| `{topic}` | {device if topic in publish else 'administrators'} "
                f"| {device if topic in subscribe else 'administrators'} |"
            )
    lines += [
        "| `$SYS/#` | nobody | administrators |",
        "| any other | administrators | administrators |",
        "| the contracts' topics, or `anonymous_topics` | everybody on a private network while `anonymous_mqtt` is on "
        "| the same |",
        "",
        "## Commands",
        "",
        f"`relevo …` on the command line: {_COMMANDS}.",
        "",
    ]
    return "\n".join(lines)


def _by_path(entry: tuple[str, str]) -> tuple[str, str]:
    method, _, path = entry[0].partition(" ")
    return path, method


if __name__ == "__main__":
    sys.stdout.write(page())
