"""The recorder database of Home Assistant, in the layouts it has had."""

import sqlite3
from pathlib import Path

import pytest

from relevo.errors import Invalid
from tests.exchange.sources import read

T = 1_767_225_600

# As the recorder makes them, without columns that nobody reads here: schema 43 (2024), and schema 22 (2021.10).
NEW = """
CREATE TABLE states (state_id INTEGER PRIMARY KEY, entity_id CHAR(0), state VARCHAR(255), attributes CHAR(0),
  event_id SMALLINT, last_changed CHAR(0), last_changed_ts FLOAT, last_reported_ts FLOAT, last_updated CHAR(0),
  last_updated_ts FLOAT, old_state_id INTEGER, attributes_id INTEGER, origin_idx SMALLINT, metadata_id INTEGER);
CREATE TABLE states_meta (metadata_id INTEGER PRIMARY KEY, entity_id VARCHAR(255));
CREATE TABLE state_attributes (attributes_id INTEGER PRIMARY KEY, hash BIGINT, shared_attrs TEXT);
CREATE TABLE statistics_meta (id INTEGER PRIMARY KEY, statistic_id VARCHAR(255), source VARCHAR(32),
  unit_of_measurement VARCHAR(255), has_mean BOOLEAN, has_sum BOOLEAN, name VARCHAR(255));
CREATE TABLE statistics (id INTEGER PRIMARY KEY, created CHAR(0), created_ts FLOAT, metadata_id INTEGER, start CHAR(0),
  start_ts FLOAT, mean FLOAT, min FLOAT, max FLOAT, last_reset CHAR(0), last_reset_ts FLOAT, state FLOAT, sum FLOAT);
CREATE TABLE statistics_short_term AS SELECT * FROM statistics;
"""
OLD = """
CREATE TABLE states (state_id INTEGER PRIMARY KEY, domain VARCHAR(64), entity_id VARCHAR(255), state VARCHAR(255),
  attributes TEXT, event_id INTEGER, last_changed DATETIME, last_updated DATETIME, created DATETIME,
  old_state_id INTEGER);
CREATE TABLE statistics_meta (id INTEGER PRIMARY KEY, statistic_id VARCHAR(255), source VARCHAR(32),
  unit_of_measurement VARCHAR(255), has_mean BOOLEAN, has_sum BOOLEAN);
CREATE TABLE statistics (id INTEGER PRIMARY KEY, created DATETIME, start DATETIME, mean FLOAT, min FLOAT, max FLOAT,
  last_reset DATETIME, state FLOAT, sum FLOAT, metadata_id INTEGER);
"""


def database(tmp_path: Path, script: str) -> bytes:
    connection = sqlite3.connect(tmp_path / "made.db")
    connection.executescript(script)
    connection.close()
    return (tmp_path / "made.db").read_bytes()


