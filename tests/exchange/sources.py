"""Reading files of other systems without a server."""

from collections.abc import Iterable
from typing import Any

from relevo.exchange.protocol import Fault, ImportWanted
from relevo.exchange.sources import Row, Source, opened


def read(
    data: bytes, source: str, cut: int = 7, **options: Any
) -> tuple[list[tuple[str, int, dict[str, Any]]], list[Fault], Source]:
    """Readings and faults of a file that comes in small parts."""
    reader = opened(ImportWanted(source, [], 0, **options))
    rows: list[Row] = []
    faults: list[Fault] = []

    def take(found: Iterable[Any]) -> None:
        for one in found:
            (rows if isinstance(one, Row) else faults).append(one)

    for at in range(0, len(data), cut):
        take(reader.feed(data[at : at + cut]))
    take(reader.end())
    return [(row.device, row.ts, row.values) for row in rows], faults, reader
