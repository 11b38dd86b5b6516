"""``/api/auth/…/`` and ``/api/users/…/``: signing in, and people as contract emqx shows them (sections 5 and 6)."""

from typing import Any, Final

from fastapi import APIRouter, Request, Response
from starlette.responses import JSONResponse

from relevo.domain.accounts import Account, Identity, Role
from relevo.domain.networks import is_private
from relevo.domain.passwords import check_password
from relevo.domain.records import Kept
from relevo.errors import Conflict, Forbidden, Invalid, NotFound, Unauthenticated
from relevo.http.api import users as native
from relevo.http.api.names import check_name, taking_name
from relevo.http.api.times import iso
from relevo.http.description import OBJECT_BODY
from relevo.http.emqx import lists
from relevo.http.emqx.access import NOT_FOUND, ROLE_WORDS, ROLES, person_numbered, user_number
from relevo.http.emqx.fields import REQUIRED, Field, Problems, body_of, read, refused, switch
from relevo.http.needs import Administrator, Viewer, open_to_all, refresh_token, registers_emqx
from relevo.http.passwords import common_passwords
from relevo.http.services import Services, Wired, address_of

router = APIRouter(prefix="/api", tags=["emqx"])

CONTRACT: Final = "emqx"
_BAD: Final = "Credenciales inválidas."
_AGENT: Final = "user-agent"
_ROLE_NAMES: Final = {words: role.name.lower() for role, words in ROLES.items()}
_NAME: Final = "Use de 1 a 64 letras, dígitos y los signos _ . @ -."
_FIELDS: Final = (
    Field("username", required=True, high=64),
    Field("password", "secret", required=True, high=1_024, secret=True),
    Field("email", high=254),
    Field("first_name", high=60),
    Field("last_name", high=60),
    Field("rol", "choice", choices=ROLE_WORDS),
    Field("is_active", "switch"),
)
_ORDERED: Final = ("id", "username", "email", "rol", "date_joined")


def render(account: Account) -> dict[str, Any]:
    first, _, last = account.full_name.partition(" ")
    rol = ROLES[account.rank]
    return {
        "id": user_number(account.name),
        "username": account.name,
        "email": account.email,
        "first_name": first,
        "last_name": last,
        "rol": rol,
        "rol_display": ROLE_WORDS[rol],
        "is_active": not account.disabled,
        "is_superuser": account.rank is Role.ADMINISTRATOR,
        "date_joined": iso(account.created_at),
    }


def _answer(body: Any, status: int = 200) -> Response:
    return JSONResponse(body, status, {"Cache-Control": "no-store"})


# Signing in


@router.post("/auth/login/", dependencies=[open_to_all], summary="Sign in", openapi_extra=OBJECT_BODY)
async def login(request: Request, wired: Wired) -> Response:
    """``{"username", "password"}``; wrong ones are 400."""
    body = await body_of(request)
    problems = Problems()
    said = {name: body.get(name) for name in ("username", "password")}
    for name, value in said.items():
        if not isinstance(value, str) or not 0 < len(value) <= 1_024:
            problems.add(name, REQUIRED if value in (None, "") else "No es una cadena válida.")
    problems.end()
    name, address = str(said["username"]), address_of(request)
    account = await wired.auth.check_password(name, str(said["password"]), address)
    if account is None:
        wired.refusals.refuse("", "http", "bad_login", f"sign-in as {name[:64]!r}", address)
        raise refused("non_field_errors", _BAD)
    signed_in = await wired.auth.sign_in(account, CONTRACT, address, request.headers.get(_AGENT, ""))
    wired.audit_by(account.name, "auth.login", account.name, address, {"kind": CONTRACT})
    return _answer(
        {
            "user": render(account),
            "access": signed_in.access,
            "refresh": signed_in.refresh,
            "message": "Inicio de sesión exitoso",
        }
    )


