"""Real readings for benchmarks.

- Office climate: Occupancy Detection by L. Candanedo, UCI Machine Learning Repository, CC BY 4.0; Candanedo and Feldheim,
  Energy and Buildings 112 (2016) 28-39. One-minute readings of a room with real gaps and jitter, from ``OFFICE``.
- Hourly temperatures of Seattle in 2010 out of the PyPI package ``vega_datasets`` (NOAA normals), which ``pip`` fetches.
"""

import csv
import io
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

OFFICE = Path(__file__).resolve().parents[2] / "shared" / "data" / "office-climate.csv"
_WHEEL, _INSIDE = "vega_datasets==0.9.0", "vega_datasets/_data/seattle-temps.csv"
Reading = tuple[int, dict[str, Any]]


def _ms(text: str, form: str) -> int:
    return round(datetime.strptime(text, form).replace(tzinfo=UTC).timestamp() * 1_000)


def _number(text: str) -> int | float:
    return float(text) if "." in text else int(text)


def office() -> list[Reading]:
    """Each reading's time (milliseconds UTC) and values; none where the file is missing."""
    if not OFFICE.exists():
        return []
    with OFFICE.open() as file:
        return [
            (
                _ms(row.pop("time"), "%Y-%m-%dT%H:%M:%S"),
                {key: text == "1" if key == "occupied" else _number(text) for key, text in row.items()},
            )
            for row in csv.DictReader(file)
        ]


def seattle() -> list[Reading]:
    """The same, hourly; none where the package cannot be fetched."""
    with tempfile.TemporaryDirectory() as place:
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", place, _WHEEL]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            return []
        with zipfile.ZipFile(next(Path(place).glob("*.whl"))) as wheel:
            rows = csv.DictReader(io.StringIO(wheel.read(_INSIDE).decode()))
            return [(_ms(row["date"], "%Y/%m/%d %H:%M"), {"temp_f": float(row["temp"])}) for row in rows]


def replayed(readings: list[Reading], devices: int) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """As if ``devices`` had sent them, each begun at another second: device, time, values, in the order of time."""
    for ts, values in readings:
        for device in range(devices):
            yield device, ts + device * 1_000, values
