"""Internal errors as HTTP answers, in the words of the contract that the path belongs to. The one place for it."""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from relevo.errors import (
    Conflict,
    Excluded,
    FieldError,
    Forbidden,
    Invalid,
    NotFound,
    PreconditionFailed,
    QueueFull,
    RelevoError,
    StoreUnavailable,
    TooMany,
    Unauthenticated,
)
from relevo.log import get_logger

log = get_logger("relevo.http")

_HIDROMETRO = frozenset(
    {
        "/api/login",
        "/api/current",
        "/api/history",
        "/api/data",
        "/api/cmd",
        "/dashboard",
        "/control",
        "/socket.io",
    }
)
_HIDROMETRO_BELOW: Final = ("/api/alerts", "/api/clientes", "/api/debug", "/clientes", "/socket.io/")
_THINGSNXT: Final = frozenset(
    {
        "devices",
        "telemetry",
        "widgets",
        "dashboards",
        "notifications",
        "events",
        "webhooks",
        "me",
        "signup",
        "token",
        "login",
        "refresh",
        "logout",
        "forgot-password",
        "verify-reset-token",
        "reset-password",
        "app",
        "health",
    }
)
TOO_MANY: Final = "Too many requests. Please try again later."
NOT_SIGNED_IN: Final = "Could not validate credentials"
_STATUS: dict[type[RelevoError], int] = {
    Unauthenticated: 401,
    Forbidden: 403,
    NotFound: 404,
    Conflict: 409,
    Excluded: 409,
    PreconditionFailed: 412,
    Invalid: 422,
    TooMany: 429,
    QueueFull: 503,
    StoreUnavailable: 503,
}
_ALWAYS_400 = frozenset({"hidrometro", "alchemy", "emqx"})
_WHOLE_BODY = frozenset({"json_malformed", "utf8_invalid", "json_too_deep", "json_duplicate_key", "payload_empty"})


_AUTOCORE: Final = frozenset({"/api/events", "/api/health", "/api/status"})
_BELOW_AUTOCORE: Final = ("/api/devices", "/api/mqtt", "/api/relays", "/api/telemetry", "/api/config")


def _is_autocore(path: str) -> bool:
    """With a slash at its end it is another contract's."""
    if path.endswith("/"):
        return False
    return path in _AUTOCORE or any(path == one or path.startswith(f"{one}/") for one in _BELOW_AUTOCORE)


_EMQX: Final = ("/api/auth/", "/api/users/", "/api/sensors/", "/api/readings/", "/api/docs/", "/api/redoc/")
_EMQX_MQTT: Final = frozenset(
    {"brokers", "credentials", "device-config", "device-status", "test-connection", "emqx-users", "emqx-acl", "topics"}
)


def is_emqx(path: str) -> bool:
    """Whether ``path`` is one of contract emqx; its last slash is what tells ``/api/devices/`` from autocore's."""
    if path.startswith(_EMQX):
        return True
    if path.startswith("/api/devices/"):
        return path.endswith("/")
    levels = path.split("/")
    if not path.startswith("/api/mqtt/") or levels[3].replace("_", "-") not in _EMQX_MQTT:
        return path.startswith("/api/mqtt/") and path.endswith("/")
    return len(levels) > 4 or levels[3] != "topics"


def style_of(path: str) -> str:
    """The contract whose words ``path`` speaks, ``native``, or ``detail`` for the plain form."""
    if path.startswith("/api/v1/"):
        return "native"
    if path in _HIDROMETRO or path.startswith(_HIDROMETRO_BELOW):
        return "hidrometro"
    if path == "/dispositivos" or path.startswith(("/dispositivos/", "/stream/dispositivos")):
        return "alchemy"
    if path.split("/", 2)[1:2] and path.split("/", 2)[1] in _THINGSNXT:
        return "thingsnxt"
    if is_emqx(path):
        return "emqx"
    return "autocore" if _is_autocore(path) else "detail"


