from hypothesis import given
from hypothesis import strategies as st

from relevo.domain.leaks import SILENCE_MS, Leaks

START = 1_767_225_600_000


def told(leaks: Leaks, *readings: tuple[float, float]) -> list[float | None]:
    return [leaks.take("m", START + round(at * 1000), flow) for at, flow in readings]


def test_one_alert_an_episode() -> None:
    leaks = Leaks(2.5, 10_000)
    assert told(leaks, (0, 2.5), (9.9, 3), (10, 3), (20, 3)) == [None, None, 10.0, None]
    assert told(leaks, (21, 2.4), (22, 2.5), (31.9, 9), (32.5, 9)) == [None, None, None, 10.5]


def test_no_shortest_time_tells_at_once() -> None:
    assert told(Leaks(0.2, 0), (0, 0.1), (1, 0.2), (2, 0.2), (3, 0), (4, 5)) == [None, 0.0, None, None, 0.0]


def test_a_meter_that_says_so_is_believed_once() -> None:
    leaks = Leaks(2.5, 10_000)
    assert leaks.take("m", START, 0.1, True) == 0.0
    assert leaks.take("m", START + 1, 0.1, True) is None
    assert leaks.take("m", START + 2, 0.1) is None
    assert leaks.take("m", START + 3, 0.1, True) == 0.0


def test_each_meter_by_itself_and_nothing_of_an_older_reading() -> None:
    leaks = Leaks(2.5, 10_000)
    assert leaks.take("a", START, 5) is None
    assert leaks.take("b", START + 10_000, 5) is None
    # A back-log below the threshold ends nothing.
    assert leaks.take("a", START - 5, 0) is None
    assert leaks.take("a", START + 10_000, 5) == 10.0


def test_after_a_silence_it_begins_anew_unless_it_was_told() -> None:
    leaks = Leaks(2.5, 10_000)
    late = SILENCE_MS / 1000 + 1
    assert told(leaks, (0, 3), (late, 3), (late + 9, 3), (late + 10, 3)) == [None, None, None, 10.0]
    assert told(leaks, (2 * late + 10, 3)) == [None]


@given(st.lists(st.tuples(st.integers(0, 5_000), st.floats(0, 10)), max_size=60))
def test_alerts_are_never_more_than_times_the_flow_rose(steps: list[tuple[int, float]]) -> None:
    leaks, at, rises, over, alerts = Leaks(2.5, 3_000), START, 0, False, 0
    for gap, flow in steps:
        at += gap
        rises += flow >= 2.5 and not over
        over = flow >= 2.5
        duration = leaks.take("m", at, flow)
        if duration is not None:
            alerts += 1
            assert over
            assert duration >= 3
    assert alerts <= rises