def test_the_present_layout(tmp_path: Path) -> None:
    data = database(
        tmp_path,
        NEW
        + f"""
INSERT INTO states_meta VALUES (1, 'sensor.kitchen_temperature'), (2, 'switch.pump'), (3, 'sensor.energy');
INSERT INTO state_attributes VALUES (1, 0, '{{"unit_of_measurement": "°C"}}');
INSERT INTO states (state_id, metadata_id, state, last_updated_ts, attributes_id) VALUES
  (1, 1, 'unavailable', {T}, 1), (2, 1, '21.5', {T}.25, 1), (3, 2, 'on', {T + 1}, NULL), (4, 2, 'off', {T + 2}, NULL),
  (5, 1, 'unknown', {T + 3}, 1), (6, 1, '22', {T + 4}, 1), (7, 3, '100', {T + 5}, NULL);
INSERT INTO statistics_meta VALUES (1, 'sensor.kitchen_temperature', 'recorder', '°C', 1, 0, NULL),
  (2, 'sensor.energy', 'recorder', 'kWh', 0, 1, NULL);
INSERT INTO statistics (id, metadata_id, start_ts, mean, state) VALUES
  (1, 1, {T - 7200}, 20.25, NULL), (2, 1, {T}, 99, NULL), (3, 2, {T - 7200}, NULL, 90.5), (4, 2, {T - 3600}, NULL, 95);
INSERT INTO statistics_short_term (id, metadata_id, start_ts, mean, state) VALUES (1, 2, {T - 3600}, NULL, 94.5);
""",
    )
    rows, faults, source = read(data, "home-assistant", cut=4_096, path=str(tmp_path / "spool.db"))
    temperature, energy = "sensor.kitchen_temperature", "sensor.energy"
    assert rows == [
        ("home-assistant", (T - 3600) * 1000, {energy: 94.5}),
        ("home-assistant", (T - 7200) * 1000, {temperature: 20.25}),
        ("home-assistant", (T - 7200) * 1000, {energy: 90.5}),
        ("home-assistant", T * 1000 + 250, {temperature: 21.5}),
        ("home-assistant", (T + 1) * 1000, {"switch.pump": True}),
        ("home-assistant", (T + 2) * 1000, {"switch.pump": False}),
        ("home-assistant", (T + 4) * 1000, {temperature: 22}),
        ("home-assistant", (T + 5) * 1000, {energy: 100}),
    ]
    assert faults == []
    assert source.units == {"home-assistant": {temperature: "°C"}}  # type: ignore[attr-defined]
    assert not (tmp_path / "spool.db").exists()


def test_an_early_layout_with_names_of_our_own(tmp_path: Path) -> None:
    data = database(
        tmp_path,
        OLD
        + """
INSERT INTO states (state_id, entity_id, state, attributes, last_updated) VALUES
  (1, 'sensor.kitchen_temperature', '21.5', '{"unit_of_measurement": "°C"}', '2026-01-01 00:00:00.250000'),
  (2, 'sensor.kitchen_humidity', '50', '{}', '2026-01-01 00:00:01.000000'),
  (3, 'light.hall', 'on', 'not json', '2026-01-01 00:00:02.000000'),
  (4, 'sensor.kitchen_humidity', '51', '{}', 'yesterday');
INSERT INTO statistics_meta VALUES (1, 'sensor.kitchen_temperature', 'recorder', '°C', 1, 0);
INSERT INTO statistics (id, start, mean, metadata_id) VALUES (1, '2025-12-31 23:00:00.000000', 19.5, 1);
""",
    )
    names = {"sensor.kitchen_*": "kitchen/*"}
    rows, faults, source = read(data, "home-assistant", cut=4_096, path=str(tmp_path / "s"), columns=names)
    assert rows == [
        ("kitchen", (T - 3600) * 1000, {"temperature": 19.5}),
        ("kitchen", T * 1000 + 250, {"temperature": 21.5}),
        ("kitchen", T * 1000 + 1000, {"humidity": 50}),
    ]
    assert [(one.line, one.reason) for one in faults] == [(4, "time_unreadable")]
    assert source.units == {"kitchen": {"temperature": "°C"}}  # type: ignore[attr-defined]


def test_a_database_in_conversion_has_rows_of_both_kinds(tmp_path: Path) -> None:
    data = database(
        tmp_path,
        NEW
        + f"""
INSERT INTO states_meta VALUES (1, 'sensor.a');
INSERT INTO states (state_id, entity_id, metadata_id, state, last_updated, last_updated_ts) VALUES
  (1, 'sensor.a', NULL, '1', '2026-01-01 00:00:00.000000', NULL), (2, NULL, 1, '2', NULL, {T + 1});
""",
    )
    rows, _, _ = read(data, "home-assistant", cut=4_096, path=str(tmp_path / "s"), device="old", statistics=False)
    assert rows == [("old", T * 1000, {"sensor.a": 1}), ("old", (T + 1) * 1000, {"sensor.a": 2})]


@pytest.mark.parametrize("data", [b"time,device\n", b"SQLite format 3\0 and nonsense behind it"])
def test_what_is_no_such_database_is_said(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(Invalid, match="database"):
        read(data, "home-assistant", path=str(tmp_path / "s"))
