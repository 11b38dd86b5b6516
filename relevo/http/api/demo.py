"""``/api/v1/demo``: simulated devices to try things out with, and to be rid of again."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel

from relevo.domain.devices import Device
from relevo.http.api.devices import removal
from relevo.http.needs import Administrator
from relevo.http.services import Services, Wired
from relevo.pipeline import Entry

router = APIRouter(prefix="/api/v1", tags=["system"])

# What the simulator tags its devices with.
TAG: Final = "demo"


class DemoOut(BaseModel):
    """Whether the demo's devices live now, and the ids of those that are registered.

    ``error`` is why they ended, empty when nothing went wrong.
    """

    running: bool
    devices: list[str]
    error: str


def _registered(wired: Services) -> list[Device]:
    """By id."""
    found = (wired.registry.find(*identity) for identity in wired.demo.identities())
    # One of that name without the tag is somebody's own.
    return sorted((one for one in found if one is not None and TAG in one.tags), key=lambda one: one.id)


def _standing(wired: Services) -> dict[str, Any]:
    devices = [one.id for one in _registered(wired)]
    return {"running": wired.demo.running, "devices": devices, "error": wired.demo.error}


@router.get("/demo", response_model=DemoOut)
async def get_demo(wired: Wired, identity: Administrator) -> dict[str, Any]:
    """Whether the demo's devices are there."""
    return _standing(wired)


@router.post("/demo", response_model=DemoOut)
async def start_demo(request: Request, wired: Wired, identity: Administrator) -> dict[str, Any]:
    """Let a dozen simulated devices live until they are ended or the server is; harmless while they do.

    They are registered as the first administrator's, tagged `demo`, and speak MQTT to this server as boards would.
    """
    wired.demo.start()
    wired.audit(request, identity, "demo.start", "demo")
    return _standing(wired)


@router.delete("/demo", response_model=DemoOut)
async def stop_demo(
    request: Request,
    wired: Wired,
    identity: Administrator,
    remove: Annotated[bool, Query(description="Remove their devices too, with everything they sent.")] = False,
) -> dict[str, Any]:
    """End the demo's devices; harmless when they are not there."""
    await wired.demo.stop()
    wired.audit(request, identity, "demo.stop", "demo", {"remove": remove})
    entries: list[Entry] = []
    for device in _registered(wired) if remove else []:
        entries += removal(wired, device, identity.name)
        entries.append(wired.audited(request, identity, "device.delete", device.id))
    if entries:
        await wired.pipeline.accept(entries)
    return _standing(wired)
