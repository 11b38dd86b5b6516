"""``/api/v1/devices/bulk``: changes to many devices at once, each told what became of it."""

from collections.abc import Callable
from typing import Annotated, Any, Final

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from relevo.domain.accounts import Identity
from relevo.domain.devices import Device
from relevo.domain.events import DeviceChanged
from relevo.domain.grants import Right
from relevo.errors import FieldError, Forbidden, Invalid, NotFound
from relevo.http.api.devices import check_storable, removal
from relevo.http.api.fleet import Filter, fitting
from relevo.http.needs import OfDevices
from relevo.http.services import Services, Wired
from relevo.pipeline import Entry

router = APIRouter(prefix="/api/v1", tags=["devices"])

BULK_MOST: Final = 1_000
TAGS_MOST: Final = 32
# Devices in one submission: others' readings commit in between.
_TOGETHER: Final = 100

Tag = Annotated[str, Field(min_length=1, max_length=64)]
Id = Annotated[str, Field(min_length=1, max_length=64)]


class BulkChange(BaseModel):
    """Either ``devices`` or ``filter`` says which; tags are added and removed, the others replaced."""

    model_config = ConfigDict(extra="forbid")

    devices: list[Id] | None = Field(default=None, min_length=1, max_length=BULK_MOST)
    filter: Filter | None = None
    add_tags: list[Tag] = Field(default=[], max_length=TAGS_MOST)
    remove_tags: list[Tag] = Field(default=[], max_length=TAGS_MOST)
    site: str | None = Field(default=None, max_length=64)
    type: str | None = Field(default=None, min_length=1, max_length=64)


class BulkRemoval(BaseModel):
    """Each device by its id: no filter removes anything."""

    model_config = ConfigDict(extra="forbid")

    devices: list[Id] = Field(min_length=1, max_length=BULK_MOST)


class Result(BaseModel):
    """``state`` is `changed`, `unchanged`, `removed` or `refused`, the last with a reason and a sentence."""

    device: str
    state: str
    reason: str = ""
    detail: str = ""


class Results(BaseModel):
    """One for each device, in the order in which they were named."""

    items: list[Result]
    changed: int
    refused: int


def _refused(device_id: str, reason: str, detail: str) -> dict[str, str]:
    return {"device": device_id, "state": "refused", "reason": reason, "detail": detail}


def _own(
    request: Request, wired: Services, identity: Identity, device_id: str, what: str
) -> tuple[Device | None, dict[str, str]]:
    try:
        return wired.auth.device_for(identity, device_id, Right.OWN), {}
    except NotFound as error:
        return None, _refused(device_id, "not_found", str(error))
    except Forbidden as error:
        wired.refuse_person(request, identity, device_id, f"{what} needs the right to OWN")
        return None, _refused(device_id, "not_allowed", str(error))


@router.post("/devices/bulk", response_model=Results)
async def change_many(request: Request, wired: Wired, identity: OfDevices, body: BulkChange) -> dict[str, Any]:
    """Change tags, site or type of many devices of one's own; what is refused keeps nothing else back."""
    if (body.devices is None) is (body.filter is None):
        message = "give either devices or filter"
        raise Invalid("selection_invalid", message, [FieldError("devices", message, "selection_invalid")])
    if not (body.add_tags or body.remove_tags or body.site is not None or body.type is not None):
        message = "nothing to change: give add_tags, remove_tags, site or type"
        raise Invalid("empty", message, [FieldError("body", message)])
    check_storable([*body.add_tags, *body.remove_tags, body.site or "", body.type or ""], "body")
    if body.filter is not None:
        ids = [one.id for one in fitting(wired, identity, body.filter)]
        if len(ids) > BULK_MOST:
            message = f"filter fits {len(ids)} devices, the limit is {BULK_MOST}"
            raise Invalid("too_many_devices", message, [FieldError("filter", message, "too_many_devices")])
    else:
        ids = list(dict.fromkeys(body.devices or ()))

    def prepare(device: Device) -> tuple[list[Entry], dict[str, str]]:
        changes: dict[str, Any] = {}
        tags = [one for one in device.tags if one not in body.remove_tags]
        tags += [one for one in dict.fromkeys(body.add_tags) if one not in tags]
        if len(tags) > TAGS_MOST:
            return [], _refused(device.id, "too_many_tags", f"would have {len(tags)} tags, the limit is {TAGS_MOST}")
        if tags != device.tags:
            changes["tags"] = tags
        if body.site is not None and body.site != device.site:
            changes["site"] = body.site
        if body.type is not None and body.type != device.type:
            changes["type"] = body.type
        if not changes:
            return [], {"device": device.id, "state": "unchanged"}
        told = wired.audited(request, identity, "device.change", device.id, {"changes": sorted(changes)})
        event = DeviceChanged(device.id, wired.clock.now_ms(), changes, identity.name)
        return [event, told], {"device": device.id, "state": "changed"}

    return await _each(request, wired, identity, ids, "changing", prepare)


@router.post("/devices/bulk/remove", response_model=Results)
async def remove_many(request: Request, wired: Wired, identity: OfDevices, body: BulkRemoval) -> dict[str, Any]:
    """Remove devices of one's own with everything that is theirs, each named by its id."""

    def prepare(device: Device) -> tuple[list[Entry], dict[str, str]]:
        told = wired.audited(request, identity, "device.delete", device.id)
        entries: list[Entry] = [*removal(wired, device, identity.name), told]
        return entries, {"device": device.id, "state": "removed"}

    return await _each(request, wired, identity, list(dict.fromkeys(body.devices)), "removing", prepare)


async def _each(
    request: Request,
    wired: Services,
    identity: Identity,
    ids: list[str],
    what: str,
    prepare: Callable[[Device], tuple[list[Entry], dict[str, str]]],
) -> dict[str, Any]:
    """Do with each device what ``prepare`` says, as the device is at that moment."""
    items: list[dict[str, str]] = []
    for start in range(0, len(ids), _TOGETHER):
        entries: list[Entry] = []
        begins: list[tuple[int, int]] = []
        for device_id in ids[start : start + _TOGETHER]:
            device, result = _own(request, wired, identity, device_id, what)
            if device is not None:
                more, result = prepare(device)
                if more:
                    begins.append((len(entries), len(items)))
                    entries += more
            items.append(result)
        if entries:
            lost = set((await wired.pipeline.accept(entries)).lost)
            for n, (first, at) in enumerate(begins):
                end = begins[n + 1][0] if n + 1 < len(begins) else len(entries)
                if lost.intersection(range(first, end)):
                    items[at] = _refused(items[at]["device"], "not_stored", "could not be stored")
    refused = sum(one["state"] == "refused" for one in items)
    changed = sum(one["state"] in ("changed", "removed") for one in items)
    return {"items": items, "changed": changed, "refused": refused}
