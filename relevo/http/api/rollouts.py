"""``/api/v1/rollouts``: a release goes to many devices in waves (:mod:`relevo.domain.rollouts`)."""

from collections import Counter
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Query, Request, Response

from relevo.dispatch import new_id
from relevo.domain.accounts import Identity, Role
from relevo.domain.bulk import Selection, chosen
from relevo.domain.devices import Device
from relevo.domain.events import UpdatePlanned
from relevo.domain.grants import Right
from relevo.domain.records import Kept
from relevo.domain.releases import Release, board_of, needless, unfit
from relevo.domain.rollouts import DEVICES_MOST, Planned, Rollout, changed, check_waves, plan
from relevo.errors import Conflict, FieldError, Invalid, NotFound
from relevo.http.api.paging import decode_cursor, decode_numbers, encode_cursor
from relevo.http.api.rollout_bodies import (
    DevicePage,
    PreviewOut,
    RetryIn,
    RolloutIn,
    RolloutOut,
    RolloutPage,
    State,
    render,
    render_device,
)
from relevo.http.needs import Operator
from relevo.http.services import Services, Wired
from relevo.pipeline import Entry
from relevo.store import updates as store

router = APIRouter(prefix="/api/v1/rollouts", tags=["firmware"])

OPEN_MOST: Final = 50
_NAMED_MOST: Final = 50
Id = Annotated[str, Path(max_length=64)]


def _may(identity: Identity, rollout: Rollout) -> bool:
    return identity.role is Role.ADMINISTRATOR or rollout.by == identity.name


def _find(wired: Services, identity: Identity, rollout_id: str) -> Rollout:
    found = wired.updates.all.get(rollout_id)
    if found is None or not _may(identity, found):
        raise NotFound(f"no roll-out {rollout_id!r}")
    return found


async def _shown(wired: Services, rollout: Rollout) -> dict[str, Any]:
    counts = await wired.readers.run_core(store.counts, [rollout.id])
    return render(wired, wired.updates.all.get(rollout.id, rollout), counts[rollout.id])


def _release(wired: Services, body: RolloutIn) -> Release:
    found = wired.firmware.all.get(body.release)
    if found is None:
        message = f"is {body.release[:80]!r}, which is no release"
        raise Invalid("rollout_invalid", f"release {message}", [FieldError("release", message, "rollout_invalid")])
    return found


def _target(wired: Services, identity: Identity, body: RolloutIn) -> list[Device]:
    """The devices that are meant. Raises :class:`Invalid`, naming the field."""
    mine = [one for one in wired.registry.all() if wired.auth.people.right(identity, one) >= Right.CONTROL]
    target = body.target
    selection = Selection(tuple(target.devices), tuple(target.tags), target.type, target.site)
    if target.all is not selection.empty:
        message = "needs either all, or some of devices, tags, type and site"
        raise Invalid("selection_invalid", f"target {message}", [FieldError("target", message, "selection_invalid")])
    if target.all:
        if not mine or len(mine) > DEVICES_MOST:
            message = f"means {len(mine)} devices that you may control, must be 1 to {DEVICES_MOST}"
            raise Invalid(
                "selection_invalid", f"target {message}", [FieldError("target", message, "selection_invalid")]
            )
        return mine
    wanted = set(chosen(selection, mine))
    return [one for one in mine if one.id in wanted]


def _plan(wired: Services, rollout_id: str, body: RolloutIn, release: Release, devices: list[Device]) -> list[Planned]:
    def why_not(device: Device) -> str:
        if wired.updates.has(device.id):
            return "busy"
        board = board_of(device.attributes)
        return unfit(release, board) or needless(release, board, body.older)

    return plan(rollout_id, body.waves, ((one.id, why_not(one)) for one in devices))


