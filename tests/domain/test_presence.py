"""Who is there: by connection, by what was heard, by its own word; and how often that is told."""

import random

import pytest

from relevo.domain.events import DeviceConnected, DeviceDisconnected
from relevo.domain.presence import FLAP_WINDOW_MS, FLAPS, STEADY_MS, Change, Presence, Unstable, rule_of

T = 1_767_225_600_000
S = 1_000


def one(contract: str = "native", **attributes: object) -> Presence:
    presence = Presence()
    presence.know("d", rule_of(contract, attributes))
    return presence


def connected(presence: Presence, at: int, via: str = "mqtt") -> None:
    presence.follow(DeviceConnected("d", at, via), at)


def gone(presence: Presence, at: int, reason: str = "closed") -> None:
    presence.follow(DeviceDisconnected("d", at, reason), at)


@pytest.mark.parametrize(
    ("contract", "silence"), [("hidrometro", 60), ("autocore", 90), ("thingsnxt", 20), ("alchemy", 30), ("native", 60)]
)
def test_without_a_connection_silence_decides(contract: str, silence: int) -> None:
    presence = one(contract)
    assert presence.look(T) == []
    presence.heard("d", T)
    assert presence.look(T) == [Change("d", True, T, "heard")]
    assert presence.look(T + silence * S) == []
    assert presence.online("d")
    assert presence.look(T + silence * S + 1) == [Change("d", False, T + silence * S, "silent")]
    assert not presence.online("d")
    assert presence.since("d") == T + silence * S


def test_autocore_11_three_heartbeats_missed_are_offline_and_a_last_will_is_at_once() -> None:
    presence = one("autocore")
    connected(presence, T, "status")
    assert presence.look(T) == [Change("d", True, T, "heard")]
    connected(presence, T + 89 * S, "status")
    assert presence.look(T + 178 * S) == []
    assert presence.look(T + 179 * S + 1) == [Change("d", False, T + 179 * S, "silent")]
    connected(presence, T + 200 * S, "status")
    assert presence.look(T + 200 * S) == [Change("d", True, T + 200 * S, "heard")]
    gone(presence, T + 201 * S, "status")
    assert presence.look(T + 201 * S) == [Change("d", False, T + 201 * S, "status")]


def test_a_reading_more_moves_the_end_of_its_time() -> None:
    presence = one("hidrometro")
    for n in range(10):
        presence.heard("d", T + n * 30 * S)
        presence.look(T + n * 30 * S)
    assert presence.online("d")
    assert presence.look(T + 9 * 30 * S + 60 * S) == []
    assert presence.look(T + 9 * 30 * S + 60 * S + 1)[0].online is False  # type: ignore[union-attr]


def test_a_connection_is_enough_for_a_native_device_however_silent() -> None:
    presence = one()
    connected(presence, T)
    assert presence.look(T) == [Change("d", True, T, "connected")]
    assert presence.look(T + 86_400 * S) == []
    gone(presence, T + 90_000 * S, "keep_alive")
    assert presence.look(T + 90_000 * S) == [Change("d", False, T + 90_000 * S, "keep_alive")]


def test_a_board_that_is_connected_and_says_nothing_is_not_there_where_the_contract_says_so() -> None:
    presence = one("autocore")
    connected(presence, T)
    assert presence.look(T)[0].online  # type: ignore[union-attr]
    assert presence.look(T + 90 * S + 1) == [Change("d", False, T + 90 * S, "silent")]


def test_its_last_will_counts_at_once_until_it_is_heard_again() -> None:
    presence = one("autocore")
    presence.heard("d", T)
    presence.look(T)
    gone(presence, T + S, "status")
    assert presence.look(T + S) == [Change("d", False, T + S, "status")]
    presence.heard("d", T + 2 * S)
    assert presence.look(T + 2 * S) == [Change("d", True, T + 2 * S, "heard")]


