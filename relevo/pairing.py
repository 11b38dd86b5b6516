"""The pairing window: for some minutes devices may register without a token.

Theory. The window is open while the clock has not passed its end; nobody has to close it. That it closed is told
once, by whoever looks first: the timer, or any question whether it is open. It does not outlive the process.
"""

import asyncio
from dataclasses import dataclass
from typing import Final

from relevo.clock import Clock
from relevo.domain.events import AnyEvent, Audited, Noticed
from relevo.pipeline import Pipeline

MINUTES_MOST: Final = 60
MINUTES_DEFAULT: Final = 10
# Whoever does things by itself, in the audit log.
_SELF: Final = "relevo"
_MINUTE_MS: Final = 60_000


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
            now = self._clock.now_ms()
            self._pipeline.submit(
                [
                    Audited(
                        now, _SELF, "pairing.close", "pairing", {"opened_by": window.by, "why": "its time is over"}
                    ),
                    Noticed("", now, "pairing_closed", f"opened by {window.by}, its time is over"),
                ]
            )
        return self._window

    @property
    def is_open(self) -> bool:
        return self.permanent or self.window is not None

    async def open(self, minutes: int, by: str, audited: Audited) -> Window:
        """Open it, or let it last until ``minutes`` from now; ``audited`` is committed with it."""
        now = self._clock.now_ms()
        before = self.window
        window = Window(by, now, now + minutes * _MINUTE_MS, self._clock.monotonic() + minutes * 60)
        what = "goes on" if before is not None else "open"
        detail = f"{what} for {minutes} {'minute' if minutes == 1 else 'minutes'}, by {by}"
        await self._pipeline.accept([audited, Noticed("", now, "pairing_opened", detail)])
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
        told: list[AnyEvent] = [audited, Noticed("", self._clock.now_ms(), "pairing_closed", f"closed by {by}")]
        await self._pipeline.accept(told)
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
