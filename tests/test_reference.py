"""The reference page names everything there is: a thing that is not in it is a thing nobody can find."""

import re
from pathlib import Path

import pytest
import typer.main

from relevo import cli
from relevo.domain import events, reasons
from relevo.http import metrics
from relevo.realtime.view import KINDS

REPOSITORY = Path(__file__).parent.parent
PAGE = (REPOSITORY / "docs" / "reference.md").read_text()


def test_every_command_is_documented() -> None:
    commands = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]
    assert len(commands) >= 6
    assert [name for name in commands if f"`relevo {name}`" not in PAGE] == []


def test_every_kind_of_the_stream_is_documented() -> None:
    assert [kind for kind in KINDS if f"| `{kind}` |" not in PAGE] == []


def test_every_event_is_documented() -> None:
    names = [one.__name__ for one in events.Event.__subclasses__()]
    assert len(names) > 10
    assert [name for name in names if name not in PAGE] == []


def test_every_metric_is_documented() -> None:
    source = Path(metrics.__file__).read_text()
    names = set(re.findall(r'"(relevo_[a-z_]+)"', source))
    names |= {f"relevo_mqtt_{name}" for name in (*metrics._MQTT_GAUGES, *metrics._MQTT_COUNTERS)}
    told = (*metrics._NOTIFICATION_GAUGES, *metrics._NOTIFICATION_COUNTERS)
    names |= {f"relevo_notifications_{name}" for name in told}
    assert len(names) > 12
    assert [name for name in names if name not in PAGE] == []


@pytest.mark.parametrize(
    ("place", "pattern"),
    [
        ("relevo", r'Invalid\(\s*"([a-z0-9_]+)"'),
        ("relevo/mqtt", r'(?:refuse|Refusal)\([^)]{0,80}?"([a-z]+_[a-z_]+)"'),
        ("relevo/domain", r'"(clock_[a-z0-9_]+)"'),
    ],
)
def test_every_reason_is_documented(place: str, pattern: str) -> None:
    found = {
        reason
        for file in (REPOSITORY / place).rglob("*.py")
        if not {"http", "realtime", "simulator"} & set(file.relative_to(REPOSITORY).parts)
        for reason in re.findall(pattern, file.read_text())
    }
    # Not told to anybody: the store's own, and what the API answers with the field's name.
    found -= {"seen_damaged", "rules_damaged"}
    assert len(found) > 3
    explained = (REPOSITORY / "docs" / "troubleshooting.md").read_text()
    assert sorted(reason for reason in found if f"`{reason}`" not in explained) == []


def test_the_page_of_reasons_is_what_the_code_says() -> None:
    written = (REPOSITORY / "docs" / "troubleshooting.md").read_text()
    assert written == reasons.page(), "python -m relevo.domain.reasons > docs/troubleshooting.md"
