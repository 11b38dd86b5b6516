"""What is signed, byte by byte, against the standard library and ``cryptography``."""

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest

from relevo.domain.manifests import PieceWanted, check_asked, derived, manifest, piece, signed
from relevo.domain.releases import Board, Release
from relevo.errors import Invalid

RELEASE = Release("relay-1.4.0", "1.4.0", "relay", 1, 6, "", 48_640, "ab" * 32, [], "admin", 0)


def test_a_manifest_is_compact_and_in_its_order() -> None:
    data = manifest(RELEASE, "550e8400", 1_767_225_600)
    assert data == (
        b'{"release":"relay-1.4.0","device":"550e8400","version":"1.4.0","board":"relay","boot":1,"mpy":6,'
        b'"size":48640,"sha256":"' + b"ab" * 32 + b'","issued":1767225600}'
    )


def test_the_line_of_signatures_is_what_a_board_works_out() -> None:
    data = manifest(RELEASE, "d", 1)
    key = hmac.new(b"the key", b"relevo-update-1", hashlib.sha256).digest()
    assert derived(b"the key") == key
    line, _, body = signed(data, key, b"s" * 64).partition(b"\n")
    assert body == data
    mac = hmac.new(key, data, hashlib.sha256).hexdigest()
    assert line.decode() == f"relevo-update-1 hmac-sha256={mac} ed25519={base64.b64encode(b's' * 64).decode()}"


def test_who_came_by_certificate_gets_one_signature() -> None:
    assert signed(b"{}", b"", b"s" * 64).split(b" ")[1].startswith(b"ed25519=")


def test_a_piece_says_where_it_belongs() -> None:
    assert piece(65_536, b"ab") == b"\0\1\0\0ab"
    assert piece(4, b"") == b"\0\0\0\4"


def test_what_a_board_asks_is_read() -> None:
    assert check_asked({"want": "manifest", "version": "1.3.0", "board": "relay"}) == Board("1.3.0", "relay")
    asked = {"want": "image", "release": "relay-1.4.0", "offset": 4_096, "length": 1_024}
    assert check_asked(asked) == PieceWanted("relay-1.4.0", 4_096, 1_024)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("want", "key"), ("want", None), ("release", ""), ("release", 1), ("release", "x" * 66), ("offset", -1),
        ("offset", 1_048_576), ("offset", True), ("offset", 1.0), ("length", 63), ("length", 16_385), ("length", None),
    ],
)  # fmt: skip
def test_each_wrong_field_is_named(field: str, value: Any) -> None:
    asked = {"want": "image", "release": "relay-1.4.0", "offset": 0, "length": 1_024} | {field: value}
    with pytest.raises(Invalid) as caught:
        check_asked(json.loads(json.dumps(asked)))
    assert [one.field for one in caught.value.errors] == [field]
