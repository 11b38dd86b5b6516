"""Ask the server over HTTP what it kept, and hold it against the ledgers."""

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field

from relevo.simulator.device import SimulatedDevice
from relevo.simulator.http_client import HttpClient, HttpFailed
from relevo.simulator.ledger import Point

_PAGE = 10_000
_EXAMPLES = 10
_CLOCKS_DIFFER_MS = 60_000


@dataclass(slots=True)
class ReadBack:
    """Counts of readings (one value of one series each), with a few ``examples`` of what is wrong."""

    compared: int = 0
    missing: int = 0
    unstored: int = 0
    duplicated: int = 0
    foreign: int = 0
    examples: list[str] = field(default_factory=list)

    def note(self, word: str, series: str, points: list[Point]) -> None:
        """Keep some of these points as examples."""
        room = max(0, _EXAMPLES - len(self.examples))
        self.examples += [f"{word} {series} {ts} {value}" for ts, value in points[:room]]


async def read_back(http: HttpClient, fleet: Iterable[SimulatedDevice], first_ms: int, last_ms: int) -> ReadBack:
    """Compare every ledger with what is stored. Raises :class:`HttpFailed` when the server does not answer.

    ``first_ms`` to ``last_ms`` is when the fleet lived, for devices whose readings have the server's time.
    """
    found = ReadBack()
    for one in fleet:
        span = one.ledger.span()
        if span is None:
            continue
        if not one.timed:
            # The server's clock may differ from this one.
            span = (first_ms - _CLOCKS_DIFFER_MS, last_ms + _CLOCKS_DIFFER_MS)
        device = one.enrolled.device
        for key in one.ledger.keys():  # noqa: SIM118 - a ledger is no dictionary
            stored = [point async for point in points(http, device, key, *span)]
            verdict = one.ledger.compare(key, stored)
            found.compared += len(stored)
            found.missing += len(verdict.missing)
            found.duplicated += len(verdict.duplicated)
            found.unstored += len(verdict.unstored)
            found.foreign += len(verdict.foreign)
            for word in ("missing", "unstored", "duplicated", "foreign"):
                found.note(word, f"{device} {key}", getattr(verdict, word))
    return found


async def points(http: HttpClient, device: str, key: str, first_ms: int, last_ms: int) -> AsyncIterator[Point]:
    """Every stored point of one series from ``first_ms`` to ``last_ms``, page after page.

    Raises :class:`HttpFailed` for any answer but a page of points; an unknown series has none.
    """
    # One millisecond more, so that it does not matter whether the end belongs to the span.
    query: dict[str, object] = {"from": first_ms, "to": last_ms + 1, "limit": _PAGE}
    while True:
        answer = await http.get(f"/api/v1/devices/{device}/telemetry/{key}", query)
        if answer.status == 404:
            return
        page = answer.expect(200)
        try:
            for ts, value in page["points"]:
                yield ts, value
            following = page["next"]
        except (KeyError, TypeError, ValueError) as error:
            raise HttpFailed(f"not a page of points: {str(page)[:200]}") from error
        if not following:
            return
        query["cursor"] = following
