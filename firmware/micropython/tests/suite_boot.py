"""The launcher: which slot starts, and when it goes back."""

import os

import boot


def _both(slot):
    return True


def test_a_board_without_a_state_starts_the_slot_that_has_an_application():
    assert boot.choose({}, lambda slot: slot == "b") == ("b", None)
    assert boot.choose({}, lambda slot: False) == ("a", None)
    assert boot.choose({"active": "b"}, _both) == ("b", None)
    assert boot.choose({"active": 7}, _both) == ("a", None)


def test_a_trial_has_three_starts_and_then_the_former_application_runs_again():
    state = {"active": "a", "trial": "b", "tries": 0, "release": "relay-2.0.0", "former": ["relay-1.0.0", "1.0.0"]}
    for tries in (1, 2, 3):
        slot, state = boot.choose(state, _both)
        assert (slot, state["tries"]) == ("b", tries)
    slot, state = boot.choose(state, _both)
    assert slot == "a"
    assert state["outcome"] == {"release": "relay-2.0.0", "state": "rolled_back", "reason": "tries"}
    assert "trial" not in state and state["release"] == "relay-1.0.0" and state["version"] == "1.0.0"
    assert boot.choose(state, _both) == ("a", None)


def test_a_trial_whose_slot_is_not_whole_is_not_started():
    slot, state = boot.choose({"active": "a", "trial": "b", "tries": 0}, lambda slot: slot == "a")
    assert slot == "a" and state["outcome"]["reason"] == "image"


def test_what_a_trial_ended_with_is_the_reason_of_going_back():
    slot, state = boot.choose({"active": "b", "trial": "a", "tries": 3, "why": "crash: MemoryError: "}, _both)
    assert slot == "b" and state["outcome"]["reason"] == "crash: MemoryError: " and "why" not in state


def test_an_active_slot_that_lost_its_application_gives_way_to_the_other():
    slot, state = boot.choose({"active": "a"}, lambda slot: slot == "b")
    assert slot == "b" and state["active"] == "b"


def test_nonsense_in_the_state_starts_something():
    for state in (
        {"trial": "c"},
        {"trial": "b", "tries": "x"},
        {"trial": "b", "tries": -4},
        {"tries": 9},
        {"active": []},
    ):
        slot, _ = boot.choose(state, _both)
        assert slot in boot.SLOTS


def test_the_state_is_replaced_at_once_and_what_cannot_be_read_is_none():
    boot.write({"active": "b"})
    assert boot.read() == {"active": "b"}
    assert "slot.json.new" not in os.listdir()
    with open("slot.json", "w") as file:
        file.write('nonsense')
    assert boot.read() == {}
    with open("slot.json", "w") as file:
        file.write("[1]")
    assert boot.read() == {}


def test_starts_are_counted_until_one_lasts():
    assert [boot.starts() for _ in range(3)] == [1, 2, 3]
    assert boot.starts(0) == 0
    assert boot.starts() == 1


def test_a_crash_is_remembered_once():
    boot.write({"active": "a", "trial": "b", "tries": 1})
    boot.note(ValueError("x" * 500))
    state = boot.read()
    assert state["why"].startswith("crash: ValueError: xxx") and len(state["why"]) == 120
    assert boot.read("crash.json")["why"] == state["why"]
