"""Signing in, readings and commands over HTTP: ``/api/login``, ``/api/data``, ``/api/cmd``, ``/api/debug/history-size``
(contract hidrometro, section 4)."""

from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from relevo.dialect import Decoded
from relevo.dialects.hidrometro import Hidrometro
from relevo.dispatch import Wish
from relevo.domain.accounts import Identity, Role
from relevo.domain.commands import QUEUED
from relevo.domain.devices import Device
from relevo.domain.grants import Right
from relevo.domain.meters import CONTRACT
from relevo.errors import FieldError, Forbidden, Invalid, StoreUnavailable, Unauthenticated
from relevo.http.auth import bearer
from relevo.http.description import json_body
from relevo.http.hidrometro.access import CSRF_HEADER, check_csrf
from relevo.http.needs import AdministratorByToken, meter_commands, meter_posts, open_to_all
from relevo.http.services import Services, Wired, address_of, services_of
from relevo.http.tokens import role_word
from relevo.wire.strict_json import loads_object

router = APIRouter(tags=["hidrometro"])

UNKNOWN_ACTION: Final = "invalid action"
# What the contract's words mean, whatever else its clients send with them.
_WITHOUT_VALUE: Final = frozenset({"reset", "simOff", "simulateOff"})
_QUERY: Final = {
    "parameters": [
        {"name": name, "in": "query", "required": name == "action", "schema": {"type": "string"}}
        for name in ("action", "value", "numeroSerie")
    ]
}
_READING: Final = json_body(
    {
        "totalLiters": {"type": ["number", "string", "null"], "description": "L, cumulative."},
        "flowLmin": {"type": ["number", "string", "null"], "description": "L/min."},
        "numeroSerie": {"type": ["string", "integer", "null"]},
        "ts": {"description": "Unix seconds or milliseconds; what is none counts as no time."},
    }
)


@router.post(
    "/api/login",
    dependencies=[open_to_all],
    summary="Sign in for a token",
    openapi_extra=json_body({"username": {"type": "string"}, "password": {"type": "string"}}, ["username", "password"]),
)
async def login(request: Request) -> Response:
    """``{"token", "role"}``, role ``admin`` or ``user``; 401 for a wrong name or password."""
    wired = services_of(request)
    body = loads_object(await request.body())
    name, password = body.get("username"), body.get("password")
    for field, value in (("username", name), ("password", password)):
        if not isinstance(value, str) or not 0 < len(value) <= 1_024:
            raise Invalid("missing", f"{field} is missing", [FieldError(field, "is missing", "missing")])
    assert isinstance(name, str)
    assert isinstance(password, str)
    address = address_of(request)
    account = await wired.auth.check_password(name, password, address)
    if account is None:
        wired.refusals.refuse("", "http", "bad_login", f"sign-in as {name[:64]!r}", address)
        raise Unauthenticated("invalid credentials")
    signed_in = await wired.auth.sign_in(account, CONTRACT, address, request.headers.get("user-agent", ""))
    wired.audit_by(account.name, "auth.login", account.name, address, {"kind": CONTRACT})
    shown = {"token": signed_in.access, "role": role_word(account.rank, CONTRACT)}
    return JSONResponse(shown, headers={"Cache-Control": "no-store"})


@router.post(
    "/api/data", dependencies=[meter_posts], summary="Store a reading of a water meter", openapi_extra=_READING
)
async def data(request: Request) -> Response:
    """The same body as over MQTT, on the same road; answered when it is stored."""
    wired = services_of(request)
    if not bearer(request):
        raise Unauthenticated("missing token")
    speaker = wired.auth.device_of(request)
    identity = None if speaker else wired.auth.identify(request)
    dialect, sender = hidrometro(wired), address_of(request)
    address = dialect.address(dialect.options()["topic_dados"])
    assert address is not None
    if speaker:
        # The shared path names nobody; who proved to be a meter speaks for itself.
        address = type(address)(address.contract, wired.intake.external_id(speaker), address.channel)
    try:
        decoded = dialect.decode(address, await request.body(), wired.clock.now_ms(), False)
    except Invalid as problem:
        wired.intake.refuse(CONTRACT, address.external_id, "http", problem, sender)
        raise
    if identity is not None:
        _may_post(request, wired, identity, decoded)
    events = wired.intake.events(dialect, decoded, "http", sender, speaker)
    if not decoded.events and decoded.refused:
        refusal = decoded.refused[0][1]
        if refusal.reason in ("not_its_own", "blocked"):
            raise Forbidden("forbidden")
        raise refusal
    await wired.pipeline.accept(events)
    return JSONResponse({"status": "ok"})


