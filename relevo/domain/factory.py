"""A factory's list of devices: CSV with one device a row, told apart into what can be made and what cannot."""

import csv
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from relevo.domain.devices import NAME_LIMIT
from relevo.errors import FieldError, Invalid

COLUMNS: Final = ("contract", "serial", "key", "name", "type", "site", "tags")
ROWS_MOST: Final = 5_000
KEY_LEAST: Final = 16
KEY_MOST: Final = 128
TAGS_MOST: Final = 32
_KEY: Final = re.compile(r"[!-~]+")
_LIMITS: Final = {"contract": 32, "serial": 128, "name": NAME_LIMIT, "type": 64, "site": 64, "tags": 2_112}


@dataclass(slots=True)
class Row:
    """One row; ``number`` counts the header as 1. ``problems`` is empty for one that can be made."""

    number: int
    contract: str = ""
    serial: str = ""
    key: str = ""
    name: str = ""
    type: str = ""
    site: str = ""
    tags: list[str] = field(default_factory=list)
    problems: list[FieldError] = field(default_factory=list)

    def refuse(self, name: str, message: str, reason: str = "invalid") -> None:
        self.problems.append(FieldError(name, f"{name} {message}", reason))


def read(text: str, normalise: Callable[[str, str], str]) -> list[Row]:
    """The rows of ``text``; empty lines are passed over.

    ``normalise(contract, serial)`` gives the identity or raises :class:`Invalid`. Raises :class:`Invalid` when the
    header or the number of rows is wrong.
    """
    found: list[Row] = []
    seen: set[tuple[str, str]] = set()
    keys: set[str] = set()
    for number, cells in _lines(text):
        if len(found) == ROWS_MOST:
            message = f"more than {ROWS_MOST} rows; send the rest as a second list"
            raise Invalid("batch_too_long", message, [FieldError("body", message, "batch_too_long")])
        row = Row(number)
        found.append(row)
        if len(cells) > len(COLUMNS):
            row.refuse("row", f"has {len(cells)} cells, the limit is {len(COLUMNS)}: {', '.join(COLUMNS)}")
            continue
        given = dict(zip(COLUMNS, (*cells, *[""] * (len(COLUMNS) - len(cells))), strict=True))
        _fill(row, given, normalise)
        identity = (row.contract, row.serial)
        if not row.problems and identity in seen:
            row.refuse("serial", "stands in this list twice", "repeated")
        if row.key and row.key in keys:
            row.refuse("key", "stands in this list twice; each device needs one of its own", "repeated")
        if not row.problems:
            seen.add(identity)
            keys.add(row.key)
    return found


def _lines(text: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    header: tuple[str, ...] | None = None
    number = 0
    try:
        for cells in reader:
            number += 1
            if not any(cell.strip() for cell in cells):
                continue
            if header is None:
                header = tuple(cell.strip().lower() for cell in cells)
                if header != COLUMNS:
                    break
                continue
            yield number, [cell.strip() for cell in cells]
    except csv.Error as error:
        message = f"row {number + 1} is no CSV: {error}"
        raise Invalid("csv_malformed", message, [FieldError("body", message, "csv_malformed")]) from None
    if header != COLUMNS:
        message = f"the first row must be {','.join(COLUMNS)}"
        raise Invalid("csv_header", message, [FieldError("body", message, "csv_header")])


def _fill(row: Row, given: dict[str, str], normalise: Callable[[str, str], str]) -> None:
    for name, limit in _LIMITS.items():
        if len(given[name]) > limit:
            row.refuse(name, f"has {len(given[name])} characters, the limit is {limit}")
        elif not _writable(given[name]):
            row.refuse(name, "has characters that cannot be printed")
    row.contract, row.serial = given["contract"], given["serial"]
    row.key, row.name, row.type, row.site = given["key"], given["name"], given["type"], given["site"]
    row.tags = [tag.strip() for tag in re.split("[;|]", given["tags"]) if tag.strip()]
    if len(row.tags) > TAGS_MOST or any(len(tag) > 64 for tag in row.tags):
        row.refuse("tags", f"must be at most {TAGS_MOST} of at most 64 characters, with ; between them")
    for name in ("contract", "serial"):
        if not given[name]:
            row.refuse(name, "is empty")
    if row.key and not KEY_LEAST <= len(row.key) <= KEY_MOST:
        row.refuse("key", f"has {len(row.key)} characters, it must have {KEY_LEAST} to {KEY_MOST}", "key_length")
    elif row.key and not _KEY.fullmatch(row.key):
        row.refuse("key", "must be printable ASCII without spaces", "key_characters")
    if not row.problems:
        try:
            row.serial = normalise(row.contract, row.serial)
        except Invalid as problem:
            name = "contract" if any(one.field == "contract" for one in problem.errors) else "serial"
            row.problems.append(FieldError(name, problem.message, problem.reason))


def _writable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return text.isprintable()
