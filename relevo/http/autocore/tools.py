"""What tools ask (contract autocore, section 3.2): past values, events, health, and the MQTT door."""

from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from relevo import __version__
from relevo.dialects.autocore import commands
from relevo.errors import Invalid, NotFound
from relevo.http.api.times import iso
from relevo.http.autocore.publishing import publish
from relevo.http.autocore.shapes import answer, boards, find, limit_of, wrong
from relevo.http.description import json_body
from relevo.http.needs import OfBoards, Operator, Viewer
from relevo.http.services import services_of
from relevo.http.waiting import while_waited_for
from relevo.store import timeline
from relevo.wire.strict_json import loads_object

router = APIRouter(prefix="/api", tags=["autocore"])

_LIMIT, _LIMIT_MOST = 100, 1_000
_IDS_A_TIME: Final = 1_000
_BY_LIMIT: Final[dict[str, Any]] = {
    "parameters": [
        {
            "in": "query",
            "name": "limit",
            "required": False,
            "schema": {"type": "integer", "minimum": 1, "maximum": _LIMIT_MOST, "default": _LIMIT},
            "description": "Most lines.",
        }
    ]
}
_PUBLISH: Final = json_body(
    {
        "topic": {"type": "string", "maxLength": 128},
        "payload": {"type": "object"},
        "qos": {"type": "integer", "minimum": 0, "maximum": 1, "default": 1},
    },
    ["topic", "payload"],
)


@router.get("/telemetry/{ref}", summary="Values of a board, newest first", openapi_extra=_BY_LIMIT)
async def telemetry(request: Request, identity: OfBoards, ref: str) -> Response:
    """``{ref}`` is an ``id`` or a uuid; ``data_value`` is a text."""
    wired = services_of(request)
    device = find(wired, request, identity, ref)
    most = limit_of(request, _LIMIT, _LIMIT_MOST)
    units = device.attributes.get("units")
    units = units if isinstance(units, dict) else {}
    lines: list[dict[str, Any]] = []
    found = await while_waited_for(request, wired.history.newest(device.id, most, device.registered_seq))
    left: dict[int, int] = {}
    for ts, key, _, value in found:
        # However many are asked for, each has the same number.
        n = left[ts] = left.get(ts, _IDS_A_TIME) - 1
        kind, text = _said(value)
        lines.append(
            {
                "id": ts * _IDS_A_TIME + n,
                "timestamp": iso(ts),
                "data_type": kind,
                "data_key": key,
                "data_value": text,
                "unit": units.get(key),
            }
        )
    return answer(lines)


def _said(value: Any) -> tuple[str, str]:
    if type(value) is bool:
        return "boolean", "true" if value else "false"
    return ("number" if type(value) in (int, float) else "string"), str(value)


@router.get("/events", summary="What happened to boards, newest first", openapi_extra=_BY_LIMIT)
async def events(request: Request, identity: OfBoards) -> Response:
    """Of those that one may view."""
    wired = services_of(request)
    most = limit_of(request, _LIMIT, _LIMIT_MOST)
    theirs = {one.id: one for one in boards(wired, identity)}
    rows = await wired.readers.run_core(timeline.newest, list(theirs), most)
    return answer(
        [
            {
                "id": row["id"],
                "timestamp": iso(row["at"]),
                "event_type": row["kind"],
                "source": row["place"] or "server",
                "device_id": theirs[row["device"]].registered_seq,
                "device_uuid": theirs[row["device"]].external_id,
                "reason": row["reason"] or None,
                "message": row["detail"],
                "count": row["count"],
            }
            for row in rows
        ]
    )


@router.get(
    "/config/full",
    summary="The screens of a display",
    responses={404: {"description": "Screens are not offered"}},
)
async def screens(identity: Viewer) -> Response:
    """There are none here, which the contract allows: 404."""
    raise NotFound("Screens are not offered")


@router.get("/config/full/{uuid}", summary="The screens of one display")
async def screens_of(identity: Viewer, uuid: str) -> Response:
    """As for all of them."""
    raise NotFound("Screens are not offered")


@router.get("/health", summary="Whether the server lives")
async def health(request: Request, identity: Viewer) -> Response:
    wired = services_of(request)
    well = not wired.ready()
    body = {"status": "healthy" if well else "unhealthy", "service": "relevo", "timestamp": iso(wired.clock.now_ms())}
    return answer(body, 200 if well else 503)


@router.get("/status", summary="How the server is")
async def status(request: Request, identity: OfBoards) -> Response:
    """``devices_online`` counts the boards that one may view."""
    wired = services_of(request)
    return answer(
        {
            "status": "online",
            "version": __version__,
            "database": "connected" if wired.figures()["store"]["state"] == "ok" else "disconnected",
            "devices_online": sum(wired.online(one) for one in boards(wired, identity)),
            "timestamp": iso(wired.clock.now_ms()),
        }
    )


@router.get("/mqtt/status", summary="How the MQTT door is")
async def mqtt_status(request: Request, identity: Operator) -> Response:
    wired = services_of(request)
    return answer(wired.mqtt_standing(request.url.hostname or ""))


@router.get("/mqtt/topics", summary="Topics of boards that were used of late")
async def topics(request: Request, identity: Operator) -> Response:
    """Newest last; those of boards that one may not view stay out."""
    wired = services_of(request)
    found = [topic for topic in wired.monitor.topics if wired.may_watch(identity, topic)]
    return answer({"topics": found, "count": len(found)})


@router.post("/mqtt/clear", summary="Forget the messages that the monitor shows")
async def clear(request: Request, identity: Operator) -> Response:
    wired = services_of(request)
    count = wired.monitor.clear()
    wired.audit(request, identity, "mqtt.clear", "monitor", {"messages": count})
    return answer({"status": "cleared", "messages": count, "timestamp": iso(wired.clock.now_ms())})


@router.post("/mqtt/publish", summary="Publish to boards", openapi_extra=_PUBLISH)
async def send(request: Request, identity: Operator) -> Response:
    """Below the contract's root alone, 400 otherwise; 409 for a relay that another excludes."""
    wired = services_of(request)
    body = loads_object(await request.body())
    topic, qos = body.get("topic"), body.get("qos", 1)
    if type(topic) is not str or not topic:
        raise wrong("topic", "must be a text")
    if type(qos) is not int or qos not in (0, 1):
        raise wrong("qos", "must be 0 or 1")
    try:
        asked = await publish(request, wired, identity, topic, body.get("payload"), qos)
    except Invalid as problem:
        if problem.reason == "topic_not_allowed":
            return answer({"detail": problem.message}, 400)
        raise
    now = iso(wired.clock.now_ms())
    sent = {"status": "published", "topic": topic, "protocol_version": commands.PROTOCOL, "timestamp": now}
    return answer(sent | ({"commands": asked} if asked else {}))
