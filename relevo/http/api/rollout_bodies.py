"""What ``/api/v1/rollouts`` takes and answers."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt

from relevo.domain.accounts import Identity
from relevo.domain.grants import Right
from relevo.domain.releases import RELEASE_LIMIT, board_of
from relevo.domain.rollouts import (
    FIRST_WAVES,
    RETRIED,
    RUNNING,
    SKIPPED_STATE,
    UNSETTLED,
    WAVES_MOST,
    Progress,
    Rollout,
)
from relevo.http.api.times import iso
from relevo.http.services import Services

State = Literal[
    "waiting",
    "offered",
    "downloading",
    "trial",
    "updated",
    "failed",
    "rolled_back",
    "refused",
    "timed_out",
    "skipped",
    "cancelled",
]
_MONTH = 2_592_000
_NAMED_MOST = 1_000
DeviceId = Annotated[str, Field(min_length=1, max_length=64)]


class TargetIn(BaseModel):
    """Either ``all`` devices that you may control, or those that fit everything given."""

    model_config = ConfigDict(extra="forbid")

    all: StrictBool = False
    devices: list[DeviceId] = Field(default=[], max_length=_NAMED_MOST)
    tags: list[Annotated[str, Field(min_length=1, max_length=64)]] = Field(default=[], max_length=32)
    type: str = Field(default="", max_length=64)
    site: str = Field(default="", max_length=64)


class RolloutIn(BaseModel):
    """A roll-out to be begun."""

    model_config = ConfigDict(extra="forbid")

    release: str = Field(min_length=1, max_length=RELEASE_LIMIT, description="Board and version, such as relay-1.4.0.")
    target: TargetIn
    waves: list[StrictInt] = Field(
        default=list(FIRST_WAVES),
        min_length=1,
        max_length=WAVES_MOST,
        description="Percentages of the devices, all waves so far together, that rise to 100.",
    )
    halt_percent: StrictInt = Field(
        default=20, ge=0, le=100, description="Halt when more than this share failed; 100 never halts."
    )
    halt_least: StrictInt = Field(
        default=3, ge=1, le=10_000, description="Fewer outcomes than this say nothing while a wave goes on."
    )
    wave_pause_s: StrictInt = Field(
        default=600, ge=0, le=_MONTH, description="Seconds between the end of a wave and the next one."
    )
    patience_s: StrictInt = Field(
        default=1_800, ge=1, le=_MONTH, description="Seconds for which a wave waits for a device that says nothing."
    )
    deadline_s: StrictInt = Field(
        default=604_800, ge=1, le=3 * _MONTH, description="Seconds after which the roll-out is over."
    )
    older: StrictBool = Field(default=False, description="Also for devices that run a newer version.")
    note: str = Field(default="", max_length=500)


class RetryIn(BaseModel):
    """Which devices are to try once more: those in these ``states``, of ``devices`` when some are named."""

    model_config = ConfigDict(extra="forbid")

    states: list[Literal["failed", "timed_out", "refused", "rolled_back", "cancelled"]] = Field(
        default=list(RETRIED), min_length=1, max_length=5
    )
    devices: list[DeviceId] = Field(default=[], max_length=_NAMED_MOST)
    deadline_s: StrictInt | None = Field(
        default=None, ge=1, le=3 * _MONTH, description="Seconds from now on; needed when the deadline has passed."
    )


class WaveOut(BaseModel):
    """``percent`` of all devices with the waves before it; ``states`` counts its devices, skipped ones beside."""

    wave: int
    percent: int
    begun: bool
    devices: int
    settled: int
    states: dict[str, int]


class RolloutOut(BaseModel):
    """A roll-out. ``devices`` are those that are to get it; ``states`` counts all, also those that are skipped.

    ``waves_begun`` of ``waves`` have begun; ``next_wave`` is when the next one begins, if that is known.
    """

    id: str
    release: str
    version: str | None
    board: str | None
    state: Literal["running", "paused", "halted", "done", "cancelled"]
    reason: str
    by: str
    note: str
    target: dict[str, Any]
    waves: list[WaveOut]
    waves_begun: int
    wave_began: str | None
    next_wave: str | None
    halt_percent: int
    halt_least: int
    wave_pause_s: int
    patience_s: int
    older: bool
    created: str
    deadline: str
    changed: str
    changed_by: str
    ended: str | None
    devices: int
    settled: int
    states: dict[str, int]


class RolloutPage(BaseModel):
    items: list[RolloutOut]
    next: str | None


class PreviewWave(BaseModel):
    wave: int
    percent: int
    devices: int


class LeftOut(BaseModel):
    device: str
    reason: str


class PreviewOut(BaseModel):
    """``devices`` would get it, of which ``online`` are there now; ``skipped`` counts the others by reason, and
    ``left_out`` names the first of them."""

    release: str
    devices: int
    online: int
    waves: list[PreviewWave]
    skipped: dict[str, int]
    left_out: list[LeftOut]


class DeviceOut(BaseModel):
    """A device in a roll-out. ``version`` is what it says it runs now; ``attempts`` is how often it was given the
    manifest, last at ``offered``."""

    device: str
    name: str
    online: bool
    version: str | None
    wave: int
    state: State
    reason: str
    percent: int
    attempts: int
    offered: str | None
    changed: str
    ended: str | None


class DevicePage(BaseModel):
    items: list[DeviceOut]
    next: str | None


def render(wired: Services, one: Rollout, counts: dict[tuple[int, str], int]) -> dict[str, Any]:
    """``counts`` are its devices by wave and state."""
    release = wired.firmware.all.get(one.release)
    waves, states = [], dict[str, int]()
    for n, percent in enumerate(one.waves, 1):
        of_wave = {state: count for (wave, state), count in sorted(counts.items()) if wave == n}
        devices, settled = _numbers(of_wave)
        waves.append(
            {
                "wave": n,
                "percent": percent,
                "begun": n <= one.wave,
                "devices": devices,
                "settled": settled,
                "states": of_wave,
            }
        )
        for state, count in of_wave.items():
            states[state] = states.get(state, 0) + count
    devices, settled = _numbers(states)
    waits = one.state == RUNNING and one.wave_over_at and one.wave < len(one.waves)
    return {
        "id": one.id,
        "release": one.release,
        "version": release.version if release is not None else None,
        "board": release.board if release is not None else None,
        "state": one.state,
        "reason": one.reason,
        "by": one.by,
        "note": one.note,
        "target": one.selection,
        "waves": waves,
        "waves_begun": one.wave,
        "wave_began": iso(one.wave_at),
        "next_wave": iso(one.wave_over_at + one.wave_pause_s * 1000) if waits else None,
        "halt_percent": one.halt_percent,
        "halt_least": one.halt_least,
        "wave_pause_s": one.wave_pause_s,
        "patience_s": one.patience_s,
        "older": one.older,
        "created": iso(one.created_at),
        "deadline": iso(one.deadline_at),
        "changed": iso(one.changed_at),
        "changed_by": one.changed_by,
        "ended": iso(one.ended_at),
        "devices": devices,
        "settled": settled,
        "states": dict(sorted(states.items())),
    }


def _numbers(states: dict[str, int]) -> tuple[int, int]:
    """Devices that are to get it, and those of them that are settled."""
    devices = sum(count for state, count in states.items() if state != SKIPPED_STATE)
    return devices, devices - sum(states.get(state, 0) for state in UNSETTLED)


def render_device(wired: Services, identity: Identity, one: Progress) -> dict[str, Any]:
    device = wired.registry.get(one.device)
    # Whoever began it may have lost the right since.
    if device is not None and wired.auth.people.right(identity, device) < Right.VIEW:
        device = None
    return {
        "device": one.device,
        "name": device.name if device is not None else "",
        "online": device is not None and wired.online(device),
        "version": (board_of(device.attributes).version or None) if device is not None else None,
        "wave": one.wave,
        "state": one.state,
        "reason": one.reason,
        "percent": one.percent,
        "attempts": one.attempts,
        "offered": iso(one.issued * 1000),
        "changed": iso(one.changed_at),
        "ended": iso(one.ended_at),
    }
