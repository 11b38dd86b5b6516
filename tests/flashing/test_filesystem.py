"""File systems for boards, mounted by a real MicroPython; keys, found where Espressif's format has them."""

import json
import subprocess
from pathlib import Path

import pytest

from relevo.errors import Unbuildable
from relevo.flashing import filesystem

_MOUNT = """
import json, os, vfs
class Flash:
    def __init__(self):
        with open("flash.bin", "rb") as file:
            self.data = bytearray(file.read())
    def readblocks(self, n, buf, off=0):
        buf[:] = self.data[n * 4096 + off : n * 4096 + off + len(buf)]
    def writeblocks(self, n, buf, off=0):
        self.data[n * 4096 + off : n * 4096 + off + len(buf)] = buf
    def ioctl(self, op, arg):
        return {4: len(self.data) // 4096, 5: 4096}.get(op, 0)
vfs.mount(vfs.VfsLfs2(Flash()), "/flash")
found = {}
for name in os.listdir("/flash"):
    try:
        with open("/flash/" + name) as file:
            found[name] = len(file.read())
    except OSError:
        found[name] = sorted(os.listdir("/flash/" + name))
# A board writes to it, too.
with open("/flash/written", "w") as file:
    file.write("x")
print(json.dumps(found))
"""


def test_a_file_system_is_one_that_micropython_mounts_and_writes_to(tmp_path: Path, micropython: str) -> None:
    files = filesystem.board_files([("release.json", b"{}"), ("app.py", b"x" * 9000)], [("config.json", b"{}")])
    (tmp_path / "flash.bin").write_bytes(filesystem.littlefs(files, 256))
    ended = subprocess.run(
        [micropython, "-X", "heapsize=2m", "-c", _MOUNT], cwd=tmp_path, capture_output=True, text=True, timeout=30
    )
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert found["a"] == ["app.py", "release.json"]
    assert found["config.json"] == 2 and found["boot.py"] > 1000 and found["main.py"] > 0


def test_files_that_do_not_fit_are_refused_with_the_size() -> None:
    with pytest.raises(Unbuildable, match="64 KiB"):
        filesystem.littlefs([("app.py", b"x" * 100_000)], 64)
    for size in (0, 63, 65, 20_000):
        with pytest.raises(Unbuildable, match="KiB"):
            filesystem.littlefs([], size)


def test_keys_are_in_their_namespace_with_their_types() -> None:
    made = filesystem.nvs("iot-config", {"device_id": "6123456abcdef12345678901", "interval": 4})
    assert len(made) == 24 * 1024
    pages = made[32 + 32 :]
    # Espressif's non-volatile storage, format version 2: entries of 32 bytes, the key at 8, type 0x21 text, 0x14 i32.
    entries = [pages[at : at + 32] for at in range(0, 4096 - 64, 32)]
    named = {entry[8:24].rstrip(b"\0"): entry for entry in entries if entry[0] not in (0xFF,)}
    assert named[b"iot-config"][0] == 0
    assert named[b"device_id"][1] == 0x21 and named[b"device_id"][0] == named[b"iot-config"][24]
    assert named[b"interval"][1] == 0x14 and int.from_bytes(named[b"interval"][24:28], "little") == 4
    assert b"6123456abcdef12345678901\0" in made


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"a-name-that-is-too-long": "x"}, "at most 15"),
        ({"key": "x" * 4001}, "4000 bytes"),
        ({"key": True}, "whole number"),
        ({"key": None}, "whole number"),
    ],
)
def test_keys_that_the_format_does_not_hold_are_refused(values: dict[str, object], said: str) -> None:
    with pytest.raises(Unbuildable, match=said):
        filesystem.nvs("relevo", values)
    with pytest.raises(Unbuildable, match="KiB"):
        filesystem.nvs("relevo", {}, 10)
