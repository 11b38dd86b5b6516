"""``/api/sensors/``: what measures (contract emqx, section 5)."""

from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from relevo.domain.managed import SENSORS
from relevo.http.description import OBJECT_BODY
from relevo.http.emqx import lists
from relevo.http.emqx.access import Ask
from relevo.http.emqx.fields import body_of
from relevo.http.emqx.keeping import remove, save
from relevo.http.emqx.mqtt import answer, listed, one_of
from relevo.http.emqx.resources import RESOURCES
from relevo.http.needs import Administrator, Viewer
from relevo.http.services import Wired

router = APIRouter(prefix="/api/sensors", tags=["emqx"])
_OF: Final = RESOURCES[SENSORS]


@router.get("/", summary="All sensors")
async def all_sensors(request: Request, wired: Wired, identity: Viewer) -> Response:
    """Pages of 50; filters `tipo` and `estado`."""
    return answer(lists.paged(request, listed(Ask(request, wired, identity), _OF), lambda one: one))


@router.post("/", status_code=201, summary="Add a sensor", openapi_extra=OBJECT_BODY)
async def create(request: Request, wired: Wired, identity: Administrator) -> Response:
    ask = Ask(request, wired, identity)
    return answer(_OF.render(ask, await save(ask, _OF, await body_of(request), None, False), True), 201)


@router.get("/{number}/", summary="One sensor")
async def one_sensor(request: Request, wired: Wired, identity: Viewer, number: str) -> Response:
    ask = Ask(request, wired, identity)
    return answer(_OF.render(ask, one_of(ask, _OF, number), True))


@router.put("/{number}/", summary="Replace a sensor's properties", openapi_extra=OBJECT_BODY)
async def replace(request: Request, wired: Wired, identity: Administrator, number: str) -> Response:
    ask = Ask(request, wired, identity)
    made = await save(ask, _OF, await body_of(request), one_of(ask, _OF, number), False)
    return answer(_OF.render(ask, made, True))


@router.patch("/{number}/", summary="Change a sensor's properties", openapi_extra=OBJECT_BODY)
async def change(request: Request, wired: Wired, identity: Administrator, number: str) -> Response:
    ask = Ask(request, wired, identity)
    made = await save(ask, _OF, await body_of(request), one_of(ask, _OF, number), True)
    return answer(_OF.render(ask, made, True))


@router.delete("/{number}/", status_code=204, summary="Remove a sensor")
async def delete(request: Request, wired: Wired, identity: Administrator, number: str) -> Response:
    """Its readings stay."""
    ask = Ask(request, wired, identity)
    await remove(ask, one_of(ask, _OF, number))
    return Response(status_code=204)
