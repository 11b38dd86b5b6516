"""Switches: what is on or off, by hand or by a timetable, and which of two statements about it leads.

Theory. Two fields of a device say the same thing twice: its *state*, what it does, and its *switch*, what was asked for
by hand. A request may carry one of them, both or none, the switch even in two places: at the top and nested among the
configuration. Which one leads depends on the mode that holds after the request::

    mode        leads     used when the leading one is absent
    manual      switch    state
    timetable   state     switch at the top; a nested one never
    none        state     switch

The other follows, so that after every request the two agree. A switch at the top wins over a nested one. A client that
sends a whole configuration back with a new state only echoes the switch in it: beside a state, a nested switch equal to
the stored one says nothing. When nothing is said the state stays, and the switch agrees with it.

What a device reports by itself changes its state and not its switch; that the two differ for long is shown
(:func:`not_applied`). Contract: alchemy 4.2, whose words for all this are its dialect's.
"""

from collections.abc import Collection
from typing import Any, Final, NamedTuple

MANUAL: Final = "manual"
TIMETABLE: Final = "timetable"
NONE: Final = ""
POLLS_LATE: Final = 3


class Switch(NamedTuple):
    """What a device has: ``state`` and ``switch`` are on, off, or ``None`` when it has said neither."""

    state: bool | None
    switch: bool | None


class Request(NamedTuple):
    """What a request says; ``None`` is absent."""

    state: bool | None = None
    switch: bool | None = None
    nested: bool | None = None


def derived(mode: str, stored: Switch, request: Request) -> Switch:
    """State and switch after ``request``, where ``mode`` is what holds after it.

    They are equal, except for a device that has not said its state in a request that says nothing: that stays as it is.
    """
    nested = request.nested
    if mode == TIMETABLE or (request.state is not None and nested == stored.switch):
        nested = None
    switch = nested if request.switch is None else request.switch
    leads, follows = (switch, request.state) if mode == MANUAL else (request.state, switch)
    said = follows if leads is None else leads
    if said is None:
        said = stored.state
    return stored if said is None else Switch(said, said)


def read_switch(value: Any, on: Collection[str], off: Collection[str]) -> bool | None:
    """On or off of a JSON value: a boolean, 1 or 0, a word of ``on`` or ``off`` (in small letters); else ``None``."""
    if isinstance(value, str):
        word = value.strip().lower()
        return True if word in on else False if word in off else None
    if isinstance(value, bool | int | float) and value in (0, 1):
        return bool(value)
    return None


def not_applied(stored: Switch, differs_since: int, now_ms: int, poll_ms: int) -> bool:
    """Whether a device has gone on doing something else than its switch says for more than three poll periods.

    ``differs_since`` in milliseconds UTC, 0 while it does not differ.
    """
    if stored.switch is None or stored.state == stored.switch or not differs_since:
        return False
    return now_ms - differs_since > POLLS_LATE * poll_ms