@router.post("/preview", response_model=PreviewOut)
async def preview(wired: Wired, identity: Operator, body: RolloutIn) -> dict[str, Any]:
    """What a roll-out would do at this moment: nothing is kept."""
    check_waves(body.waves)
    release = _release(wired, body)
    planned = _plan(wired, new_id(), body, release, _target(wired, identity, body))
    taken = [one for one in planned if not one.skipped]
    left = [one for one in planned if one.skipped]
    sizes = Counter(one.wave for one in taken)
    return {
        "release": release.id,
        "devices": len(taken),
        "online": sum(wired.presence.online(one.device) for one in taken),
        "waves": [{"wave": n, "percent": one, "devices": sizes[n]} for n, one in enumerate(body.waves, 1)],
        "skipped": dict(sorted(Counter(one.skipped for one in left).items())),
        "left_out": [{"device": one.device, "reason": one.skipped} for one in left[:_NAMED_MOST]],
    }


@router.post("", response_model=RolloutOut, status_code=201)
async def begin(
    request: Request, response: Response, wired: Wired, identity: Operator, body: RolloutIn
) -> dict[str, Any]:
    """Begin a roll-out to devices that you may control; the first wave goes at once."""
    check_waves(body.waves)
    updates = wired.updates
    async with updates.turn:
        release = _release(wired, body)
        if len(updates.open) >= OPEN_MOST:
            raise Conflict(f"there are {OPEN_MOST} open roll-outs, which is the limit")
        now = wired.clock.now_ms()
        rollout = Rollout(
            new_id(), release.id, identity.name, body.note, body.target.model_dump(), body.waves, body.halt_percent,
            body.halt_least, body.wave_pause_s, body.patience_s, body.older, now, now + body.deadline_s * 1000,
            changed_at=now, changed_by=identity.name,
        )  # fmt: skip
        planned = _plan(wired, rollout.id, body, release, _target(wired, identity, body))
        if not any(not one.skipped or one.skipped == "unknown_board" for one in planned):
            reasons = ", ".join(sorted({one.skipped for one in planned}))
            message = f"has no device that could get it ({reasons}); the preview says which"
            raise Invalid("rollout_invalid", f"target {message}", [FieldError("target", message, "rollout_invalid")])
        entries: list[Entry] = [
            UpdatePlanned(one.device, now, rollout.id, release.id, one.wave, one.skipped) for one in planned
        ]
        detail = {"release": release.id, "devices": sum(not one.skipped for one in planned)}
        audited = wired.audited(request, identity, "rollout.create", rollout.id, detail)
        await wired.pipeline.accept([*entries, Kept(rollout), changed(rollout, now), audited])
    response.headers["Location"] = f"/api/v1/rollouts/{rollout.id}"
    return await _shown(wired, rollout)


@router.get("", response_model=RolloutPage)
async def page(
    wired: Wired,
    identity: Operator,
    state: Annotated[
        Literal["", "open", "running", "paused", "halted", "done", "cancelled"], Query(description="`open`: not over.")
    ] = "",
    release: Annotated[str, Query(max_length=80)] = "",
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: str | None = None,
) -> dict[str, Any]:
    """Your roll-outs, administrators see all; the newest first."""
    before = decode_cursor(cursor, 2)
    found = [
        one
        for one in wired.updates.all.values()
        if _may(identity, one)
        and (not release or one.release == release)
        and (not state or one.state == state or (state == "open" and one.is_open))
    ]
    found.sort(key=lambda one: (one.created_at, one.id), reverse=True)
    if before is not None:
        after = decode_numbers(encode_cursor(before[0]), 1)
        found = [one for one in found if after and (one.created_at, one.id) < (after[0], before[1])]
    shown = found[:limit]
    counts = await wired.readers.run_core(store.counts, [one.id for one in shown])
    following = encode_cursor(shown[-1].created_at, shown[-1].id) if len(found) > limit else None
    return {"items": [render(wired, one, counts[one.id]) for one in shown], "next": following}


@router.get("/{rollout_id}", response_model=RolloutOut)
async def one(wired: Wired, identity: Operator, rollout_id: Id) -> dict[str, Any]:
    """How far it is, wave by wave."""
    return await _shown(wired, _find(wired, identity, rollout_id))


