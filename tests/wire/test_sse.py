import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from relevo.wire import sse


def parse(stream: str) -> tuple[list[dict[str, Any]], int | None]:
    """The reader of the WHATWG standard, section 9.2.6: events, and the retry time."""
    events: list[dict[str, Any]] = []
    data: list[str] = []
    kind, last_id, retry = "", "", None
    for line in stream.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        if line == "":
            if data:
                events.append({"event": kind or "message", "data": "\n".join(data), "id": last_id})
            data, kind = [], ""
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            data.append(value)
        elif field == "event":
            kind = value
        elif field == "id":
            last_id = value
        elif field == "retry":
            retry = int(value)
    return events, retry


@given(st.recursive(st.none() | st.text() | st.integers(), lambda inner: st.lists(inner, max_size=3), max_leaves=5))
def test_a_frame_arrives_as_one_event_whatever_is_in_its_texts(value: Any) -> None:
    data = json.dumps(value).encode()
    events, _ = parse(sse.frame(data, "telemetry", 42).decode())
    assert events == [{"event": "telemetry", "data": data.decode(), "id": "42"}]


def test_a_frame_without_a_number_leaves_the_readers_last_id() -> None:
    stream = sse.frame(b"1", "a", 7) + sse.comment("awake") + sse.frame(b"2")
    events, _ = parse(stream.decode())
    assert [(one["event"], one["data"], one["id"]) for one in events] == [("a", "1", "7"), ("message", "2", "7")]


def test_comments_and_the_retry_time_are_no_events() -> None:
    events, retry = parse((sse.retry(2_000) + sse.comment() + sse.comment("awake")).decode())
    assert (events, retry) == ([], 2_000)
