"""The ledger's own rules: lanes, room, keys and what time decides."""

from relevo.domain.commands import KEYS_KEPT_MS, ON_THE_WAY_MOST, WATCHED_MS, Command, Ledger, advance, opened
from relevo.domain.events import (
    CommandArrived,
    CommandEnded,
    CommandQueued,
    CommandReturned,
    CommandSent,
    DeviceRemoved,
)


def queued(
    name: str, lane: str = "", at: int = 0, expires: int = 1_000, answer_ms: int = 100, key: str = ""
) -> CommandQueued:
    return CommandQueued("d", name, at, name, {}, "ann", "user", expires, key, lane, answer_ms)


def sent(name: str, at: int = 1, deadline: int = 101) -> CommandSent:
    return CommandSent("d", name, at, "mqtt", deadline)


def ledger(*events: CommandQueued | CommandSent | CommandEnded) -> Ledger:
    made = Ledger()
    for event in events:
        made.apply(event)
    return made


def names(commands: list[Command]) -> list[str]:
    return [command.id for command in commands]


def test_one_of_a_lane_is_on_its_way_and_other_lanes_pass() -> None:
    one = ledger(queued("a", "1"), queued("b", "1"), queued("c", "2"), queued("d", "1"))
    assert names(one.ready("d", 0)) == ["a", "c"]
    one.apply(sent("a"))
    assert names(one.ready("d", 0)) == ["c"]
    one.apply(CommandEnded("d", "a", 2, "confirmed"))
    assert names(one.ready("d", 0)) == ["b", "c"]


def test_a_board_is_not_flooded() -> None:
    one = ledger(*(queued(str(n)) for n in range(20)))
    assert len(one.ready("d", 0)) == ON_THE_WAY_MOST
    for n in range(ON_THE_WAY_MOST):
        one.apply(sent(str(n)))
    assert one.ready("d", 0) == []
    one.apply(CommandEnded("d", "3", 2, "timed_out"))
    assert names(one.ready("d", 0)) == [str(ON_THE_WAY_MOST)]


def test_what_expects_no_answer_takes_no_room_and_is_watched_for_ten_minutes() -> None:
    one = ledger(*(queued(str(n), answer_ms=0) for n in range(20)))
    for n in range(10):
        one.apply(sent(str(n), at=5, deadline=0))
    assert len(one.ready("d", 0)) == ON_THE_WAY_MOST
    assert [command.id for command in one.sent_to("d")] == [str(n) for n in range(10)]
    assert one.due(5 + WATCHED_MS)[0].id == "10"
    assert list(one.sent_to("d")) == []


def test_time_ends_what_waits_and_what_was_not_answered_once() -> None:
    one = ledger(queued("late", expires=50), queued("mute"), sent("mute", deadline=80))
    assert one.next_at() == 50
    assert one.due(49) == []
    assert [(end.id, end.state) for end in one.due(90)] == [("late", "expired"), ("mute", "timed_out")]
    # Not committed yet: it is still to be done.
    ends = one.due(90)
    assert len(ends) == 2
    for end in ends:
        one.apply(end)
    assert (one.due(10_000), one.next_at(), len(one)) == ([], None, 0)


def test_returned_commands_are_due_once() -> None:
    one = ledger(queued("a"), sent("a"))
    one.apply(CommandReturned("d", "a", 3, "gone"))
    assert [end.state for end in one.due(1_000)] == ["expired"]


def test_steps_that_cannot_be_change_nothing() -> None:
    command = opened(queued("a"))
    assert not advance(command, CommandEnded("d", "a", 1, "confirmed"))
    assert not advance(command, CommandReturned("d", "a", 1, ""))
    assert not advance(command, CommandArrived("d", "a", 1))
    assert advance(command, sent("a"))
    assert not advance(command, sent("a"))
    assert not advance(command, CommandEnded("d", "a", 2, "expired"))
    assert not advance(command, CommandEnded("d", "a", 2, "cancelled"))
    assert advance(command, CommandEnded("d", "a", 2, "failed", "no"))
    assert not advance(command, CommandEnded("d", "a", 3, "confirmed"))
    assert [one.state for one in command.transitions] == ["queued", "sent", "failed"]


def test_a_key_is_remembered_for_a_day_and_only_for_its_asker() -> None:
    one = ledger(queued("a", key="k", at=7))
    one.apply(CommandEnded("d", "a", 8, "cancelled"))
    assert one.by_key("ann", "d", "k", 7 + KEYS_KEPT_MS - 1) == "a"
    assert one.by_key("ann", "d", "k", 7 + KEYS_KEPT_MS) == ""
    assert one.by_key("bob", "d", "k", 8) == ""
    one.forget_keys(7 + KEYS_KEPT_MS)
    assert one.by_key("ann", "d", "k", 8) == ""


def test_a_removed_device_takes_its_commands_along() -> None:
    one = ledger(queued("a"), queued("b"), sent("a"))
    one.apply(DeviceRemoved("d", 5))
    assert (len(one), one.devices(), one.next_at()) == (0, [], None)