async def _refresh(request: Request, wired: Services) -> Response:
    body = await body_of(request)
    shown = body.get("refresh")
    try:
        if not isinstance(shown, str) or not 0 < len(shown) <= 256:
            raise Unauthenticated("missing refresh token")
        return _answer({"access": wired.auth.renewed(shown, CONTRACT).access})
    except Unauthenticated as error:
        wired.refusals.refuse("", "http", "bad_refresh_token", str(error), address_of(request))
        raise


@router.post("/auth/refresh/", dependencies=[refresh_token], summary="Another access token", openapi_extra=OBJECT_BODY)
async def refresh(request: Request, wired: Wired) -> Response:
    """``{"refresh"}``: the refresh token stays the same for its day."""
    return await _refresh(request, wired)


@router.post("/auth/token/refresh/", dependencies=[refresh_token], summary="The same", openapi_extra=OBJECT_BODY)
async def refresh_too(request: Request, wired: Wired) -> Response:
    return await _refresh(request, wired)


@router.post("/auth/logout/", summary="End one's session")
async def logout(request: Request, wired: Wired, identity: Viewer) -> Response:
    """Its access and refresh tokens are refused at once."""
    if identity.sign_in:
        await wired.auth.end_session(identity.sign_in)
        wired.audit_by(identity.name, "auth.logout", identity.name, address_of(request), {})
    return _answer({"message": "Sesión cerrada"})


@router.post(
    "/auth/register/",
    dependencies=[registers_emqx],
    status_code=201,
    summary="Create an account",
    openapi_extra=OBJECT_BODY,
)
async def register(request: Request, wired: Wired) -> Response:
    """403 unless `open_registration` is on, and then on a private network alone; administrators may at any time."""
    address = address_of(request)
    by = wired.auth.administrator(request)
    if by is None and not (wired.settings.open_registration and is_private(address)):
        wired.refusals.refuse("", "http", "registration_closed", "sign-up over contract emqx", address)
        raise Forbidden("El registro está cerrado: un administrador crea las cuentas.")
    account = await _create(request, wired, by, await body_of(request))
    return _answer({"user": render(account), "message": "Usuario registrado correctamente"}, 201)


# People


@router.get("/users/", summary="All people")
async def all_users(request: Request, wired: Wired, identity: Administrator) -> Response:
    found = [render(one) for one in wired.auth.people.accounts.values()]
    wanted = request.query_params.get("rol", "")
    found = [one for one in found if not wanted or one["rol"] == wanted]
    found = lists.searched(request, found, ("username", "email", "first_name", "last_name"))
    return _answer(lists.paged(request, lists.ordered(request, found, _ORDERED, "username"), lambda one: one))


@router.post("/users/", status_code=201, summary="Add a person", openapi_extra=OBJECT_BODY)
async def create(request: Request, wired: Wired, identity: Administrator) -> Response:
    return _answer(render(await _create(request, wired, identity, await body_of(request))), 201)


@router.get("/users/me/", summary="Oneself")
async def me(wired: Wired, identity: Viewer) -> Response:
    return _answer(render(wired.auth.people.accounts[identity.name]))


@router.post("/users/me/mqtt/", status_code=201, summary="An account to watch one's devices at the broker")
async def watch(request: Request, wired: Wired, identity: Viewer) -> Response:
    """For MQTT over WebSocket at `/mqtt`: it subscribes what one's devices publish, and publishes nothing.

    It ends with the session it was asked for in, after a day, and with a restart.
    """
    username, password = wired.watchers.issue(identity)
    wired.audit(request, identity, "watcher.create", username)
    host = request.headers.get("host", "")
    scheme = "wss" if request.url.scheme == "https" else "ws"
    filters = wired.watchers.visible(identity)
    told = {"username": username, "password": password, "url": f"{scheme}://{host}/mqtt", "topics": filters}
    return _answer(told | {"expires_in": 86_400}, 201)


