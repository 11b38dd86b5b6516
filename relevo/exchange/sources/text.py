"""Files of text: bytes to records, whatever the cuts between parts."""

import codecs
from collections.abc import Iterator
from typing import Final

from relevo.domain.csv_records import CsvReader, Record
from relevo.errors import Invalid

# How files in UTF-16, of SQLite, zip (also Excel's) and Parquet begin.
_OTHERS: Final = (b"\xff\xfe", b"\xfe\xff", b"SQLite format 3\0", b"PK\x03\x04", b"PAR1")
DELIMITERS: Final = ",;\t|"
_HEADER_MOST: Final = 1_000_000


class Records:
    """Records of a CSV file in UTF-8, with or without a byte order mark; without a ``delimiter`` it is the one that the
    first line has most of. Bytes that are no UTF-8 become what no value may hold, so they are refused where they
    stand."""

    def __init__(self, delimiter: str = "") -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape")
        self._delimiter = delimiter
        self._reader: CsvReader | None = None
        self._begin = ""

    def feed(self, data: bytes, final: bool = False) -> Iterator[Record]:
        """Raises :class:`Invalid` (``import_format``) for what is no text."""
        if self._reader is None and data.startswith(_OTHERS):
            raise Invalid("import_format", "the file is no CSV in UTF-8: save it as CSV, or name its format")
        text = self._decoder.decode(data, final)
        if self._reader is None:
            self._begin += text
            first, mark, _ = self._begin.partition("\n")
            if not mark and not final and len(self._begin) < _HEADER_MOST:
                return
            self._reader = CsvReader(self._delimiter or delimiter_of(first))
            text, self._begin = self._begin, ""
        yield from self._reader.feed(text)
        if final:
            yield from self._reader.end()


def delimiter_of(line: str) -> str:
    """The delimiter that a line has most of, outside of quotes."""
    plain = "".join(line.split('"')[::2])
    return max(DELIMITERS, key=plain.count)
