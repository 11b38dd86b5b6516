"""Files that history is imported from, one kind a module. None of them knows where their readings go."""

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol, TypeAlias

from relevo.exchange.protocol import Fault, ImportWanted


class Row(NamedTuple):
    """What a line says: time in milliseconds UTC, and values by key."""

    line: int
    device: str
    ts: int
    values: dict[str, Any]


Found: TypeAlias = Row | Fault


class Source(Protocol):
    """A kind of file. ``lines`` is how many were read, ``notes`` what is to be said of the file as a whole."""

    lines: int
    notes: list[str]

    def feed(self, data: bytes) -> Iterator[Found]:
        """What the next bytes say. Raises :class:`relevo.errors.Invalid` for a file that is none of this kind."""

    def end(self) -> Iterator[Found]:
        """What is left when there are no more. Raises as :meth:`feed`."""


def opened(wanted: ImportWanted) -> Source:
    """What reads the kind of file that is wanted. Raises :class:`relevo.errors.Invalid`."""
    if wanted.source == "home-assistant":
        from relevo.exchange.sources.home_assistant import HomeAssistant

        return HomeAssistant(wanted)
    if wanted.source == "jsonl":
        from relevo.exchange.sources.json_lines import JsonLines

        return JsonLines()
    if wanted.source == "csv":
        from relevo.exchange.sources.own_csv import OwnCsv

        return OwnCsv()
    from relevo.exchange.sources.columns import Columns
    from relevo.exchange.sources.thingsboard import ThingsBoard

    return ThingsBoard(wanted) if wanted.source == "thingsboard" else Columns(wanted)
