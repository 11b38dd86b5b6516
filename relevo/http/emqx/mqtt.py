"""``/api/mqtt/…/``: brokers, topics, accounts, settings and rules of devices (contract emqx, section 4).

The table of resources is :mod:`relevo.http.emqx.resources`; here are the paths. Somebody's role is looked at before
anything else of a request.
"""

from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Path, Request
from starlette.convertors import Convertor, register_url_convertor
from starlette.responses import JSONResponse, Response

from relevo.domain.accounts import Identity
from relevo.domain.book import CONTRACT
from relevo.domain.events import AnyEvent, DeviceConnected, DeviceDisconnected, StateReported
from relevo.domain.managed import (
    BROKERS,
    CONFIGS,
    CREDENTIALS,
    RULES,
    TOPICS,
    BrokerConfig,
    DeviceAccess,
    DeviceSettings,
    Managed,
    TopicConfig,
)
from relevo.errors import NotFound
from relevo.http.emqx import checking, lists
from relevo.http.emqx.access import ERROR, NOT_FOUND, OFFLINE, ONLINE, Ask, is_enabled, status_of
from relevo.http.emqx.fields import REQUIRED, body_of, failed, refused, whole
from relevo.http.emqx.keeping import put, remove, save
from relevo.http.emqx.resources import RESOURCES, STATES, USERS, Resource, config, rule, topic, user
from relevo.http.needs import Administrator, Operator, Viewer
from relevo.http.services import Services, Wired

router = APIRouter(prefix="/api/mqtt", tags=["emqx"])
MANAGED: Final = (BROKERS, TOPICS, CREDENTIALS, CONFIGS, USERS, RULES)
Name = Annotated[str, Path(description="What is managed.", json_schema_extra={"enum": list(MANAGED)})]
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "content": {"application/json": {"schema": {"type": "object"}}},
        "description": "Fields of the resource, see `docs/emqx.md`.",
    }
}


class _Managed(Convertor[str]):
    """Names of resources in a path; anything else there is another contract's, or nothing."""

    regex = "|".join(MANAGED)

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("managed", _Managed())


def answer(body: Any, status: int = 200) -> Response:
    return JSONResponse(body, status, {"Cache-Control": "no-store"})


def _visible(ask: Ask, resource: Resource) -> list[Managed]:
    found = ask.book.records(resource.kind)
    if not resource.mine:
        return found
    return [one for one in found if ask.right(ask.wired.registry.get(getattr(one.body, "device", "")))]


def one_of(ask: Ask, resource: Resource, number: Any) -> Managed:
    """Raises :class:`NotFound`."""
    value = whole(number)
    found = ask.book.get(resource.kind, value) if value is not None else None
    if found is None or found not in _visible(ask, resource):
        raise NotFound(NOT_FOUND)
    return found


