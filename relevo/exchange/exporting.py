"""An export in the making, in a process of its own: a piece at a time, however much there is."""

import sqlite3
from collections.abc import Iterator
from typing import Final

from relevo.exchange.protocol import Answer, ExportWanted
from relevo.exchange.writers import Writer, writer
from relevo.store.history.openers import open_points
from relevo.store.history.pieces import POINTS, outline, read_piece

# What goes out at once, and what a piece may become: where values are long, pieces have fewer of them.
PART_BYTES: Final = 131_072
_PIECE_BYTES: Final = 2_000_000
_POINTS_FIRST: Final = 2_000
_POINTS_LEAST: Final = 200
_ROWS_AT_ONCE: Final = 100


def export(connection: sqlite3.Connection, wanted: ExportWanted, most: int = _POINTS_FIRST) -> Iterator[Answer]:
    """The file in parts; the first answer is empty and says about how many values there are.

    Raises :class:`relevo.errors.Damaged` and ``sqlite3.Error``.
    """
    keys = set(wanted.keys)
    found = outline(connection, wanted.devices, keys, wanted.start, wanted.end)
    to_file: Writer
    if wanted.format == "parquet":
        from relevo.exchange.parquet import ParquetWriter, kinds

        to_file = ParquetWriter(wanted, found.keys, kinds(connection, wanted, found.keys))
    else:
        to_file = writer(wanted, found.keys)
    yield Answer(expected=found.points)
    # Columns stand at the beginning of a wide file: a key that appears later has none.
    fixed = wanted.format == "parquet" or (wanted.format == "csv" and wanted.form == "wide")
    wanted_keys = set(found.keys) if fixed else keys
    points = 0
    pending = bytearray(to_file.head())
    for device, since in wanted.devices:
        at = wanted.start if device in found.devices else wanted.end
        while at < wanted.end:
            piece = read_piece(connection, open_points, device, since, wanted_keys, at, wanted.end, most)
            at = piece.end
            made = 0
            for first in range(0, len(piece.rows), _ROWS_AT_ONCE):
                rows = piece.rows[first : first + _ROWS_AT_ONCE]
                part = to_file.rows(device, rows)
                points += sum(len(values) for _, values in rows)
                made += len(part)
                pending += part
                if len(pending) >= PART_BYTES:
                    yield Answer(data=bytes(pending), points=points, expected=found.points)
                    pending.clear()
            most = max(most // 2, _POINTS_LEAST) if made > _PIECE_BYTES else min(most * 2, POINTS)
    pending += to_file.foot()
    yield Answer(data=bytes(pending), points=points, expected=points, done=True)