@router.get("/{rollout_id}/devices", response_model=DevicePage)
async def devices(
    wired: Wired,
    identity: Operator,
    rollout_id: Id,
    state: Annotated[list[State], Query(max_length=16, description="Repeat it for several.")] = [],  # noqa: B006
    wave: Annotated[int, Query(ge=0, le=100)] = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    cursor: str | None = None,
) -> dict[str, Any]:
    """Device by device, in the order of the waves."""
    rollout = _find(wired, identity, rollout_id)
    after = decode_numbers(cursor, 1)
    found = await wired.readers.run_core(
        store.page, rollout.id, limit + 1, after[0] if after else 0, tuple(state), wave
    )
    following = encode_cursor(found[limit - 1][0]) if len(found) > limit else None
    return {"items": [render_device(wired, identity, one) for _, one in found[:limit]], "next": following}


@router.post("/{rollout_id}/pause", response_model=RolloutOut)
async def pause(request: Request, wired: Wired, identity: Operator, rollout_id: Id) -> dict[str, Any]:
    """Offer nothing more for now; a board that is on trial goes on. 409 when it is not running."""
    rollout = _find(wired, identity, rollout_id)
    audited = wired.audited(request, identity, "rollout.pause", rollout.id)
    return await _shown(wired, await wired.rollouts.pause(rollout, identity.name, [audited]))


@router.post("/{rollout_id}/resume", response_model=RolloutOut)
async def resume(request: Request, wired: Wired, identity: Operator, rollout_id: Id) -> dict[str, Any]:
    """Go on after a pause or a halt; what failed before a halt is judged no more. 409 when it is running or over."""
    rollout = _find(wired, identity, rollout_id)
    audited = wired.audited(request, identity, "rollout.resume", rollout.id)
    return await _shown(wired, await wired.rollouts.resume(rollout, identity.name, [audited]))


@router.post("/{rollout_id}/cancel", response_model=RolloutOut)
async def cancel(request: Request, wired: Wired, identity: Operator, rollout_id: Id) -> dict[str, Any]:
    """End it for all devices that are not settled. 409 when it is over."""
    rollout = _find(wired, identity, rollout_id)
    audited = wired.audited(request, identity, "rollout.cancel", rollout.id)
    return await _shown(wired, await wired.rollouts.cancel(rollout, identity.name, [audited]))


@router.post("/{rollout_id}/retry", response_model=RolloutOut)
async def retry(
    request: Request, wired: Wired, identity: Operator, rollout_id: Id, body: RetryIn | None = None
) -> dict[str, Any]:
    """Let devices that did not get it wait once more, also those of a roll-out that is over."""
    wanted = body or RetryIn()
    async with wired.updates.turn:
        rollout = _find(wired, identity, rollout_id)
        _still_there(wired, rollout)
        now = wired.clock.now_ms()
        deadline_at = now + wanted.deadline_s * 1000 if wanted.deadline_s else rollout.deadline_at
        if deadline_at <= now:
            message = "is needed, because the deadline of the roll-out has passed"
            raise Invalid(
                "rollout_invalid", f"deadline_s {message}", [FieldError("deadline_s", message, "rollout_invalid")]
            )
        whole = await wired.readers.run_core(store.load, [rollout.id])
        named = set(wanted.devices)
        found = [one for one in whole if one.state in wanted.states and (not named or one.device in named)]
        detail = {"states": list(wanted.states), "devices": len(found)}
        audited = wired.audited(request, identity, "rollout.retry", rollout.id, detail)
        later, count = await wired.rollouts.retry(rollout, identity.name, found, whole, deadline_at, [audited])
        if not count:
            raise Conflict(
                f"no device of the roll-out is {' or '.join(wanted.states)} and free: another roll-out may have it"
            )
    return await _shown(wired, later)


def _still_there(wired: Services, rollout: Rollout) -> None:
    if rollout.release not in wired.firmware.all:
        raise Conflict(f"the release {rollout.release} is gone")
