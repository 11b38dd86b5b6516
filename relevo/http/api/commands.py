"""``…/devices/{id}/commands``: telling a device to do something, and what became of it.

A device without MQTT asks for its commands (``…/commands/next``) and answers them (``…/commands/{id}/response``).
"""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StrictBool

from relevo.dialects.native import check_answer, command_words, verdict_of
from relevo.dispatch import Wish
from relevo.domain.commands import KEY_LIMIT, NAME_LIMIT, TTL_LEAST_S, TTL_MOST_S, Command
from relevo.domain.devices import Device
from relevo.domain.events import DeviceAnswered
from relevo.errors import Invalid, NotFound
from relevo.http.api.paging import decode_numbers, encode_cursor
from relevo.http.api.times import iso
from relevo.http.needs import IsDevice, MayControl, MayView
from relevo.http.services import Services, Wired, address_of
from relevo.store import commands as store
from relevo.wire.strict_json import loads_object

router = APIRouter(prefix="/api/v1", tags=["commands"])

WAIT_MOST_S = 60.0
_AT_ONCE_MOST = 16
State = Literal["queued", "sent", "confirmed", "failed", "timed_out", "expired", "cancelled"]
Wait = Annotated[float, Query(ge=0, le=WAIT_MOST_S, description="Seconds to wait for the outcome.")]


class CommandIn(BaseModel):
    """What a device is to do."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=NAME_LIMIT, description="As the device's contract calls it.")
    params: dict[str, Any] = Field(default={}, max_length=64)
    ttl: float | None = Field(
        default=None,
        ge=TTL_LEAST_S,
        le=TTL_MOST_S,
        description="Seconds for which it may wait for a device that is away; it never leaves later.",
    )
    idempotency_key: str = Field(
        default="", max_length=KEY_LIMIT, description="The same key within a day is the same command."
    )
    redeliver: StrictBool = Field(
        default=False,
        description="Send it again when the connection ends before the device's MQTT client acknowledged it. Only for "
        "devices that execute an id once.",
    )


class TransitionOut(BaseModel):
    """One step; ``arrived`` is one that changes no state."""

    at: str
    state: str
    reason: str


class CommandOut(BaseModel):
    """A command and what became of it. ``by`` asked, ``origin`` is what asked on its behalf."""

    id: str
    device: str
    name: str
    params: dict[str, Any]
    state: State
    reason: str
    result: Any
    by: str
    origin: str
    created: str
    expires: str
    sent: str | None
    ended: str | None
    idempotency_key: str
    redeliver: bool
    answers: bool = Field(description="Whether the contract knows an answer; without one it stays `sent`.")
    transitions: list[TransitionOut]


class CommandPage(BaseModel):
    """Newest first."""

    items: list[CommandOut]
    next: str | None


class NextCommand(BaseModel):
    """A command as the device hears it; ``expires`` in milliseconds UTC."""

    id: str
    name: str
    params: dict[str, Any]
    expires: int


class NextCommands(BaseModel):
    """In the order in which they were asked for."""

    commands: list[NextCommand]


class Answered(BaseModel):
    """What the answer did: the command's state."""

    id: str
    state: State


def render(command: Command) -> dict[str, Any]:
    return {
        "id": command.id,
        "device": command.device,
        "name": command.name,
        "params": command.params,
        "state": command.state,
        "reason": command.reason,
        "result": command.result,
        "by": command.by,
        "origin": command.origin,
        "created": iso(command.created_at),
        "expires": iso(command.expires_at),
        "sent": iso(command.sent_at),
        "ended": iso(command.ended_at),
        "idempotency_key": command.key,
        "redeliver": command.redeliver,
        "answers": command.answer_ms > 0,
        "transitions": [{"at": iso(one.at), "state": one.state, "reason": one.reason} for one in command.transitions],
    }


