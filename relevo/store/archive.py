"""The file of a backup, format 1: a zip archive of parts, each compressed by zstd, and ``manifest.json``.

Zip because every system opens it and its parts are reached without reading the others; its own compression is not used.
A part ``NAME`` of the data directory is the member ``NAME.zst``. The manifest is written last and says of each part how
long it is and its SHA-256, both before compression. A later format gets another number; this one stays readable.
"""

import hashlib
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import BinaryIO, Final, Self

import msgspec
import zstandard

from relevo.errors import Damaged

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
_LEVEL: Final = 3
_PIECE: Final = 1024 * 1024
_MANIFEST_MOST: Final = 16 * 1024 * 1024
_WINDOW_MOST: Final = 1 << 27
_BROKEN: Final = (
    zipfile.BadZipFile, zstandard.ZstdError, msgspec.MsgspecError, EOFError, OSError, ValueError, KeyError,
    NotImplementedError, RuntimeError, OverflowError,
)  # fmt: skip

# Bytes of a part that are done.
Tell = Callable[[int], None]


class Part(msgspec.Struct, frozen=True):
    """A file of the data directory: its path in there, bytes, SHA-256 in hexadecimal, mode."""

    name: str
    size: int
    sha256: str
    mode: int = 0o600


class Manifest(msgspec.Struct, frozen=True):
    """What a backup holds. ``created`` in milliseconds UTC; ``seq`` is the number of the last event in it; ``left_out``
    are files of the data directory that are too large to be one of its settings or keys."""

    format: int
    relevo: str
    schema: str
    created: int
    seq: int
    devices: int
    users: int
    events: int
    points: int
    parts: list[Part]
    left_out: list[str] = []


class ArchiveWriter:
    """Writes to an open file that can be sought in."""

    def __init__(self, out: BinaryIO, now_ms: int) -> None:
        self._zip = zipfile.ZipFile(out, "w", zipfile.ZIP_STORED)
        self._at = datetime.fromtimestamp(now_ms / 1000, UTC).timetuple()[:6]

    def add(self, name: str, source: BinaryIO, mode: int, tell: Tell = lambda done: None) -> Part:
        """Compress ``source`` to its end. Raises :class:`OSError`."""
        compress = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compressobj()
        digest, size = hashlib.sha256(), 0
        with self._zip.open(self._member(f"{name}.zst"), "w", force_zip64=True) as out:
            while piece := source.read(_PIECE):
                digest.update(piece)
                size += len(piece)
                out.write(compress.compress(piece))
                tell(size)
            out.write(compress.flush())
        return Part(name, size, digest.hexdigest(), mode)

    def finish(self, manifest: Manifest) -> None:
        with self._zip.open(self._member(MANIFEST), "w") as out:
            out.write(msgspec.json.format(msgspec.json.encode(manifest), indent=2))
        self._zip.close()

    def _member(self, name: str) -> zipfile.ZipInfo:
        found = zipfile.ZipInfo(name, self._at)
        found.external_attr = 0o600 << 16
        return found


class Archive:
    """A backup, opened to be read. Every method raises :class:`Damaged` with the words for it."""

    def __init__(self, path: Path) -> None:
        """Raises :class:`FileNotFoundError` and :class:`PermissionError`, too."""
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except (FileNotFoundError, PermissionError, IsADirectoryError):
            raise
        except _BROKEN as error:
            raise Damaged(f"{path} is no backup, or its end is missing: {error}") from None
        try:
            self.manifest = self._read_manifest()
        except BaseException:
            self._zip.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._zip.close()

    @property
    def size(self) -> int:
        """Bytes of all parts."""
        return sum(one.size for one in self.manifest.parts)

    def read(self, part: Part) -> Iterator[bytes]:
        """A part in pieces; that it was the right one is known at the end."""
        digest, size = hashlib.sha256(), 0
        try:
            with (
                self._zip.open(f"{part.name}.zst") as member,
                zstandard.ZstdDecompressor(max_window_size=_WINDOW_MOST).stream_reader(member) as source,
            ):
                while piece := source.read(_PIECE):
                    digest.update(piece)
                    size += len(piece)
                    if size > part.size:
                        break
                    yield piece
                # Its checksum is looked at when the end is read.
                while size <= part.size and member.read(_PIECE):
                    pass
        except _BROKEN as error:
            raise Damaged(f"{self.path}: {part.name} cannot be read: {error}") from None
        if size != part.size or digest.hexdigest() != part.sha256:
            raise Damaged(f"{self.path}: {part.name} is not what the manifest says that it is")

    def verify(self, tell: Tell = lambda done: None) -> None:
        """Read everything."""
        done = 0
        for part in self.manifest.parts:
            for piece in self.read(part):
                done += len(piece)
                tell(done)

    def _read_manifest(self) -> Manifest:
        try:
            if self._zip.getinfo(MANIFEST).file_size > _MANIFEST_MOST:
                raise Damaged(f"{self.path}: the manifest is larger than any")
            data = self._zip.read(MANIFEST)
            form = msgspec.json.decode(data, type=dict[str, object]).get("format")
            if form != FORMAT:
                raise Damaged(
                    f"{self.path} has format {form}, which this version does not know: a newer Relevo made it"
                )
            found = msgspec.json.decode(data, type=Manifest)
        except Damaged:
            raise
        except _BROKEN as error:
            raise Damaged(f"{self.path} is no backup of Relevo, or damaged: {error}") from None
        for part in found.parts:
            path = PurePosixPath(part.name)
            if path.is_absolute() or not path.parts or ".." in path.parts or "\\" in part.name or "\0" in part.name:
                raise Damaged(f"{self.path}: a part wants to be at {part.name!r}")
        if len({one.name for one in found.parts}) != len(found.parts):
            raise Damaged(f"{self.path}: a part is there twice")
        return found
