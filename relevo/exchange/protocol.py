"""What the server and the process of an export or import say to each other (:mod:`relevo.exchange.program`).

Each question has one answer, so that whoever does not take an answer stops the work: a client that reads slowly, or a
disk that has to commit what was imported. Lengths and MessagePack as in :mod:`relevo.store.history.worker`.
"""

from typing import Any, Final, TypeAlias

import msgspec

FORMATS: Final = ("csv", "jsonl", "parquet")
FORMS: Final = ("wide", "long")
TIMES: Final = ("iso", "ms")
SOURCES: Final = ("csv", "jsonl", "columns", "thingsboard", "home-assistant")
MEDIA: Final = {
    "csv": "text/csv; charset=utf-8; header=present",
    "jsonl": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet",
}


class ExportWanted(msgspec.Struct, array_like=True, tag="export"):
    """The first question. ``devices`` are ids with the numbers of the events that registered them, in their order in
    the file; no ``keys`` are all; ``start <= ts < end`` in milliseconds UTC. ``zone`` is an IANA name, empty for UTC.
    """

    devices: list[tuple[str, int]]
    keys: list[str]
    start: int
    end: int
    format: str = "csv"
    form: str = "wide"
    times: str = "iso"
    zone: str = ""
    bom: bool = False


class ImportWanted(msgspec.Struct, array_like=True, tag="import"):
    """The first question. ``known`` are the devices that may be imported into, with the numbers of the events that
    registered them; ``path`` is a file to be filled where the format needs one.

    The rest is how the file is to be understood, see docs/import.md.
    """

    source: str
    known: list[tuple[str, int]]
    now: int
    path: str = ""
    device: str = ""
    create: bool = False
    zone: str = ""
    delimiter: str = ""
    decimal: str = "."
    time_column: str = ""
    time_format: str = ""
    device_column: str = ""
    columns: dict[str, str] = {}
    statistics: bool = True


class Part(msgspec.Struct, array_like=True, tag="part"):
    """The next bytes of a file that is imported; without any the file is over."""

    data: bytes


class More(msgspec.Struct, array_like=True, tag="more"):
    """The next answer to what was asked already."""


class Fault(msgspec.Struct, array_like=True, gc=False):
    """One thing that was not imported: where it stands, which field, a stable reason, and what is wrong."""

    line: int
    field: str
    reason: str
    detail: str


# Device, time in milliseconds UTC, values.
Reading: TypeAlias = tuple[str, int, dict[str, Any]]


class Answer(msgspec.Struct, array_like=True):
    """``error`` ends the work; with a ``reason`` it is the fault of whoever asks. ``done`` says that nothing follows.

    Of an export: bytes of the file, values so far, and about how many there will be. Of an import: readings that are
    new, values that were there already, the first faults and how many there are, values by devices that are unknown,
    lines so far; with the last answer units by device and key.
    """

    error: str = ""
    reason: str = ""
    done: bool = False
    data: bytes = b""
    points: int = 0
    expected: int = 0
    readings: list[Reading] = []
    repeated: int = 0
    faults: list[Fault] = []
    refused: int = 0
    unknown: dict[str, int] = {}
    lines: int = 0
    notes: list[str] = []
    units: dict[str, dict[str, str]] = {}


Wanted: TypeAlias = ExportWanted | ImportWanted | Part | More

encode: Final = msgspec.msgpack.Encoder().encode
decode_wanted: Final = msgspec.msgpack.Decoder(Wanted).decode
decode_answer: Final = msgspec.msgpack.Decoder(Answer).decode
