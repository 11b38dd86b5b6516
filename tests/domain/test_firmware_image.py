"""Images of firmware: what is let in, and every way of lying in a tar that is not."""

import gzip
import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relevo.domain.firmware_image import BYTES_MOST, look
from relevo.errors import Invalid
from tests.boards import image

RELEASE = json.dumps({"version": "1.4.0", "board": "relay", "boot": 1, "mpy": 0}).encode()
Change = Callable[[tarfile.TarInfo], None]


def tar(*files: tuple[str, bytes], change: Change | None = None, form: int = tarfile.USTAR_FORMAT) -> bytes:
    """A tar; ``change`` is done to the last header."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as made:
        for n, (name, data) in enumerate(files):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            if change is not None and n == len(files) - 1:
                change(info)
            made.addfile(info, io.BytesIO(data))
    return out.getvalue()


def header(data: bytearray, at: int, field: slice, value: bytes) -> None:
    """Write a field of the header at ``at``, and its checksum."""
    data[at + field.start : at + field.start + len(value)] = value
    data[at + 148 : at + 156] = b" " * 8
    data[at + 148 : at + 156] = b"%06o\0 " % sum(data[at : at + 512])


def why(data: bytes, most: int = BYTES_MOST) -> str:
    with pytest.raises(Invalid) as caught:
        look(data, most)
    problem = caught.value
    assert problem.reason in ("image_invalid", "release_invalid", "body_too_large")
    assert problem.errors
    assert all(one.field and one.message for one in problem.errors)
    return problem.message


def test_an_image_says_what_it_is() -> None:
    data = image("1.4.0-rc.1", "relay-16", boot=2, mpy=6, notes="ñ", files={"main.mpy": b"M\x06", "page.html": b""})
    found = look(data)
    assert (found.said.version, found.said.board, found.said.boot, found.said.mpy) == ("1.4.0-rc.1", "relay-16", 2, 6)
    assert [name for name, _ in found.files] == ["release.json", "main.mpy", "page.html"]
    assert dict(found.files)["main.mpy"] == 2
    assert (found.size, found.sha256) == (len(data), hashlib.sha256(data).hexdigest())


def test_what_gnu_tar_writes_in_this_format_is_read_the_same() -> None:
    # Numbers with a space behind them instead of nothing, as other programs write them.
    data = bytearray(tar(("release.json", RELEASE)))
    header(data, 0, slice(124, 136), b"%011o " % len(RELEASE))
    assert look(bytes(data)).said.board == "relay"


@pytest.mark.parametrize(
    "name",
    [
        "../main.py", "/etc/passwd.json", "a/b.py", "main", "main.exe", "Main.py", ".py", "a.b.py", "main.py ", "mä.py",
        "con.py/", "a" * 61 + ".py", "release.json",
    ],
)  # fmt: skip
def test_a_name_that_could_mean_more_is_refused(name: str) -> None:
    assert "file 2" in why(tar(("release.json", RELEASE), (name, b"x"))) or name == "release.json"


def test_the_longest_name_is_let_in() -> None:
    assert len(look(tar(("release.json", RELEASE), ("a" * 60 + ".py", b""))).files) == 2


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (tarfile.SYMTYPE, "a symbolic link"), (tarfile.LNKTYPE, "a link"), (tarfile.CHRTYPE, "a device"),
        (tarfile.BLKTYPE, "a device"), (tarfile.DIRTYPE, "a folder"), (tarfile.FIFOTYPE, "a pipe"),
        (tarfile.CONTTYPE, "a contiguous file"), (tarfile.GNUTYPE_SPARSE, "a sparse file"), (b"Z", "of type"),
    ],
)  # fmt: skip
def test_only_plain_files_are_let_in(kind: bytes, words: str) -> None:
    data = bytearray(tar(("release.json", RELEASE), ("main.py", b"")))
    at = data.index(b"main.py")
    header(data, at, slice(156, 157), kind)
    assert words in why(bytes(data))


def test_a_link_target_in_a_plain_header_is_refused() -> None:
    data = bytearray(tar(("release.json", RELEASE), ("main.py", b"")))
    header(data, data.index(b"main.py"), slice(157, 257), b"/etc/passwd")
    assert "a link or a folder" in why(bytes(data))


def test_a_folder_in_the_prefix_is_refused() -> None:
    data = bytearray(tar(("release.json", RELEASE), ("main.py", b"")))
    header(data, data.index(b"main.py"), slice(345, 500), b"lib")
    assert "a link or a folder" in why(bytes(data))


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_other_formats_of_tar_are_refused(form: int) -> None:
    def long(info: tarfile.TarInfo) -> None:
        info.pax_headers = {"comment": "x"}
        info.name = "a" * 120 + ".py"

    data = tar(("release.json", RELEASE), ("x.py", b""), change=long, form=form)
    assert "pax" in why(data) or "ustar" in why(data)
    if form == tarfile.GNU_FORMAT:
        assert "ustar" in why(tar(("release.json", RELEASE), form=form))


def test_a_compressed_image_is_named_as_such() -> None:
    good = tar(("release.json", RELEASE))
    assert "gzip" in why(gzip.compress(good))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        made.writestr("release.json", RELEASE)
    assert "zip" in why(out.getvalue())


@pytest.mark.parametrize(
    "size", [b"%011o\0" % 0o7777777777, b"%011o\0" % 513, b"\x80" + bytes(10) + b"\x05", b"99999999999\0"]
)
def test_a_size_that_is_not_so_is_refused(size: bytes) -> None:
    data = bytearray(tar(("release.json", RELEASE)))
    header(data, 0, slice(124, 136), size)
    why(bytes(data))


def test_bytes_where_nothing_should_be_are_refused() -> None:
    good = tar(("release.json", RELEASE), ("main.py", b"x"))
    inside = bytearray(good)
    inside[512 + len(RELEASE)] = 1
    assert "behind release.json" in why(bytes(inside))
    behind = bytearray(good)
    behind[-1] = 1
    assert "behind its end" in why(bytes(behind))
    name = bytearray(good)
    header(name, 0, slice(50, 53), b"xyz")
    assert "file 1" in why(bytes(name))


def test_a_tar_without_its_end_is_refused() -> None:
    good = tar(("release.json", RELEASE))
    whole = 512 + 512
    assert look(good[: whole + 1_024]).said.board == "relay"
    for cut in (whole + 512, whole):
        assert "cut off" in why(good[:cut])
    for cut in (whole - 512, 512 + 100, 100, 0):
        why(good[:cut])


def test_counts_have_limits() -> None:
    files = [(f"f{n}.py", b"") for n in range(63)]
    assert len(look(tar(("release.json", RELEASE), *files)).files) == 64
    assert "more than 64" in why(tar(("release.json", RELEASE), *files, ("one_more.py", b"")))
    assert "two files main.py" in why(tar(("release.json", RELEASE), ("main.py", b"1"), ("main.py", b"2")))
    assert "first file must be release.json" in why(tar(("main.py", b""), ("release.json", RELEASE)))
    assert str(2_048) in why(tar(("release.json", RELEASE)), 2_048)
    assert "no files" in why(bytes(1_024))


@pytest.mark.parametrize(
    "text",
    [
        b"", b"[]", b"{", b"\xff", b'{"version":"1.0.0","version":"1.0.0","board":"a","mpy":0}', b"[" * 10_000,
        RELEASE.replace(b"1.4.0", b"1.4"), b" " * 20_000,
    ],
)  # fmt: skip
def test_a_release_that_is_not_usable_is_refused(text: bytes) -> None:
    assert "release.json" in why(tar(("release.json", text)))


def test_byte_code_needs_its_version() -> None:
    assert "release.json.mpy" in why(tar(("release.json", RELEASE), ("main.mpy", b"M")))


@settings(max_examples=300)
@given(st.binary(max_size=4_096))
def test_any_bytes_are_refused_in_words(data: bytes) -> None:
    why(data)


@settings(max_examples=300)
@given(st.data())
def test_a_changed_byte_is_seen_or_is_of_a_file(data: st.DataObject) -> None:
    good = tar(("release.json", RELEASE), ("main.py", b"x" * 600))
    at = data.draw(st.integers(0, len(good) - 1))
    bad = bytearray(good)
    bad[at] ^= data.draw(st.integers(1, 255))
    files = range(512, 512 + len(RELEASE)), range(1_536, 1_536 + 600)
    try:
        found: Any = look(bytes(bad))
    except Invalid:
        return
    assert any(at in one for one in files), at
    assert found.files == [("release.json", len(RELEASE)), ("main.py", 600)]
