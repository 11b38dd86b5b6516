"""What is scrubbed goes, wherever it is and whenever; everything of others stays as and where it is."""

import sqlite3
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from relevo.domain.erasing import DEVICE, ERASED, PERSON, Erased, Eraser
from relevo.domain.events import (
    AlertChanged,
    AnyEvent,
    Audited,
    CommandQueued,
    DeviceRemoved,
    HistoryCorrected,
    NotificationRaised,
    TelemetryReceived,
)
from relevo.domain.records import NameErased
from relevo.store import erasing, journal
from relevo.store.checking import check
from relevo.store.db import FILE_NAME, open_reader, open_writer
from relevo.store.history import chunks, compaction, trimming
from relevo.store.history.chunks import Stale
from relevo.store.schema import prepare
from relevo.store.writer import Batch, Writer
from tests.store.samples import NOW, commit, reading, refused, registered, removed, stranger

DEVICES = ("d1", "d2", "d3")
PEOPLE = ("ana", "ben", "cleo")


def scrub_all(writer: Writer, reader: sqlite3.Connection, rows: int = 20) -> int:
    steps = 0
    while (step := erasing.next_scrub(reader, rows)) is not None:
        writer.maintain(lambda connection, step=step: erasing.commit(connection, step))  # type: ignore[misc]
        steps += 1
    return steps


def asked(device: str, by: str, at: int = NOW) -> CommandQueued:
    return CommandQueued(device, f"c{at}", at, "on", {"who": by}, by, "user", at + 1_000)


def audited(by: str, target: str, **detail: Any) -> Audited:
    return Audited(NOW, by, "device.change", target, detail)


def raised(device: str, text: str, to: str) -> NotificationRaised:
    return NotificationRaised("n1", device, NOW, "info", "test", "title", text, [to])


