"""The pairing window: for some minutes devices may register without a token.

Theory. The window is open while the clock has not passed its end; nobody has to close it. That it closed is told
once, by whoever looks first: the timer, or any question whether it is open. While the process lives its monotonic clock
counts; a record of the window lets the next process go on with what is left of it.
"""

import asyncio
from dataclasses import dataclass
from typing import Final

from relevo.clock import Clock
from relevo.domain.claims import PairingWindow
from relevo.domain.events import Audited, Noticed
from relevo.domain.records import Dropped, Kept
from relevo.log import get_logger
from relevo.pipeline import Entry, Pipeline

log = get_logger("relevo")

MINUTES_MOST: Final = 60
MINUTES_DEFAULT: Final = 10
# Whoever does things by itself, in the audit log.
_SELF: Final = "relevo"
_MINUTE_MS: Final = 60_000
_ID: Final = "window"


@dataclass(frozen=True, slots=True)
class Window:
    """``by`` opened it; wall times in milliseconds UTC, ``until`` in seconds of the monotonic clock."""

    by: str
    opened_at: int
    closes_at: int
    until: float


class Pairing:
    """One for the whole process, used on the event loop."""

    def __init__(self, pipeline: Pipeline, clock: Clock, permanent: bool) -> None:
        """``permanent`` is the setting ``open_registration``."""
        self.permanent = permanent
        self._pipeline = pipeline
        self._clock = clock
        self._window: Window | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def window(self) -> Window | None:
        """The window that is open now."""
        if self._window is not None and self._clock.monotonic() >= self._window.until:
            window, self._window = self._window, None
            self._cancel()
            self._pipeline.submit(self._over(window.by, "its time is over"))
        return self._window

    @property
    def is_open(self) -> bool:
        return self.permanent or self.window is not None

    def resume(self, left: PairingWindow) -> None:
        """Go on with a window that was open when the last process ended, or tell that its time is over.

        It never lasts longer than it was opened for, however the wall clock was set meanwhile.
        """
        now = self._clock.now_ms()
        left_ms = min(left.closes_at - now, left.closes_at - left.opened_at)
        if left_ms <= 0:
            self._pipeline.submit(self._over(left.by, "its time was over before the server started"))
            log.info("pairing_ended", by=left.by)
            return
        until = self._clock.monotonic() + left_ms / 1000
        self._window = Window(left.by, left.opened_at, now + left_ms, until)
        detail = f"goes on after a start for {round(left_ms / 1000)} s, opened by {left.by}"
        self._pipeline.submit([Noticed("", now, "pairing_opened", detail)])
        log.info("pairing_goes_on", by=left.by, seconds_left=round(left_ms / 1000))
        self._watch()

    def _over(self, by: str, why: str) -> list[Entry]:
        now = self._clock.now_ms()
        return [
            Dropped(PairingWindow, _ID),
            Audited(now, _SELF, "pairing.close", "pairing", {"opened_by": by, "why": why}),
            Noticed("", now, "pairing_closed", f"opened by {by}, {why}"),
        ]

    async def open(self, minutes: int, by: str, audited: Audited) -> Window:
        """Open it, or let it last until ``minutes`` from now; ``audited`` is committed with it."""
        now = self._clock.now_ms()
        before = self.window
        window = Window(by, now, now + minutes * _MINUTE_MS, self._clock.monotonic() + minutes * 60)
        what = "goes on" if before is not None else "open"
        detail = f"{what} for {minutes} {'minute' if minutes == 1 else 'minutes'}, by {by}"
        kept = Kept(PairingWindow(_ID, by, now, window.closes_at))
        await self._pipeline.accept([kept, audited, Noticed("", now, "pairing_opened", detail)])
        self._window = window
        self._watch()
        return window

    async def close(self, by: str, audited: Audited) -> bool:
        """Close it now; false when it was not open."""
        if self.window is None:
            return False
        # First of all, whatever the disk does.
        self._window = None
        self._cancel()
        told = Noticed("", self._clock.now_ms(), "pairing_closed", f"closed by {by}")
        await self._pipeline.accept([Dropped(PairingWindow, _ID), audited, told])
        return True

    def stop(self) -> None:
        """No more timers."""
        self._cancel()

    def _watch(self) -> None:
        self._cancel()
        if self.window is not None:
            left = self.window.until - self._clock.monotonic()
            self._timer = asyncio.get_running_loop().call_later(max(left, 0.0) + 0.01, self._watch)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
