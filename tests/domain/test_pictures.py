"""A picture is what its own bytes say."""

import base64
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relevo.domain.pictures import BYTES_MOST, SIDE_MOST, Look, look
from relevo.errors import Invalid


def png(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0) + bytes(4)


def jpeg(width: int, height: int, marker: int = 0xC0) -> bytes:
    comment = b"\xff\xfe\x00\x04hi"
    frame = b"\xff" + bytes([marker]) + struct.pack(">HBHHB", 11, 8, height, width, 1) + bytes(3)
    return b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + bytes(9) + comment + b"\xff" + frame + b"\xff\xd9"


def webp(kind: bytes, body: bytes) -> bytes:
    chunk = kind + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", len(chunk) + 4) + b"WEBP" + chunk + bytes(16)


def little(number: int, size: int) -> bytes:
    return number.to_bytes(size, "little")


SAMPLES = {
    "png": ("iVBORw0KGgoAAAANSUhEUgAAABUAAAANCAIAAADJ8LI3AAAAEElEQVR4nGNgGAWjYBSQCwADQAABGoIcKAAAAABJRU5ErkJggg=="),
    "progressive": (
        "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAP//////////////////////////////////////////////////////////////"
        "////////////////////////wgALCAANABUBAREA/8QAFQABAQAAAAAAAAAAAAAAAAAAAAL/2gAIAQEAAAABkH//xAAUEAEA"
        "AAAAAAAAAAAAAAAAAAAg/9oACAEBAAEFAl//xAAUEAEAAAAAAAAAAAAAAAAAAAAg/9oACAEBAAY/Al//xAAUEAEAAAAAAAAA"
        "AAAAAAAAAAAg/9oACAEBAAE/IV//2gAIAQEAAAAQA//EABQQAQAAAAAAAAAAAAAAAAAAACD/2gAIAQEAAT8QX//Z"
    ),
    "lossy": ("UklGRjAAAABXRUJQVlA4ICQAAACwAgCdASoVAA0AP83W4mY/tK4nMAgD8DmJaQAAeyAA/undAAA="),
    "lossless": ("UklGRhoAAABXRUJQVlA4TA4AAAAvFAADAAcQEf0PRET/Aw=="),
    "alpha": (
        "UklGRlQAAABXRUJQVlA4WAoAAAAQAAAAFAAADAAAQUxQSAoAAAABB1CyiAhERP8DVlA4ICQAAACwAgCdASoVAA0AP83W4mY/"
        "tK4nMAgD8DmJaQAAeyAA/ujEAAA="
    ),
}
SIDE = st.integers(1, SIDE_MOST)


@given(SIDE, SIDE)
def test_sizes_are_read_from_the_header(width: int, height: int) -> None:
    assert look(png(width, height)) == Look("image/png", width, height)
    for marker in (0xC0, 0xC1, 0xC2, 0xCF):
        assert look(jpeg(width, height, marker)) == Look("image/jpeg", width, height)
    extended = bytes(4) + little(width - 1, 3) + little(height - 1, 3)
    lossless = b"\x2f" + little((width - 1) | (height - 1) << 14, 4)
    lossy = b"\x00\x00\x00\x9d\x01\x2a" + little(width, 2) + little(height, 2)
    for kind, body in ((b"VP8X", extended), (b"VP8L", lossless), (b"VP8 ", lossy)):
        assert look(webp(kind, body)) == Look("image/webp", width, height)


@given(
    st.binary(max_size=64), st.sampled_from([b"", png(3, 3), jpeg(3, 3), webp(b"VP8X", bytes(10))]), st.integers(0, 80)
)
@example(b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"", 0)
@example(b"GIF89a", b"", 0)
def test_whatever_comes_is_a_picture_or_refused(noise: bytes, start: bytes, cut: int) -> None:
    data = start[:cut] + noise
    try:
        found = look(data)
    except Invalid as error:
        assert error.errors[0].field == "body"
    else:
        assert data[:3] in (b"\x89PN", b"\xff\xd8\xff", b"RIF")
        assert 0 < found.width <= SIDE_MOST
        assert 0 < found.height <= SIDE_MOST


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "picture_invalid"),
        (png(0, 1), "picture_invalid"),
        (png(SIDE_MOST + 1, 1), "picture_invalid"),
        (png(1, 1) + bytes(BYTES_MOST), "body_too_large"),
        # A table of Huffman codes is no frame.
        (jpeg(3, 3, 0xC4), "picture_invalid"),
        (webp(b"VP9 ", bytes(20)), "picture_invalid"),
    ],
)
def test_what_is_none_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(Invalid) as caught:
        look(data)
    assert caught.value.reason == reason


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_pictures_of_another_program_are_read(name: str) -> None:
    """Made with Pillow, of 21 x 13 pixels."""
    kind = {"png": "png", "progressive": "jpeg"}.get(name, "webp")
    assert look(base64.b64decode(SAMPLES[name])) == Look(f"image/{kind}", 21, 13)