def _may_post(request: Request, wired: Services, identity: Identity, decoded: Decoded) -> None:
    for said, _ in decoded.events:
        device = wired.registry.find(CONTRACT, wired.meters.known_as(said))
        if device is not None and not wired.auth.may(identity, device.id, Right.CONTROL):
            wired.refuse_person(request, identity, device.id, "a reading needs the right to CONTROL")
            raise Forbidden("forbidden")


@router.get("/api/cmd", summary="Tell water meters what to do", openapi_extra=_QUERY)
async def command_by_query(request: Request, wired: Wired, identity: AdministratorByToken) -> Response:
    """``?action=``, ``?value=`` and ``?numeroSerie=``, as POST."""
    return _answered(await command(request, wired, identity, dict(request.query_params)))


@router.post(
    "/api/cmd",
    dependencies=[meter_commands],
    summary="Tell water meters what to do",
    openapi_extra=json_body(
        {
            "action": {"type": "string"},
            "value": {"type": "number"},
            "numeroSerie": {"type": "string", "maxLength": 64},
        },
        ["action"],
    ),
)
async def command_by_body(request: Request) -> Response:
    """To all on the shared topic, or to the one of ``numeroSerie``; ``queued`` while that one is away."""
    wired = services_of(request)
    identity = wired.auth.identify(request)
    if not bearer(request):
        check_csrf(identity, wired, request.headers.get(CSRF_HEADER, ""))
    wired.auth.require(request, Role.ADMINISTRATOR)
    return _answered(await command(request, wired, identity, loads_object(await request.body())))


async def command(request: Request, wired: Services, identity: Identity, asked: dict[str, Any]) -> dict[str, Any]:
    """Do what a command asks for: its ``status``, ``cmd``, and ``id`` where one meter is meant that is registered.

    Raises :class:`Invalid`, and :class:`StoreUnavailable` while nothing can be sent.
    """
    action, dialect = asked.get("action"), hidrometro(wired)
    if not isinstance(action, str) or action not in dialect.actions:
        raise Invalid("command_unknown", UNKNOWN_ACTION)
    value, params = asked.get("value"), {}
    if value not in (None, "") and action not in _WITHOUT_VALUE:
        params["value"] = value
    params = dialect.order(action, params, {}).params
    device, serial = _meant(wired, asked.get("numeroSerie"))
    if not wired.shouts:
        raise StoreUnavailable("mqtt unavailable")
    told = {"action": action, **params} | ({"numeroSerie": serial} if serial else {})
    audited = wired.audited(request, identity, "command.ask", device.id if device else serial or "*", {"name": action})
    if device is None:
        # However many hear it, it is one message, and it is not kept for who is away.
        await wired.pipeline.accept([audited])
        wired.shout(dialect.shout(action, params, serial))
        return {"status": "sent", "cmd": told}
    asked_for = await wired.dispatch.ask(Wish(device.id, action, params, identity.name), [audited])
    return {"status": "queued" if asked_for.state == QUEUED else "sent", "cmd": told, "id": asked_for.id}


def _meant(wired: Services, said: Any) -> tuple[Device | None, str]:
    if said in (None, ""):
        return None, ""
    if type(said) is int:
        said = str(said)
    if not isinstance(said, str):
        raise Invalid("serial_invalid", "numeroSerie must be a text")
    serial = wired.dialects[CONTRACT].normalise_id(said)
    return wired.registry.find(CONTRACT, serial), serial


def _answered(body: dict[str, Any]) -> Response:
    return JSONResponse(body, headers={"Cache-Control": "no-store"})


@router.get("/api/debug/history-size", summary="How much of the water meters' memory is used")
async def history_size(wired: Wired, identity: AdministratorByToken) -> Response:
    """``{"historySize", "limit"}``"""
    return JSONResponse({"historySize": len(wired.recent), "limit": wired.recent.limit})


def hidrometro(wired: Services) -> Hidrometro:
    found = wired.dialects[CONTRACT]
    assert isinstance(found, Hidrometro)
    return found