def render(
    path: str,
    status: int,
    detail: str,
    errors: list[FieldError] | None = None,
    reason: str = "",
    headers: Mapping[str, str] | None = None,
) -> Response:
    """An error answer for ``path``."""
    style = style_of(path)
    if style == "hidrometro":
        return JSONResponse({"error": detail}, status, headers=dict(headers or {}))
    if style == "alchemy":
        told = [f"{one.field}: {one.message}" for one in errors or ()]
        more = {"detalle": "; ".join(told)} if told and told != [detail] else {}
        return JSONResponse({"error": detail, **more}, status, headers=dict(headers or {}))
    if style == "autocore" and status == 429:
        wait = int((headers or {}).get("Retry-After", "1"))
        return JSONResponse(
            {"error": "rate_limit_exceeded", "message": detail, "retry_after": wait},
            status,
            headers=dict(headers or {}),
        )
    if style in ("thingsnxt", "autocore") and status == 422:
        listed = errors or [FieldError("", detail, reason or "invalid")]
        if style == "autocore":
            # A board's buffer has room for a few.
            listed = [FieldError(one.field, one.message[:200], one.reason) for one in listed[:3]]
        said = [{"loc": _place(one.field), "msg": one.message, "type": one.reason} for one in listed]
        return JSONResponse({"detail": said}, status, headers=dict(headers or {}))
    if style == "emqx" and reason == "action_refused":
        return JSONResponse({"error": detail}, status, headers=dict(headers or {}))
    if style == "emqx" and errors:
        named: dict[str, list[str]] = {}
        for one in errors:
            named.setdefault(one.field.removeprefix("body.") or "non_field_errors", []).append(one.message)
        return JSONResponse(named, status, headers=dict(headers or {}))
    if style != "native":
        return JSONResponse({"detail": detail}, status, headers=dict(headers or {}))
    # RFC 9457
    body: dict[str, Any] = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
    body["detail"] = detail
    if reason:
        body["reason"] = reason
    if errors:
        body["errors"] = [{"field": one.field, "message": one.message, "reason": one.reason} for one in errors]
    return JSONResponse(body, status, headers=dict(headers or {}), media_type="application/problem+json")


def _place(field: str) -> list[str]:
    """Where a field is, as the framework of the original writes it."""
    if field.startswith(("query.", "path.", "header.")):
        return field.split(".")
    return ["body", *field.split(".")] if field and field != "body" else ["body"]


def answer(path: str, error: RelevoError) -> Response:
    """The answer for an internal error."""
    status = _STATUS.get(type(error), 500)
    headers: dict[str, str] = {}
    errors: list[FieldError] = []
    reason = ""
    if isinstance(error, Invalid):
        errors, reason = error.errors, error.reason
        if error.reason in ("body_too_large", "batch_too_long"):
            status = 413
        elif error.reason in _WHOLE_BODY or style_of(path) in _ALWAYS_400:
            status = 400
    elif isinstance(error, TooMany):
        headers["Retry-After"] = str(error.retry_after)
        if error.limit:
            headers["X-RateLimit-Limit"] = str(error.limit)
    elif status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    elif status == 503:
        headers["Retry-After"] = "2"
    detail = str(error)
    if style_of(path) == "hidrometro" and status == 403:
        # Section 4 of the contract; why is in the audit log.
        detail = "forbidden"
    if style_of(path) == "autocore" and isinstance(error, Invalid):
        # Section 3: a body that is no JSON breaks its schema.
        status = 413 if status == 413 else 422
    if style_of(path) == "emqx" and isinstance(error, Conflict):
        # Section 4.3: a duplicate is a field that is wrong.
        status, errors = 400, [FieldError("non_field_errors", detail)]
    if style_of(path) == "thingsnxt":
        # Section 3 and 4 of the contract: duplicates are bad requests, and a body that is no JSON breaks its schema.
        if isinstance(error, Invalid):
            status = 413 if error.reason in ("data_too_large", "body_too_large") else 422
        elif isinstance(error, Conflict):
            status = 400
        elif isinstance(error, TooMany):
            detail = TOO_MANY
        elif status == 401:
            detail = NOT_SIGNED_IN
    return render(path, status, detail, errors, reason, headers)


def install(app: FastAPI, methods_of: Callable[[str], list[str]]) -> None:
    """Let ``app`` answer every error through :func:`render`; ``methods_of`` knows what a path allows."""

    async def on_relevo(request: Request, error: Exception) -> Response:
        assert isinstance(error, RelevoError)
        return answer(request.url.path, error)

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        headers = dict(error.headers or {})
        if error.status_code == 405:
            # The framework names those of the first route that has this path.
            allowed = methods_of(request.url.path)
            if allowed:
                headers["Allow"] = ", ".join(allowed)
        return render(request.url.path, error.status_code, str(error.detail), headers=headers)

    async def on_validation(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        errors = [
            FieldError(".".join(str(part) for part in one["loc"] if part != "body") or "body", one["msg"], one["type"])
            for one in error.errors()
        ]
        first = errors[0]
        status = 400 if style_of(request.url.path) in _ALWAYS_400 else 422
        return render(request.url.path, status, f"{first.field}: {first.message}", errors, "invalid")

    async def on_defect(request: Request, error: Exception) -> Response:
        log.error("request_failed", path=request.url.path, exc_info=error)
        return render(request.url.path, 500, "internal error")

    app.add_exception_handler(RelevoError, on_relevo)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(RequestValidationError, on_validation)
    app.add_exception_handler(Exception, on_defect)
