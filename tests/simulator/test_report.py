import json

import pytest

from relevo.errors import ConfigurationError
from relevo.simulator.options import Options
from relevo.simulator.report import Report, percentile_ms


def report(**changes: object) -> Report:
    values: dict[str, object] = {
        "devices": 1, "contract": "native", "sent": 3, "acknowledged": 3, "repeated": 0, "seconds": 1.0, "rate": 3.0,
        "p50_ms": 1.0, "p95_ms": 1.0, "p99_ms": 1.0, "verified": True, "readings_compared": 3, "missing": 0,
        "duplicated": 0, "unstored": 0, "foreign": 0, "polls": 0, "poll_p99_ms": None, "told": 0, "obeyed": 0,
        "strays": 0,
    }  # fmt: skip
    return Report(**(values | changes))  # type: ignore[arg-type]


def test_a_missing_reading_or_a_refused_device_makes_the_exit_code_1() -> None:
    assert report().exit_code == 0
    assert report(missing=1).exit_code == 1
    assert report(problems=["refused"]).exit_code == 1
    assert report(strays=1).exit_code == 1
    assert report(foreign=1).exit_code == 1


def test_the_report_is_json_with_every_figure() -> None:
    found = json.loads(report().to_json())
    assert {"sent", "acknowledged", "missing", "duplicated", "rate", "p50_ms", "p95_ms", "p99_ms"} <= set(found)


def test_percentiles_are_values_that_were_seen() -> None:
    seconds = [number / 1000 for number in range(1, 101)]
    assert [percentile_ms(seconds, percent) for percent in (50, 95, 99, 100)] == [50.0, 95.0, 99.0, 100.0]
    assert percentile_ms([0.5], 99) == 500.0
    assert percentile_ms([], 50) is None


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"devices": 0}, "devices"),
        ({"rate": 0.0}, "rate"),
        ({"qos": 2}, "qos"),
        ({"window": 0}, "window"),
        ({"duration": 0.0}, "duration"),
        ({"count": 3}, "count"),
        ({"password": ""}, "password"),
        ({"contract": "carrier-pigeon"}, "carrier-pigeon"),
        ({"contract": "hidrometro", "rate": 11.0}, "at most 1 messages a second"),
    ],
)
def test_options_that_make_no_sense_are_refused_by_name(changes: dict[str, object], word: str) -> None:
    options = Options(**({"password": "p"} | changes))  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=word):
        options.check()


def test_a_server_that_says_what_is_not_so_makes_the_exit_code_1() -> None:
    assert report(uncounted=1).exit_code == 1
    assert report(let_in=1).exit_code == 1
    assert report(untrue=1).exit_code == 1
    assert report(duplicated=1).exit_code == 1
    assert report(unstored=1, faults={"flap": 3}, refused={"mqtt.json_malformed": 2}).exit_code == 0