@router.get("/users/{number}/", summary="One person")
async def one_user(wired: Wired, identity: Administrator, number: str) -> Response:
    return _answer(render(_person(wired, number)))


@router.patch("/users/{number}/", summary="Change a person", openapi_extra=OBJECT_BODY)
async def change(request: Request, wired: Wired, identity: Administrator, number: str) -> Response:
    """`rol`, `email`, names, `is_active`, `password`; the username stays."""
    account, problems = _person(wired, number), Problems()
    values = read(_FIELDS, await body_of(request), problems, partial=True)
    problems.end()
    said: dict[str, Any] = {}
    if "rol" in values:
        said["role"] = _ROLE_NAMES[values["rol"]]
    if "email" in values:
        said["email"] = values["email"]
    if "password" in values:
        said["password"] = values["password"]
    if "is_active" in values:
        said["disabled"] = not values["is_active"]
    if "first_name" in values or "last_name" in values:
        now = render(account)
        names = (values.get(name, now[name]) for name in ("first_name", "last_name"))
        said["full_name"] = " ".join(names).strip()
    if said:
        try:
            body = native.UserChange.model_validate(said)
        except ValueError:
            raise refused("email", "Introduzca una dirección de correo válida.") from None
        await native.change_user(request, wired, identity, account.name, body)
    return _answer(render(_person(wired, account.name)))


@router.delete("/users/{number}/", status_code=204, summary="Remove a person")
async def delete(request: Request, wired: Wired, identity: Administrator, number: str, erase: bool = False) -> Response:
    """With all that is theirs; their devices belong to nobody then. With `erase` the name goes, too."""
    await native.delete_user(request, wired, identity, _person(wired, number).name, erase)
    return Response(status_code=204)


def _person(wired: Services, number: str) -> Account:
    found = person_numbered(wired, number)
    if found is None:
        raise NotFound(NOT_FOUND)
    return found


async def _create(request: Request, wired: Services, by: Identity | None, said: dict[str, Any]) -> Account:
    """A new account; without an administrator an operator's, of nothing so far. Raises :class:`Invalid`."""
    problems = Problems()
    values = read(_FIELDS, said, problems, partial=False)
    name, email = values.get("username", ""), values.get("email", "")
    if name and not all(one.isascii() and (one.isalnum() or one in "_.@-") for one in name):
        problems.add("username", _NAME)
    if email and (email.count("@") != 1 or email.startswith("@") or email.endswith("@") or " " in email):
        problems.add("email", "Introduzca una dirección de correo válida.")
    again = next((said[one] for one in ("password_confirm", "password2") if one in said), None)
    if again is not None and again != values.get("password"):
        problems.add("password", "Las contraseñas no coinciden.")
    if name and wired.auth.people.find(name) is not None:
        problems.add("username", "Ya existe un usuario con este nombre.")
    if email and wired.auth.people.find(email) is not None:
        problems.add("email", "Ya existe un usuario con este correo.")
    problems.end()
    try:
        text = check_password(values["password"], common_passwords, (name, email))
    except Invalid as problem:
        raise refused("password", problem.message) from None
    role = _ROLE_NAMES[values.get("rol", "solo_lectura")] if by is not None else Role.OPERATOR.name.lower()
    try:
        with taking_name(wired, name, "username"):
            if email:
                check_name(wired, email, "email")
            now = wired.clock.now_ms()
            names = f"{values.get('first_name', '')} {values.get('last_name', '')}".strip()
            hashed = await wired.auth.passwords.hash(text)
            disabled = by is not None and switch(values.get("is_active", True)) is False
            account = Account(name, role, hashed, now, email, names, disabled, now)
            await wired.pipeline.accept([Kept(account)])
    except Conflict as taken:
        raise refused("username", str(taken)) from None
    wired.audit_by(by.name if by else name, "user.create", name, address_of(request), {"role": role})
    return account
