"""Roll-outs and where their devices are, in memory, kept equal to the store; what a board is offered, and hears of it.

Theory. What a board asks becomes events that take the road, and what is answered follows from what is committed: a
manifest leaves after ``UpdateOffered`` is on the disk, so a crash can make a board look twice, never make the server
forget what it offered. The devices of open roll-outs are in memory; of all others a device's newest roll-out is known
by name, so that what it says late still finds its row.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from relevo.clock import Clock
from relevo.domain.devices import LEARNED, Device, Registry
from relevo.domain.events import (
    AnyEvent,
    DeviceChanged,
    DeviceRemoved,
    UpdateEnded,
    UpdateOffered,
    UpdatePlanned,
    UpdateReported,
)
from relevo.domain.manifests import manifest, signed
from relevo.domain.records import Dropped, Kept, RecordChange
from relevo.domain.releases import FIRMWARE, Board, Release, board_of, needless, unfit
from relevo.domain.rollouts import (
    DOWNLOADING,
    OFFERED,
    RUNNING,
    SKIPPED_STATE,
    UNDER_WAY,
    WAITING,
    Progress,
    Report,
    Rollout,
    advance,
    hears,
    opened,
)
from relevo.errors import Conflict, NotFound
from relevo.firmware import Firmware
from relevo.pipeline import Entry

UPDATE_EVENTS: Final = frozenset({UpdatePlanned, UpdateOffered, UpdateReported, UpdateEnded})


class Offer(NamedTuple):
    """What a board may have now."""

    rollout: Rollout
    release: Release
    progress: Progress


class Updates:
    """One for the whole process, used on the event loop."""

    def __init__(self, firmware: Firmware, registry: Registry, clock: Clock) -> None:
        self.firmware = firmware
        self._registry = registry
        self._clock = clock
        # From looking which devices are free to the commit that takes them.
        self.turn = asyncio.Lock()
        self.all: dict[str, Rollout] = {}
        # Of open roll-outs, by device.
        self.progress: dict[str, dict[str, Progress]] = {}
        # By device: the open roll-out that has it.
        self._open: dict[str, str] = {}
        self._newest: dict[str, tuple[str, str]] = {}
        # Since the start: what boards said, by their words.
        self.reported: Counter[str] = Counter()
        # Called when something happened after which a roll-out may go on.
        self.stirred: Callable[[], None] = lambda: None

    def load(self, devices: Iterable[Progress], newest: Mapping[str, tuple[str, str]]) -> None:
        """Take up what the store holds: the devices of open roll-outs, and each one's newest roll-out and release."""
        self._newest = dict(newest)
        for one in devices:
            self._hold(one)

    def recall(self, rollout: Rollout, devices: Iterable[Progress]) -> None:
        """Take up the devices of a roll-out that is over and is to be opened again."""
        self.progress[rollout.id] = {one.device: one for one in devices}

    # Following commits

    def apply(self, change: RecordChange) -> None:
        """Follow one change of a record."""
        match change:
            case Kept(Rollout() as rollout):
                self.all[rollout.id] = rollout
                if rollout.is_open:
                    self.progress.setdefault(rollout.id, {})
                else:
                    self._let_go(rollout.id)
                self.stirred()
            case Dropped(kind, key) if kind is Rollout:
                self.all.pop(key, None)
                self._let_go(key)

    def follow(self, event: AnyEvent) -> None:
        """Follow one event."""
        if type(event) is DeviceRemoved:
            for held in self.progress.values():
                held.pop(event.device, None)
            self._open.pop(event.device, None)
            self._newest.pop(event.device, None)
            self.stirred()
        elif type(event) in UPDATE_EVENTS:
            self._follow(event)  # type: ignore[arg-type]

    def _follow(self, event: UpdatePlanned | UpdateOffered | UpdateReported | UpdateEnded) -> None:
        one = self.progress.get(event.rollout, {}).get(event.device)
        if one is not None:
            advance(one, event)
        elif isinstance(event, UpdatePlanned):
            # Before the record of its roll-out, which is of the same commit.
            one = opened(event)
        if one is not None:
            self._hold(one)
        self.stirred()

    def _hold(self, one: Progress) -> None:
        self.progress.setdefault(one.rollout, {})[one.device] = one
        if one.state != SKIPPED_STATE:
            self._newest[one.device] = (one.rollout, one.release)
        if not one.settled:
            self._open.setdefault(one.device, one.rollout)
        elif self._open.get(one.device) == one.rollout:
            del self._open[one.device]

    def _let_go(self, rollout: str) -> None:
        for device in self.progress.pop(rollout, {}):
            if self._open.get(device) == rollout:
                del self._open[device]

    # Asking

    @property
    def open(self) -> list[Rollout]:
        """Roll-outs that are not over, oldest first."""
        found = [one for one in self.all.values() if one.is_open]
        return sorted(found, key=lambda one: (one.created_at, one.id))

    def uses(self, release: str) -> Rollout | None:
        """An open roll-out of ``release``."""
        return next((one for one in self.open if one.release == release), None)

    def has(self, device: str) -> str:
        """The open roll-out that still has to do with ``device``, empty for none."""
        return self._open.get(device, "")

    def offer(self, device: str) -> Offer | None:
        """What ``device`` may install now, if it was offered something; whatever its roll-out's state is."""
        rollout = self.all.get(self._open.get(device, ""))
        if rollout is None:
            return None
        one = self.progress[rollout.id][device]
        release = self.firmware.all.get(rollout.release)
        return Offer(rollout, release, one) if release is not None and one.state in UNDER_WAY else None

    def image_for(self, device: str, release: str) -> Release:
        """The release whose image ``device`` may read.

        Raises :class:`NotFound` when it was not offered that, :class:`Conflict` while its roll-out is paused.
        """
        found = self.offer(device)
        if found is None or found.release.id != release:
            raise NotFound(f"release {release[:80]!r} is not offered to this device")
        if found.rollout.state != RUNNING:
            raise Conflict(f"the roll-out is {found.rollout.state}")
        return found.release

    async def manifest(self, device: Device, key: bytes) -> bytes:
        """The signed manifest for ``device``, empty when there is nothing to do; ``key`` is derived or empty.

        Raises :class:`StoreUnavailable` when nothing can be signed.
        """
        found = self.offer(device.id)
        if found is None or found.rollout.state != RUNNING or found.progress.state not in (OFFERED, DOWNLOADING):
            return b""
        if found.release.version == board_of(device.attributes).version:
            return b""
        data = manifest(found.release, device.external_id, found.progress.issued)
        return signed(data, key, await self.firmware.sign(data))

    # What boards say: the entries to submit

    def looked(self, device: Device, board: Board) -> list[Entry]:
        """A board asks whether there is something for it, and says what it is."""
        now = self._clock.now_ms()
        out: list[Entry] = []
        said = board.attributes()
        news = {name: value for name, value in said.items() if device.attributes.get(name) != value}
        if news:
            out.append(DeviceChanged(device.id, now, {LEARNED: news}, device.id))
        rollout, one = self._meant(device.id)
        release = self.firmware.all.get(rollout.release) if rollout is not None else None
        if rollout is None or one is None or release is None:
            return out
        why = unfit(release, board)
        if one.state == SKIPPED_STATE:
            if why:
                return out
            wave, why = len(rollout.waves), needless(release, board, rollout.older)
            out.append(UpdatePlanned(device.id, now, rollout.id, release.id, wave))
        elif one.state != WAITING:
            return out
        elif one.attempts and board.version == release.version:
            # It went on while nobody waited for it; its next report says so.
            return out
        else:
            wave = one.wave
            why = why or needless(release, board, rollout.older)
        if why:
            out.append(UpdateEnded(device.id, now, rollout.id, release.id, SKIPPED_STATE, why))
        elif rollout.state == RUNNING and wave <= rollout.wave:
            out.append(UpdateOffered(device.id, now, rollout.id, release.id, max(now // 1000, one.issued + 1)))
        return out

    def _meant(self, device: str) -> tuple[Rollout | None, Progress | None]:
        """The roll-out that has a device, or left it out only because it did not know what it is."""
        rollout = self._open.get(device, "")
        if rollout:
            return self.all.get(rollout), self.progress[rollout].get(device)
        for one in self.open:
            found = self.progress[one.id].get(device)
            if found is not None and found.state == SKIPPED_STATE and found.reason == "unknown_board":
                return one, found
        return None, None

    def heard(self, device: Device, report: Report) -> list[Entry]:
        """A board says how far it is; nothing for what it said already."""
        now = self._clock.now_ms()
        out: list[Entry] = []
        if report.version and report.version != device.attributes.get(FIRMWARE):
            out.append(DeviceChanged(device.id, now, {LEARNED: {FIRMWARE: report.version}}, device.id))
        rollout, release = self._newest.get(device.id, ("", ""))
        if release != report.release:
            rollout = ""
        one = self.progress.get(rollout, {}).get(device.id)
        if one is not None and not hears(one, report.state):
            return out
        percent = report.percent
        if percent is None:
            percent = one.percent if one is not None and report.state == "downloading" else 0
        if one is not None and (one.state, one.percent, report.state) == (DOWNLOADING, percent, "downloading"):
            return out
        self.reported[report.state] += 1
        out.append(
            UpdateReported(
                device.id, now, rollout, report.release, report.state, percent, report.reason, report.version
            )
        )
        return out

    def figures(self) -> dict[str, Any]:
        """For ``/api/v1/system`` and ``/metrics``."""
        states = Counter(one.state for held in self.progress.values() for one in held.values())
        rollouts = Counter(one.state for one in self.open)
        return {
            "releases": len(self.firmware.all),
            "rollouts": dict(sorted(rollouts.items())),
            "devices": dict(sorted(states.items())),
            "reported": dict(sorted(self.reported.items())),
        }