@router.post(
    "/devices/{device_id}/commands",
    response_model=CommandOut,
    responses={202: {"model": CommandOut, "description": "Taken; what becomes of it is at `Location`"}},
)
async def ask(
    request: Request, response: Response, wired: Wired, held: MayControl, body: CommandIn, wait: Wait = 0
) -> dict[str, Any]:
    """Tell a device to do something. 200 with the outcome when it comes within ``wait`` seconds, otherwise 202."""
    wish = Wish(
        held.device.id,
        body.name,
        body.params,
        held.identity.name,
        "user",
        body.ttl,
        body.idempotency_key,
        body.redeliver,
    )
    audited = wired.audited(request, held.identity, "command.ask", held.device.id, {"name": body.name})
    command = await wired.dispatch.wait(await wired.dispatch.ask(wish, [audited]), wait)
    if not command.over:
        response.status_code = 202
        response.headers["Location"] = f"/api/v1/devices/{command.device}/commands/{command.id}"
    return render(command)


@router.get("/devices/{device_id}/commands", response_model=CommandPage)
async def page(
    wired: Wired,
    held: MayView,
    state: State | None = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    cursor: str | None = None,
) -> dict[str, Any]:
    """What a device was told, newest first."""
    before = decode_numbers(cursor, 1)
    found = await wired.readers.run_core(
        store.page, limit + 1, before[0] if before else None, held.device.id, "", state or ""
    )
    following = encode_cursor(found[limit - 1][0]) if len(found) > limit else None
    return {"items": [render(command) for _, command in found[:limit]], "next": following}


@router.get("/devices/{device_id}/commands/next", response_model=NextCommands)
async def following(
    wired: Wired,
    device: IsDevice,
    wait: Annotated[float, Query(ge=0, le=WAIT_MOST_S, description="Seconds to wait for the first.")] = 0,
    limit: Annotated[int, Query(ge=1, le=_AT_ONCE_MOST)] = _AT_ONCE_MOST,
) -> dict[str, Any]:
    """The commands that wait for the device that asks; each is given once. For devices without MQTT."""
    found = await wired.dispatch.take(device.id, wait, limit)
    return {"commands": [command_words(command) for command in found]}


@router.get("/devices/{device_id}/commands/{command_id}", response_model=CommandOut)
async def one(
    wired: Wired, held: MayView, command_id: Annotated[str, Path(max_length=64)], wait: Wait = 0
) -> dict[str, Any]:
    """One command; with ``wait`` as soon as it is over."""
    return render(await wired.dispatch.wait(await _find(wired, held.device, command_id), wait))


@router.delete("/devices/{device_id}/commands/{command_id}", response_model=CommandOut)
async def cancel(
    request: Request, wired: Wired, held: MayControl, command_id: Annotated[str, Path(max_length=64)]
) -> dict[str, Any]:
    """Take a command back that has not left yet; 409 for any other."""
    command = await _find(wired, held.device, command_id)
    audited = wired.audited(request, held.identity, "command.cancel", held.device.id, {"command": command_id})
    await wired.dispatch.cancel(command, held.identity.name, [audited])
    return render(command)


@router.post("/devices/{device_id}/commands/{command_id}/response", response_model=Answered)
async def answer(
    request: Request, wired: Wired, device: IsDevice, command_id: Annotated[str, Path(max_length=64)]
) -> dict[str, Any]:
    """The device answers: ``{"ok": true, "result": …}`` or ``{"ok": false, "error": …}``."""
    try:
        said = check_answer(loads_object(await request.body()) | {"id": command_id})
    except Invalid as problem:
        wired.intake.refuse(device.contract, device.external_id, "http", problem, address_of(request))
        raise
    command = await _find(wired, device, command_id)
    event = DeviceAnswered(device.id, wired.clock.now_ms(), said)
    await wired.pipeline.accept([event, *wired.dispatch.settle(command, verdict_of(said))])
    now = await wired.dispatch.find(command_id) or command
    return {"id": command_id, "state": now.state}


async def _find(wired: Services, device: Device, command_id: str) -> Command:
    command = await wired.dispatch.find(command_id)
    if command is None or command.device != device.id:
        raise NotFound(f"device {device.id!r} has no command {command_id!r}")
    return command
