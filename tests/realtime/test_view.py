import json

import pytest

from relevo.bus import Delivered, Missed
from relevo.domain.devices import Registry
from relevo.domain.events import AnyEvent, DeviceChanged, UnclaimedReading
from relevo.realtime.view import KINDS, Views, kind_of, wants
from tests.store.samples import NOW, reading, refused, registered, stranger
from tests.store.test_journal import ONE_OF_EACH

SHOWN = UnclaimedReading("hidrometro", "X", NOW, "repaired", NOW + 5, {"flowLmin": 2.5})


@pytest.fixture
def views() -> Views:
    registry = Registry()
    registry.apply(registered("meter", "hidrometro", "ABC123"))
    return Views(registry)


def shown(views: Views, event: AnyEvent, seq: int = 7) -> dict[str, object]:
    found: dict[str, object] = json.loads(views.json(Delivered(seq, event)))
    return found


def test_a_reading_says_whose_it_is_in_both_worlds(views: Views) -> None:
    event = reading("meter", {"flowLmin": 2.5}, ts=NOW, received=NOW + 5)
    assert shown(views, event) == {
        "seq": 7,
        "kind": "telemetry",
        "device": "meter",
        "contract": "hidrometro",
        "external_id": "ABC123",
        "ts": NOW,
        "ts_source": "device",
        "received": NOW + 5,
        "values": {"flowLmin": 2.5},
        "stored": True,
    }


def test_a_strangers_reading_has_no_number_and_is_not_stored(views: Views) -> None:
    assert shown(views, SHOWN, 0) == {
        "seq": None,
        "kind": "telemetry",
        "device": None,
        "contract": "hidrometro",
        "external_id": "X",
        "ts": NOW,
        "ts_source": "repaired",
        "received": NOW + 5,
        "values": {"flowLmin": 2.5},
        "stored": False,
    }


@pytest.mark.parametrize("event", [*ONE_OF_EACH, SHOWN], ids=lambda event: type(event).__name__)
def test_every_event_can_be_shown_and_has_one_of_the_known_kinds(views: Views, event: AnyEvent) -> None:
    found = shown(views, event)
    assert found["kind"] == kind_of(event)
    assert found["kind"] in KINDS
    assert len(found) > 2


def test_the_key_of_a_device_is_never_shown(views: Views) -> None:
    created = registered("d1")
    created.key_hash = "secret-hash"
    for event in (created, DeviceChanged("d1", NOW, {"key_hash": "secret-hash", "name": "n"})):
        assert "secret-hash" not in json.dumps(shown(views, event))


def test_a_gap_tells_how_much_was_missed(views: Views) -> None:
    assert json.loads(views.json(Missed(12))) == {"kind": "gap", "missed": 12}


def test_a_merged_reading_is_not_mistaken_for_the_one_whose_number_it_has(views: Views) -> None:
    """A slow watcher's latest values carry the number of the newest reading in them."""
    plain = Delivered(9, reading("meter", {"b": 2}))
    merged = Delivered(9, reading("meter", {"a": 1, "b": 2}))
    assert json.loads(views.json(plain))["values"] == {"b": 2}
    assert json.loads(views.json(merged))["values"] == {"a": 1, "b": 2}
    assert json.loads(views.json(plain))["values"] == {"b": 2}


def test_many_events_are_shown_and_not_all_kept(views: Views) -> None:
    for seq in range(1, 2 * Views._KEPT):
        assert shown(views, reading("meter", {"n": seq}), seq)["seq"] == seq
    assert len(views._kept) <= Views._KEPT


@pytest.mark.parametrize(
    ("devices", "kinds", "wanted"),
    [
        (set(), set(), ["r1", "r2", "refused", "door", "shown", "stranger"]),
        ({"d1"}, set(), ["r1", "refused"]),
        (set(), {"telemetry"}, ["r1", "r2", "shown"]),
        ({"d1", "d2"}, {"telemetry"}, ["r1", "r2"]),
        ({"nobody"}, set(), []),
        (set(), {"refused", "unclaimed"}, ["refused", "door", "stranger"]),
    ],
)
def test_a_watcher_chooses_by_device_and_by_kind(devices: set[str], kinds: set[str], wanted: list[str]) -> None:
    events: dict[str, AnyEvent] = {
        "r1": reading("d1"),
        "r2": reading("d2"),
        "refused": refused("d1"),
        "door": refused(""),
        "shown": SHOWN,
        "stranger": stranger("X"),
    }
    decide = wants(lambda event: True, frozenset(devices), frozenset(kinds))
    assert [name for name, event in events.items() if decide(event)] == wanted