def _filtered(ask: Ask, resource: Resource, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    request, names = ask.request, {field.name for field in resource.fields}
    if lists.switch_asked(request, "active_only"):
        found = [one for one in found if one.get("is_active", True)]
    for name in ("protocol", "tipo", "connection_status", "estado", "action", "permission"):
        wanted = request.query_params.get(name, "")
        if wanted and (name in names or (name == "connection_status" and resource.kind == CONFIGS)):
            found = [one for one in found if one.get(name) == wanted]
    for name in ("qos", "dispositivo", "broker"):
        number = lists.number_asked(request, name)
        if number is not None and name in names:
            found = [one for one in found if one.get(name) == number]
    return found


def listed(ask: Ask, resource: Resource) -> list[dict[str, Any]]:
    """Everything of a resource that the asker may see, filtered, searched and ordered as they want."""
    found = [resource.render(ask, one, False) for one in _visible(ask, resource)]
    found = lists.searched(ask.request, _filtered(ask, resource, found), resource.searched)
    names = [*(found[0] if found else ())]
    return lists.ordered(ask.request, found, names, resource.ordering)


# The paths that are not a resource come first.


@router.get("/device-status/", summary="How many devices are there")
async def device_status(wired: Wired, identity: Viewer) -> dict[str, Any]:
    """Counted over devices with MQTT enabled."""
    states = [status_of(wired, one) for one in wired.registry.of_contract(CONTRACT) if is_enabled(one)]
    total, online = len(states), states.count(ONLINE)
    return {
        "total_mqtt_devices": total,
        "online": online,
        "offline": states.count(OFFLINE),
        "error": states.count(ERROR),
        "percentage_online": round(online / total * 100, 2) if total else 0.0,
    }


@router.post("/test-connection/", summary="Connect to a stored broker", openapi_extra=_BODY)
async def test_connection(request: Request, wired: Wired, identity: Operator) -> Response:
    """``{"broker_id", "timeout"}``; 200 also when it fails, with ``success`` false."""
    return answer(await checking.check(Ask(request, wired, identity), await body_of(request)))


@router.get("/{resource:managed}/", summary="All of what is managed")
async def all_of(request: Request, wired: Wired, identity: Operator, resource: Name) -> Response:
    """Pages of 50: ``?page=``, ``?search=``, ``?ordering=`` and the filters of the resource."""
    ask = Ask(request, wired, identity)
    found = listed(ask, RESOURCES[resource])
    return answer(lists.paged(request, found, lambda one: one))


@router.post("/{resource:managed}/", status_code=201, summary="Make one", openapi_extra=_BODY)
async def create(request: Request, wired: Wired, identity: Administrator, resource: Name) -> Response:
    """201; 400 names every wrong field."""
    ask, found = Ask(request, wired, identity), RESOURCES[resource]
    made = await save(ask, found, await body_of(request), None, False)
    return answer(found.render(ask, made, True), 201)


@router.get("/{resource:managed}/{number}/", summary="One of what is managed")
async def one(request: Request, wired: Wired, identity: Operator, resource: Name, number: str) -> Response:
    """A few words in the place of the number are lists of their own: `publish-topics`, `by-device`."""
    ask, found = Ask(request, wired, identity), RESOURCES[resource]
    special = _LISTS.get((found.kind, number))
    if special is not None:
        return answer(special(ask))
    return answer(found.render(ask, one_of(ask, found, number), True))


async def _change(request: Request, wired: Services, identity: Identity, resource: Name, number: str) -> Response:
    ask, found = Ask(request, wired, identity), RESOURCES[resource]
    before = one_of(ask, found, number)
    made = await save(ask, found, await body_of(request), before, request.method == "PATCH")
    return answer(found.render(ask, made, True))


@router.put("/{resource:managed}/{number}/", summary="Replace one", openapi_extra=_BODY)
async def replace(request: Request, wired: Wired, identity: Administrator, resource: Name, number: str) -> Response:
    """Needs what is required; of what is absent nothing changes."""
    return await _change(request, wired, identity, resource, number)


@router.patch("/{resource:managed}/{number}/", summary="Change one", openapi_extra=_BODY)
async def change(request: Request, wired: Wired, identity: Administrator, resource: Name, number: str) -> Response:
    return await _change(request, wired, identity, resource, number)


@router.delete("/{resource:managed}/{number}/", status_code=204, summary="Remove one")
async def delete(request: Request, wired: Wired, identity: Administrator, resource: Name, number: str) -> Response:
    """With what cannot be without it."""
    ask, found = Ask(request, wired, identity), RESOURCES[resource]
    await remove(ask, one_of(ask, found, number))
    return Response(status_code=204)


@router.post("/{resource:managed}/{number}/", summary="Make one with what belongs to it", openapi_extra=_BODY)
async def create_more(request: Request, wired: Wired, identity: Administrator, resource: Name, number: str) -> Response:
    """`emqx-users/create-with-acl/`."""
    ask, found = Ask(request, wired, identity), RESOURCES[resource]
    if found is not RESOURCES[USERS] or number != "create-with-acl":
        raise NotFound(NOT_FOUND)
    return answer(await _with_acl(ask, await body_of(request)), 201)


@router.post("/{resource:managed}/{number}/{action}/", summary="Do something with one", openapi_extra=_BODY)
async def act(
    request: Request, wired: Wired, identity: Administrator, resource: Name, number: str, action: str
) -> Response:
    """`activate`, `deactivate`, `update-connection-status`, `change-password`; underscores mean the same."""
    ask, found = Ask(request, wired, identity), RESOURCES[resource]
    record = one_of(ask, found, number)
    if action in ("activate", "deactivate") and found.kind == BROKERS:
        return answer(await _activate(ask, record, action == "activate"))
    if action == "update-connection-status" and found.kind == CONFIGS:
        return answer(await _update_status(ask, record, await body_of(request)))
    if action == "change-password" and found.kind == CREDENTIALS:
        return answer(await _change_password(ask, record, await body_of(request)))
    raise NotFound(NOT_FOUND)


# Lists with names


def _topics(ask: Ask, direction: str) -> list[dict[str, Any]]:
    found = ask.book.records(TOPICS)
    return [
        topic(ask, one) for one in found if isinstance(one.body, TopicConfig) and one.body.tipo in (direction, "both")
    ]


def _of_device(ask: Ask, kind: str) -> list[Managed]:
    """Records of the device that the query names."""
    number = lists.number_asked(ask.request, "dispositivo_id")
    if number is None:
        raise failed("dispositivo_id es requerido")
    device = ask.device(number)
    return [one for one in ask.book.records(kind) if getattr(one.body, "device", "") == device.id]


_LISTS: Final = {
    (TOPICS, "publish-topics"): lambda ask: _topics(ask, "publish"),
    (TOPICS, "subscribe-topics"): lambda ask: _topics(ask, "subscribe"),
    (RULES, "by-device"): lambda ask: [rule(ask, one) for one in _of_device(ask, RULES)],
    (CREDENTIALS, "by-device"): lambda ask: [user(ask, one) for one in _of_device(ask, CREDENTIALS)],
}


# Actions


async def _activate(ask: Ask, record: Managed, active: bool) -> dict[str, Any]:
    assert isinstance(record.body, BrokerConfig)
    body = msgspec.structs.replace(record.body, is_active=active)
    await put(ask, record, body, "brokers.activate" if active else "brokers.deactivate")
    return {"message": f"Broker {body.nombre} {'activado' if active else 'desactivado'} correctamente"}


async def _update_status(ask: Ask, record: Managed, body: dict[str, Any]) -> dict[str, Any]:
    """As if the device had said so: what it does next decides again."""
    assert isinstance(record.body, DeviceSettings)
    said = body.get("status")
    if not isinstance(said, str) or said not in STATES:
        raise failed(f"Estado inválido: debe ser uno de {', '.join(STATES)}")
    device, now = record.body.device, ask.now
    status = {"connected": ONLINE, "disconnected": OFFLINE}.get(said, ERROR)
    state = StateReported(device, now, {"status": status})
    events: list[AnyEvent] = [state, *ask.wired.twins.heard(ask.wired.dialects[CONTRACT], device, state, "http", "")]
    if status == OFFLINE:
        events.append(DeviceDisconnected(device, now, "status", f"{ask.identity.name} said so"))
    else:
        events.append(DeviceConnected(device, now, "status"))
    events.append(ask.wired.audited(ask.request, ask.identity, "device-config.status", device, {"status": said}))
    await ask.wired.pipeline.accept(events)
    # Presence looks at the end of the round, and what it tells takes the road as well.
    await ask.wired.pipeline.accept([])
    await ask.wired.pipeline.accept([])
    return {"message": "Estado de conexión actualizado", "config": config(ask, record, True)}


async def _change_password(ask: Ask, record: Managed, body: dict[str, Any]) -> dict[str, Any]:
    said = body.get("password", body.get("new_password"))
    if not isinstance(said, str) or not 0 < len(said) <= 255:
        raise refused("password", REQUIRED if said in (None, "") else "Debe tener de 1 a 255 caracteres.")
    made = await save(ask, RESOURCES[CREDENTIALS], {"password": said}, record, True)
    return {"message": "Contraseña actualizada", "user": user(ask, made)}


async def _with_acl(ask: Ask, body: dict[str, Any]) -> dict[str, Any]:
    """An account for a device; what it may do follows from the device, and stands in the answer."""
    said = dict(body)
    if "dispositivo_id" in said and "dispositivo" not in said:
        said["dispositivo"] = said.pop("dispositivo_id")
    made = await save(ask, RESOURCES[USERS], said, None, False)
    assert isinstance(made.body, DeviceAccess)
    device = ask.wired.registry.get(made.body.device)
    profile = ask.book.profile(device.external_id) if device is not None else None
    rules: list[dict[str, Any]] = []
    if profile is not None:
        for action, filters in (("publish", profile.rights.publish), ("subscribe", profile.rights.subscribe)):
            rules += [{"topic": one, "action": action, "permission": "allow"} for one in filters]
        rules.append({"topic": "#", "action": "all", "permission": "deny"})
    return {"message": "Usuario creado con sus reglas", "user": user(ask, made), "acl_rules": rules}
