"""CSV of anybody and of ThingsBoard."""

import pytest

from relevo.errors import Invalid
from tests.exchange.sources import read

T = 1_767_225_600_000


def test_columns_are_keys_by_their_names() -> None:
    text = b'\xef\xbb\xbfTime,temp,door,note\r\n2026-01-01 00:00:00,21.5,true,"a, b"\r\n'
    text += b"2026-01-01T00:00:01Z,,FALSE,\r\n"
    rows, faults, source = read(text, "columns", device="shed")
    assert rows == [("shed", T, {"temp": 21.5, "door": True, "note": "a, b"}), ("shed", T + 1_000, {"door": False})]
    assert (faults, source.lines) == ([], 2)


def test_a_german_spreadsheet_is_read_with_its_own_marks() -> None:
    text = "Datum;Temp;Gerät\n01.01.2026 01:00;1.021,5;eins\n32.01.2026 01:00;1;eins\n".encode()
    rows, faults, _ = read(
        text,
        "columns",
        time_column="Datum",
        time_format="%d.%m.%Y %H:%M",
        zone="Europe/Berlin",
        decimal=",",
        device_column="Gerät",
        columns={"Temp": "temperature"},
    )
    assert rows == [("eins", T, {"temperature": 1021.5})]
    assert [(one.line, one.field, one.reason) for one in faults] == [(3, "time", "time_unreadable")]


def test_columns_may_be_of_several_devices() -> None:
    text = b"ts\tkitchen_t\tkitchen_h\tother\n1767225600\t20\t50\t1\n"
    rows, _, _ = read(text, "columns", columns={"kitchen_*": "kitchen/*"})
    assert rows == [("kitchen", T, {"t": 20, "h": 50})]


@pytest.mark.parametrize(
    ("text", "options", "says"),
    [
        (b"time,a\n1,2\n", {}, "whose readings"),
        (b"when,a\n1,2\n", {"device": "d"}, "which column has the time"),
        (b"time,a\n1,2\n", {"device": "d", "device_column": "x"}, "no column 'x'"),
        (b"time,a\n1,2\n", {"device": "d", "columns": {"b": "c"}}, "none of the columns"),
        (b"", {"device": "d"}, "empty"),
        (b"PK\x03\x04....", {"device": "d"}, "no CSV"),
    ],
)
def test_what_cannot_be_understood_is_said(text: bytes, options: dict[str, str], says: str) -> None:
    with pytest.raises(Invalid, match=says):
        read(text, "columns", cut=100, **options)


def test_the_export_of_a_time_series_table() -> None:
    text = b'Timestamp;temperature;state\n2025-12-31 21:00:00;21.5;on\n2025-12-31 21:00:01;;"x;y"\n'
    rows, _, _ = read(text, "thingsboard", device="d", zone="America/Sao_Paulo")
    assert rows == [("d", T, {"temperature": 21.5, "state": "on"}), ("d", T + 1_000, {"state": "x;y"})]


def test_the_file_of_a_bulk_import() -> None:
    assert read(b"key,ts,value\na,1767225600000,1.5\n", "thingsboard", device="d")[0] == [("d", T, {"a": 1.5})]


def test_a_dump_of_ts_kv() -> None:
    text = (
        b"entity_id,key,ts,bool_v,str_v,long_v,dbl_v,json_v\n"
        b"784f394c-42b6-435a-983c-b7beff2784f9,12,1767225600000,,,,21,\n"
        b"784f394c-42b6-435a-983c-b7beff2784f9,13,1767225600000,t,,,,\n"
        b'784f394c-42b6-435a-983c-b7beff2784f9,14,1767225600000,,"",,,\n'
        b"784f394c-42b6-435a-983c-b7beff2784f9,14,1767225600001,,7,,,\n"
        b"784f394c-42b6-435a-983c-b7beff2784f9,15,1767225600000,,,9223372036854775807,,\n"
        b'784f394c-42b6-435a-983c-b7beff2784f9,16,1767225600000,,,,,"{""a"":[1]}"\n'
        b"784f394c-42b6-435a-983c-b7beff2784f9,17,1767225600000,,,x,,\n"
    )
    names = {"784f394c-42b6-435a-983c-b7beff2784f9": "boiler", "12": "temp", "13": "on"}
    rows, faults, _ = read(text, "thingsboard", columns=names)
    assert rows == [
        ("boiler", T, {"temp": 21.0}),
        ("boiler", T, {"on": True}),
        ("boiler", T, {"14": ""}),
        ("boiler", T + 1, {"14": "7"}),
        ("boiler", T, {"15": 2**63 - 1}),
        ("boiler", T, {"16": {"a": [1]}}),
    ]
    assert [(one.line, one.field, one.reason) for one in faults] == [(8, "17", "value_type")]
