"""What the server signs is what our firmware's own code believes, and what is built for boards is what it lets in."""

import asyncio
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from relevo.domain.firmware_image import look
from relevo.domain.manifests import derived, manifest, signed
from relevo.domain.releases import Release
from relevo.firmware import Firmware
from relevo.flashing import building, sources
from relevo.flashing.sources import Profile
from tests.running import REPOSITORY

KEY = "0123456789abcdef-the-key-of-a-board"


@pytest.fixture
def ota(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The board's module, on CPython."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "firmware" / "micropython" / "app"))
    before = set(sys.modules)
    yield importlib.import_module("ota")
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_board_believes_what_the_server_signs(ota: Any, tmp_path: Path) -> None:
    release = Release("relay-1.4.0", "1.4.0", "relay", 1, 6, "", 48_640, "ab" * 32, [], "admin", 0)
    firmware = Firmware(tmp_path)
    data = manifest(release, "board-1", 1_767_225_600)
    with asyncio.Runner() as runner:
        signature, public = runner.run(firmware.sign(data)), runner.run(firmware.public_key())
    both = signed(data, derived(KEY.encode()), signature)
    for key, known in ((KEY, None), (KEY, public), (None, public)):
        found = ota.verified(both, key, known)
        ota.fits(found, {"device": "board-1", "board": "relay", "boot": 1, "mpy": 6}, 0, 1_000_000)
    for wrong in (both[:-2] + b"1}", signed(data, derived(b"another"), signature)):
        with pytest.raises(ota.Refused, match="signature"):
            ota.verified(wrong, KEY, None)
    with pytest.raises(ota.Refused, match="signature"):
        ota.verified(signed(data, derived(KEY.encode()), bytes(64)), KEY, public)


@pytest.mark.parametrize("compiled", [True, False])
def test_what_is_built_for_boards_is_let_in(compiled: bool) -> None:
    named = Profile(board="relay", contract="autocore", modules=["ota", "ed25519"])
    for profile in (named, *map(sources.profile, sources.profiles())):
        data = building.image(building.files_of(profile, "1.4.0-rc.1", "what changed", compiled=compiled))
        found = look(data)
        assert (found.said.release, found.said.notes) == (f"{profile.board}-1.4.0-rc.1", "what changed")
        assert bool(found.said.mpy) is compiled
