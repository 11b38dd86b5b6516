"""``/api/v1/why``: everything the server knows about a name, and what to do. ``relevo why`` prints it."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel

from relevo.domain.accounts import Role
from relevo.domain.devices import Device
from relevo.domain.grants import Right
from relevo.domain.reasons import advice_for, advice_for_stranger
from relevo.errors import Invalid
from relevo.http.api.devices import DeviceOut, TimelineEntry, render, timeline_page
from relevo.http.api.times import iso
from relevo.http.needs import Operator
from relevo.http.services import Services, Wired
from relevo.store import unclaimed

router = APIRouter(prefix="/api/v1", tags=["system"])

_LINES = 50
_LOOKED_THROUGH = 1_000


class Told(TimelineEntry):
    """A line of the story with what it means and what helps; empty where it explains itself."""

    means: str
    do: str


class Knocked(BaseModel):
    """An unclaimed identity that fits the name."""

    contract: str
    external_id: str
    first_seen: str | None
    last_seen: str | None
    count: int
    reason: str
    address: str
    do: str


class Why(BaseModel):
    """The answer: ``verdict`` in one or two sentences, then what it rests on, newest first."""

    about: str
    verdict: str
    device: DeviceOut | None
    story: list[Told]
    unclaimed: list[Knocked]
    door: list[Told]


def _told(entry: dict[str, Any]) -> dict[str, Any]:
    advice = advice_for(entry["kind"], entry["reason"])
    return entry | {"means": advice.means if advice else "", "do": advice.do if advice else ""}


@router.get("/why", response_model=Why)
async def why(
    wired: Wired,
    identity: Operator,
    about: Annotated[str, Query(min_length=1, max_length=128, description="Id, serial number, user name or address.")],
) -> dict[str, Any]:
    """Why does this device not appear, or not do what it should?

    Administrators also see what the doors refused under that name; others their own devices and the unclaimed.
    """
    wanted = about.strip()
    device = wired.registry.get(wanted) or next(
        (found for name in wired.dialects if (found := _by_identity(wired, name, wanted)) is not None), None
    )
    right = wired.auth.people.right(identity, device) if device is not None else Right.NONE
    shown = render(wired, device, right) if device is not None and right else None
    story = (await timeline_page(wired, shown["id"], _LINES, None))["items"] if shown else []
    knocked = [
        row
        for row in await wired.readers.run_core(unclaimed.load, _LOOKED_THROUGH)
        if wanted.casefold() in (row["external_id"].casefold(), row["address"])
    ]
    door: list[dict[str, Any]] = []
    if identity.role is Role.ADMINISTRATOR:
        door = (await timeline_page(wired, "", _LOOKED_THROUGH, None))["items"]
        door = [line for line in door if _mentions(line, wanted)][:_LINES]
    told, at_door = [_told(line) for line in story], [_told(line) for line in door]
    return {
        "about": wanted,
        "verdict": _verdict(wanted, shown, told, knocked, at_door),
        "device": shown,
        "story": told,
        "unclaimed": [
            row
            | {"first_seen": iso(row["first_seen"]), "last_seen": iso(row["last_seen"])}
            | {"do": said.do if (said := advice_for_stranger(row["reason"], row["standing"])) else ""}
            for row in knocked
        ],
        "door": at_door,
    }


def _by_identity(wired: Services, contract: str, text: str) -> Device | None:
    try:
        return wired.registry.find(contract, wired.dialects[contract].normalise_id(text))
    except Invalid:
        return None


def _mentions(line: dict[str, Any], wanted: str) -> bool:
    return line["address"] == wanted or wanted.casefold() in line["detail"].casefold()


def _verdict(
    about: str,
    device: dict[str, Any] | None,
    story: list[dict[str, Any]],
    knocked: list[dict[str, Any]],
    door: list[dict[str, Any]],
) -> str:
    if device is not None:
        last = f"last heard {device['last_seen']}" if device["last_seen"] else "never heard"
        state = f"{device['id']} is {'online' if device['online'] else 'offline'}, {last}."
        trouble = next((line for line in [*story, *door] if line["kind"] == "refused"), None)
        trouble = trouble or next((line for line in story if line["do"]), None)
        return f"{state} {_sentence(trouble)}" if trouble else f"{state} Nothing of it was refused."
    if knocked:
        one = knocked[0]
        advice = advice_for_stranger(one["reason"], one["standing"])
        said = f"{advice.means} {advice.do}" if advice else one["reason"]
        return f"{about} knocks as a {one['contract']} device and is not in the registry. {said}"
    if door:
        return f"{about} is no device here. {_sentence(door[0])}"
    return (
        f"Nothing has reached this server as {about}. Check the address and port in the board, that it is in the "
        "network, and that no firewall is between; relevo doctor looks at this side."
    )


def _sentence(line: dict[str, Any]) -> str:
    return f"{line['means']} {line['do']} ({line['where'] or line['kind']}: {line['detail']}, {line['at']})"
