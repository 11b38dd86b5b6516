"""The examples of ``docs/schedules.md`` are taken as they stand there."""

import json
import re
from pathlib import Path

from relevo.domain.schedule_limits import check_schedule
from relevo.domain.schedules import next_occurrence
from tests.domain.planned import OFF, cron, ms, schedule, shown

PAGE = (Path(__file__).parents[2] / "docs" / "schedules.md").read_text()
EXAMPLES = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)]


def test_every_example_is_taken_and_every_kind_has_one() -> None:
    whole, *timings = EXAMPLES
    fields = {key: value for key, value in whole.items() if key not in ("name", "timing")}
    check_schedule(schedule(whole["timing"], **fields))
    for timing in timings:
        end_action = OFF if timing["kind"] == "weekly" else {}
        check_schedule(schedule(timing, lat=40.4, lon=-3.7, end_action=end_action, created_at=ms("2026-05-01")))
    assert [timing["kind"] for timing in timings] == ["once", "countdown", "weekly", "cron", "sun", "every"]


def test_the_nights_it_tells_of_are_so() -> None:
    chile = next_occurrence(cron("30 0 * * *", zone="America/Santiago"), ms("2026-09-05T12:00"))
    nuuk = next_occurrence(cron("30 23 * * *", zone="America/Nuuk"), ms("2026-03-28T12:00"))
    north = next_occurrence(
        schedule({"kind": "sun", "event": "sunrise"}, zone="Europe/Oslo", lat=69.65, lon=18.96), ms("2026-12-01")
    )
    assert chile is not None and nuuk is not None and north is not None
    assert shown(chile.planned, "America/Santiago") == "2026-09-06 01:00-03:00"
    assert shown(nuuk.planned, "America/Nuuk") == "2026-03-29 00:00-01:00"
    assert north.note in " ".join(PAGE.split())
