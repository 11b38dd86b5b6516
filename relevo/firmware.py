"""Releases of firmware: their images on the disk, and the key under which they are offered.

Theory. An image is a file named by its SHA-256, on the disk before the record that names it and gone after the record;
what a crash leaves in between goes with the next start. The update key is made when it is first needed and stays:
boards that were given its public half believe no other.
"""

import asyncio
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from relevo.domain.records import Dropped, Kept, RecordChange
from relevo.domain.releases import Release
from relevo.errors import StoreUnavailable
from relevo.files import Folder, sync, write_file

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

FOLDER: Final = "firmware"
"""In the data directory."""
KEY_FILE: Final = "update.key"
_FILE: Final = r"[0-9a-f]{64}\.tar"
# Pieces over MQTT come from memory; roll-outs of more releases than this at a time read files more often.
_OPENED_MOST: Final = 2


class Firmware:
    """:meth:`apply` sees every commit."""

    def __init__(self, data: Path) -> None:
        """``data`` is the data directory."""
        self._folder = Folder(data / FOLDER, _FILE)
        self._key_file = data / FOLDER / KEY_FILE
        self._key: Ed25519PrivateKey | None = None
        self._making = asyncio.Lock()
        self._opened: OrderedDict[str, bytes] = OrderedDict()
        # From looking whether a release is there, or used, to the commit that changes it.
        self.turn = asyncio.Lock()
        self.all: dict[str, Release] = {}

    def apply(self, change: RecordChange) -> None:
        """Follow one change of a record."""
        match change:
            case Kept(Release() as release):
                self.all[release.id] = release
            case Dropped(kind, key) if kind is Release:
                gone = self.all.pop(key, None)
                if gone is not None and not any(one.sha256 == gone.sha256 for one in self.all.values()):
                    self.forget(gone.sha256)

    # Images

    def file(self, sha256: str) -> Path:
        return self._folder.file(f"{sha256}.tar")

    def write(self, sha256: str, data: bytes) -> None:
        """Bring an image onto the disk, where the same may be already. Blocks; raises :class:`OSError`."""
        self._folder.write(f"{sha256}.tar", data)

    def forget(self, sha256: str) -> None:
        """Remove an image that no record names, or none any more."""
        self._opened.pop(sha256, None)
        self._folder.forget(f"{sha256}.tar")

    def sweep(self) -> None:
        """Remove what a crash left."""
        self._folder.sweep({f"{one.sha256}.tar" for one in self.all.values()})

    async def read(self, release: Release) -> bytes:
        """The image of ``release``. Raises :class:`StoreUnavailable` when its file is gone."""
        found = self._opened.get(release.sha256)
        if found is None:
            try:
                found = await asyncio.to_thread(self.file(release.sha256).read_bytes)
            except OSError as error:
                raise StoreUnavailable(
                    f"the image of {release.id} cannot be read ({error.strerror}): restore it from a backup, or "
                    "remove the release and upload it again"
                ) from error
            if release.id in self.all:
                self._opened[release.sha256] = found
        if release.sha256 in self._opened:
            self._opened.move_to_end(release.sha256)
        while len(self._opened) > _OPENED_MOST:
            self._opened.popitem(last=False)
        return found

    # The update key

    async def sign(self, data: bytes) -> bytes:
        """The Ed25519 signature (RFC 8032) of ``data``. Raises :class:`StoreUnavailable`."""
        return (await self._update_key()).sign(data)

    async def public_key(self) -> bytes:
        """The 32 bytes by which boards know what this installation signed. Raises :class:`StoreUnavailable`."""
        return (await self._update_key()).public_key().public_bytes_raw()

    async def _update_key(self) -> "Ed25519PrivateKey":
        async with self._making:
            if self._key is None:
                try:
                    self._key = await asyncio.to_thread(self._load)
                except (OSError, ValueError) as error:
                    raise StoreUnavailable(
                        f"{self._key_file} cannot be used ({error}): restore it from a backup; boards that know its "
                        "public half take updates from no other"
                    ) from error
            return self._key

    def _load(self) -> "Ed25519PrivateKey":
        # 25 ms and 8 MB that only a server with roll-outs spends.
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import (
            Encoding,
            NoEncryption,
            PrivateFormat,
            load_pem_private_key,
        )

        try:
            found = load_pem_private_key(self._key_file.read_bytes(), None)
        except FileNotFoundError:
            made = Ed25519PrivateKey.generate()
            self._folder.place.mkdir(mode=0o700, exist_ok=True)
            data = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            write_file(self._key_file, data, new=True)
            sync(self._folder.place)
            return made
        if not isinstance(found, Ed25519PrivateKey):
            raise ValueError("it is no Ed25519 key")
        return found