def test_what_it_is_expected_every_takes_the_place_of_the_contracts_rule() -> None:
    presence = one(expected_every_s=600)
    connected(presence, T)
    gone(presence, T + S)
    presence.look(T + S)
    assert presence.online("d")
    assert presence.look(T + 1_800 * S + 1) == [Change("d", False, T + 1_800 * S, "silent")]
    for nonsense in (0, -1, "60", True, None, 1e12):
        assert rule_of("native", {"expected_every_s": nonsense}) == rule_of("native", {})


def test_a_device_that_comes_and_goes_is_told_late_until_it_is_steady() -> None:
    presence = one()
    told: list[Change | Unstable] = []
    at = T
    for n in range(20):
        at = T + n * 5 * S
        (connected if n % 2 == 0 else gone)(presence, at)
        told += presence.look(at)
    assert [type(change) for change in told].count(Unstable) == 1
    assert len([change for change in told if isinstance(change, Change)]) == FLAPS - 1
    # Its last change was to be gone; a minute later that is told.
    assert presence.online("d")
    assert presence.look(at + STEADY_MS - 1) == []
    assert presence.look(at + STEADY_MS) == [Change("d", False, at, "closed")]
    later = at + FLAP_WINDOW_MS + STEADY_MS
    presence.look(later)
    connected(presence, later)
    assert presence.look(later) == [Change("d", True, later, "connected")]


def test_a_restart_makes_nobody_leave() -> None:
    presence = one()
    presence.restore("d", True, T - 500 * S, 0, T)
    assert presence.look(T) == []
    assert presence.online("d")
    assert presence.since("d") == T - 500 * S
    assert presence.look(T + 60 * S + 1) == [Change("d", False, T + 60 * S, "silent")]
    back = one()
    back.restore("d", True, T - 500 * S, 0, T)
    connected(back, T + 30 * S)
    assert back.look(T + 30 * S) == []
    assert back.look(T + 600 * S) == []
    absent = one()
    absent.restore("d", False, T - 500 * S, 0, T)
    assert absent.look(T + 600 * S) == []


def test_strangers_and_removed_devices_are_nobody() -> None:
    presence = one()
    presence.heard("nobody", T)
    presence.follow(DeviceConnected("nobody", T, "mqtt"), T)
    presence.heard("d", T)
    presence.forget("d")
    assert presence.look(T + 1) == []
    assert not presence.online("d")


def test_random_lives_end_where_their_last_facts_say() -> None:
    """Whatever happened, once everything is steady what is told is what is true."""
    rng = random.Random(7)
    for _ in range(300):
        contract = rng.choice(["native", "autocore"])
        presence = one(contract)
        link, left, heard, at = False, False, 0, T
        for _ in range(rng.randrange(1, 40)):
            at += rng.randrange(1, 40) * S
            step = rng.choice(["connect", "go", "hear", "leave", "wait"])
            if step == "connect":
                connected(presence, at)
                link, left, heard = True, False, at
            elif step == "go":
                gone(presence, at)
                link = False
                heard = 0 if contract == "native" else heard
            elif step == "hear":
                presence.heard("d", at)
                left, heard = False, at
            elif step == "leave":
                gone(presence, at, "status")
                left = True
            presence.look(at)
        silence = {"native": 60, "autocore": 90}[contract] * S
        for steady in range(0, 200, 10):
            now = at + steady * S
            presence.look(now)
        truth = not left and ((link and contract == "native") or bool(heard and now - heard <= silence))
        assert presence.online("d") is truth


@pytest.mark.parametrize(("expected_s", "silence"), [(5, 30), (10, 30), (20, 60), (600, 1_800)])
def test_a_claimed_home_device_may_be_silent_for_three_intervals_and_at_least_half_a_minute(
    expected_s: int, silence: int
) -> None:
    presence = one("alchemy", expected_every_s=expected_s)
    presence.heard("d", T)
    presence.look(T)
    assert presence.look(T + silence * S) == []
    assert presence.look(T + silence * S + 1) == [Change("d", False, T + silence * S, "silent")]