class Machine(RuleBasedStateMachine):
    """``model`` is the journal that ought to be: events by number, nothing for those that are erased."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = TemporaryDirectory()
        self.path = Path(self.directory.name) / FILE_NAME
        prepare(self.path)
        self.writer = Writer(self.path, 100, 100)
        self.writer.open()
        self.reader = open_reader(self.path)
        self.model: dict[int, AnyEvent] = {}
        self.there: set[str] = set()
        self.pending: list[Erased] = []
        self.count = 0

    def commit(self, *events: Any) -> None:
        batch = Batch(list(events))
        self.writer.write(batch, NOW)
        for n, event in enumerate(batch.kept, batch.first_seq):
            self.model[n] = msgspec.structs.replace(event)
            if type(event) is DeviceRemoved and event.device in self.there:
                self.there.discard(event.device)
                self.pending.append(Erased(DEVICE, event.device, n, "native", (event.device,)))

    @rule(devices=st.lists(st.sampled_from(DEVICES), min_size=1, max_size=6), who=st.sampled_from(PEOPLE))
    def live(self, devices: list[str], who: str) -> None:
        events: list[AnyEvent] = []
        for device in devices:
            self.count += 1
            at = NOW + self.count
            if device not in self.there:
                self.there.add(device)
                events.append(registered(device))
            events += [reading(device, {"v": self.count}, ts=at), asked(device, who, at), refused(device)]
            events.append(audited(who, device, said=f"{who} did"))
        self.commit(*events)

    @rule(device=st.sampled_from(DEVICES), who=st.sampled_from(PEOPLE))
    def correct(self, device: str, who: str) -> None:
        if device in self.there:
            self.commit(HistoryCorrected(device, NOW, "v", NOW, NOW + 3, [(NOW + 1, 7)], who))

    @rule(device=st.sampled_from(DEVICES))
    def remove(self, device: str) -> None:
        # With it something that is late.
        self.commit(removed(device), refused(device, "late"))

    @rule(who=st.sampled_from(PEOPLE))
    def erase(self, who: str) -> None:
        self.commit(audited("admin", ERASED), NameErased(who))
        self.pending.append(Erased(PERSON, who, self.writer.next_seq))
        # What still comes in this name has it no more; for the model it never had.

    @rule(rows=st.integers(1, 3))
    @precondition(lambda self: self.pending)
    def scrub_once(self, rows: int) -> None:
        step = erasing.next_scrub(self.reader, rows)
        if step is not None:
            self.writer.maintain(lambda connection: erasing.commit(connection, step))

    @rule(rows=st.integers(1, 4))
    def scrub(self, rows: int) -> None:
        scrub_all(self.writer, self.reader, rows)
        self.settle()

    def settle(self) -> None:
        for one in self.pending:
            eraser = Eraser(one)
            for n in [n for n in self.model if n < one.seq]:
                left = eraser.left_of(self.model[n])
                if left is None:
                    del self.model[n]
                else:
                    self.model[n] = left
        self.pending.clear()

    @rule()
    def compact(self) -> None:
        of = compaction.read_range(self.reader)
        for step in compaction.steps(self.reader, of, lambda: 3):
            self.writer.maintain(lambda connection, step=step: chunks.commit(connection, step))  # type: ignore[misc]

    @rule(rows=st.integers(1, 3))
    def trim(self, rows: int) -> None:
        through = min(chunks.progress(self.reader).low, self.writer.next_seq - 2)
        step = trimming.next_trim(self.reader, through, rows)
        if step is not None:
            self.writer.maintain(lambda connection: trimming.commit(connection, step))
            for n in [n for n in self.model if step.begin < n <= step.end]:
                if type(self.model[n]) is TelemetryReceived:
                    del self.model[n]

    @rule()
    def restart(self) -> None:
        self.writer.close()
        self.writer = Writer(self.path, 100, 100)
        self.writer.open()

    @invariant()
    def others_are_untouched(self) -> None:
        held = dict(journal.events_from(self.reader, 1, 2**31))
        for n, event in self.model.items():
            erasers = [Eraser(one) for one in self.pending if n < one.seq]
            if not any(one.concerns(journal.encode([event])) for one in erasers):
                assert held.get(n) == event
        assert held.keys() <= self.model.keys()
        if not self.pending:
            assert held == self.model

    def teardown(self) -> None:
        scrub_all(self.writer, self.reader)
        self.settle()
        self.others_are_untouched()
        assert erasing.pending(self.reader) == []
        self.writer.close()
        self.reader.close()
        self.directory.cleanup()


TestMachine = Machine.TestCase
TestMachine.settings = settings(
    max_examples=30, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


@pytest.fixture
def place(tmp_path: Path) -> Any:
    path = tmp_path / FILE_NAME
    prepare(path)
    writer = Writer(path, 100, 100)
    writer.open()
    reader = open_reader(path)
    yield path, writer, reader
    writer.close()
    reader.close()


def events(reader: sqlite3.Connection) -> list[AnyEvent]:
    return [event for _, event in journal.events_from(reader, 1, 2**31)]


def test_of_a_removed_device_its_removal_is_left(place: Any, tmp_path: Path) -> None:
    path, writer, reader = place
    commit(writer, stranger("serial-1", contract="native"), stranger("serial-2", contract="native"))
    commit(writer, registered("d1", external_id="serial-1"), reading("d1"), refused("", "serial-1 at the door"))
    writer.write(Batch([raised("d1", "d1 is warm", "ana"), audited("ana", "d1", secret="warm")]), NOW)
    writer.write(Batch([audited("ana", "rule-1", device="d1", of=["serial-1"])]), NOW)
    commit(writer, removed("d1"))
    assert scrub_all(writer, reader, 1) > 1
    left = events(reader)
    assert [type(one).__name__ for one in left] == ["UnclaimedSeen", "Refused", "Audited", "Audited", "DeviceRemoved"]
    assert left[0].external_id == "serial-2"  # type: ignore[union-attr]
    assert "serial-1" not in str(left)
    assert left[2].target == "d1" and left[2].detail == {}  # type: ignore[union-attr]
    assert reader.execute("SELECT count(*) FROM notifications").fetchone() == (0,)
    # Places keep their numbers, and nothing looks damaged.
    assert journal.next_seq(reader) == 10
    assert check(path, tmp_path).findings == []


def test_what_was_under_way_is_not_kept_and_the_next_one_of_the_same_id_is(place: Any) -> None:
    _, writer, reader = place
    commit(writer, registered("d1"), reading("d1", {"old": 1}), removed("d1"), refused("d1", "late"))
    late = commit(writer, refused("d1", "later"))
    assert (late.kept, late.lost) == ([], {0})
    commit(writer, registered("d1"), reading("d1", {"new": 1}))
    writer.write(Batch([audited("ana", "d1", changes="new")]), NOW)
    scrub_all(writer, reader)
    assert [type(one).__name__ for one in events(reader)] == [
        "DeviceRemoved", "DeviceRegistered", "TelemetryReceived", "Audited",
    ]  # fmt: skip
    assert reader.execute("SELECT detail FROM audit").fetchone() == ('{"changes": "new"}',)


def test_a_crash_between_removal_and_erasing_forgets_nothing(place: Any) -> None:
    path, writer, reader = place
    commit(writer, registered("d1"), *(reading("d1", {"v": n}) for n in range(5)), removed("d1"))
    writer.close()
    again = Writer(path, 100, 100)
    again.open()
    assert commit(again, refused("d1")).lost == {0}
    scrub_all(again, reader)
    again.close()
    assert [type(one) for one in events(reader)] == [DeviceRemoved]


def test_a_step_that_somebody_wrote_into_is_made_again(place: Any) -> None:
    path, writer, reader = place
    commit(writer, registered("d1"))
    writer.write(Batch([audited("ana", "d1", who="ana")]), NOW)
    writer.write(Batch([NameErased("ana")]), NOW)
    while (step := erasing.next_scrub(reader, 10)) is not None and not step.rows:
        writer.maintain(lambda connection, step=step: erasing.commit(connection, step))  # type: ignore[misc]
    assert step is not None
    other = open_writer(path)
    other.execute("UPDATE audit SET outcome = 'refused', detail = '{}'")
    other.close()
    with pytest.raises(Stale):
        writer.maintain(lambda connection: erasing.commit(connection, step))
    scrub_all(writer, reader)
    assert reader.execute("SELECT by, outcome FROM audit").fetchall() == [("erased", "refused")]


def test_whoever_is_erased_is_named_by_nothing_that_comes_later_until_there_is_one_of_that_name(place: Any) -> None:
    _, writer, reader = place
    alert = AlertChanged("d1", NOW, "a1", "opened", "open", "info", "ana: warm", "ana", "k", "r", "n", NOW)
    commit(writer, registered("d1"), alert)
    writer.write(Batch([NameErased("ana", ("ana@example.org",))]), NOW)
    late = commit(writer, alert, refused("", "ana@example.org was wrong, banana was not"))
    assert [getattr(one, "owner", "") for one in late.kept] == ["erased", ""]
    assert [getattr(one, "text", "") for one in late.kept] == ["erased: warm", ""]
    scrub_all(writer, reader)
    assert "banana" in str(events(reader))
    assert "ana@" not in str(events(reader))


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("by finch", "by erased"),
        ("finch: done", "erased: done"),
        ("(finch).", "(erased)."),
        ("finches, goldfinch, finch-1, finch@home, finch.x", "finches, goldfinch, finch-1, finch@home, finch.x"),
        ("from finch to finch", "from erased to erased"),
    ],
)  # fmt: skip
def test_names_are_taken_out_of_sentences_as_whole_words(text: str, left: str) -> None:
    assert Eraser(Erased(PERSON, "finch", 1)).text(text) == left


def test_a_name_of_two_letters_is_looked_for_in_fields_alone() -> None:
    eraser = Eraser(Erased(PERSON, "on", 9))
    assert eraser.left_of(audited("on", "x", state="is on", who="on")) == audited(
        "erased", "x", state="is on", who="erased"
    )
