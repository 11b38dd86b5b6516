from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.domain.stamps import parse_stamp
from relevo.errors import Invalid
from relevo.exchange.writers import Stamps

T = 1_767_225_600_123


@pytest.mark.parametrize(
    ("text", "form", "zone", "ts"),
    [
        ("1767225600123", "", "UTC", T),
        ("1767225600.123", "", "UTC", T),
        ("1767225600", "", "UTC", T - 123),
        ("2026-01-01T00:00:00.123Z", "", "UTC", T),
        ("2026-01-01 01:00:00.123", "", "Europe/Berlin", T),
        ("2026-01-01T01:00:00.123+01:00", "", "America/Lima", T),
        ("01.01.2026 01:00", "%d.%m.%Y %H:%M", "Europe/Berlin", T - 123),
        ("1767225600", "s", "UTC", T - 123),
        ("1767225600123000", "us", "UTC", T),
        # Comes twice; the first is summer time.
        ("2026-10-25 02:30:00", "", "Europe/Berlin", 1_792_888_200_000),
    ],
)
def test_times_are_read(text: str, form: str, zone: str, ts: int) -> None:
    assert parse_stamp(text, form, ZoneInfo(zone)) == ts


@pytest.mark.parametrize(
    ("text", "form"), [("", ""), ("soon", ""), ("12", "iso"), ("1e5", ""), ("x", "s"), ("1", "%Y-%m")]
)
def test_what_is_no_time_is_said(text: str, form: str) -> None:
    with pytest.raises(Invalid, match="is no time as"):
        parse_stamp(text, form)


@given(ts=st.integers(0, 4_102_444_800_000), zone=st.sampled_from(["", "Europe/Berlin", "Asia/Kathmandu"]))
def test_what_is_written_is_read(ts: int, zone: str) -> None:
    assert parse_stamp(Stamps("iso", zone).text(ts)) == ts
    assert parse_stamp(Stamps("ms", zone).text(ts), "ms") == ts
