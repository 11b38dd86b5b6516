"""The app's people: signing up, in and out, and their profile (contract thingsnxt, section 4)."""

import re
from typing import Annotated, Any, Final
from urllib.parse import parse_qs

import msgspec
from fastapi import APIRouter, Request, Response
from pydantic import AfterValidator, BaseModel, Field
from starlette.exceptions import HTTPException

from relevo.domain.accounts import Account, Identity, Role, SignIn
from relevo.domain.networks import is_private
from relevo.domain.passwords import normalised
from relevo.domain.records import Dropped, Kept
from relevo.errors import Conflict, FieldError, Forbidden, Invalid, Unauthenticated
from relevo.http.api.names import check_name, taking_name
from relevo.http.api.users import removal
from relevo.http.auth import SignedIn, bearer
from relevo.http.needs import Viewer, open_to_all, refresh_token, while_registration
from relevo.http.services import Services, Wired, address_of
from relevo.http.thingsnxt import shapes
from relevo.http.thingsnxt.rates import limited
from relevo.wire.strict_json import loads_object

router = APIRouter(tags=["thingsnxt"])

_LOCKED: Final = "Registration is closed: an administrator creates accounts, or turns open_registration on"
_RESET: Final = "If the address belongs to an account, a code was sent to it"
_AGENT: Final = "user-agent"


def _password(text: str) -> str:
    """The contract's own rules, so that what the app lets through is not refused here."""
    if not all(re.search(part, text) for part in ("[a-z]", "[A-Z]", "[0-9]")):
        raise ValueError("password must have a lower-case letter, an upper-case letter and a digit")
    return normalised(text)


Email = Annotated[str, Field(max_length=254, pattern=r"^[^@\s]{1,64}@[^@\s]{1,190}$")]
Password = Annotated[str, Field(min_length=8, max_length=72), AfterValidator(_password)]


class Signup(BaseModel):
    email: Email
    username: Annotated[str, Field(min_length=3, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
    password: Password
    full_name: Annotated[str | None, Field(max_length=128)] = None


class Profile(BaseModel):
    """What is given changes; another password needs the ``current_password``."""

    email: Email | None = None
    username: str | None = None
    full_name: Annotated[str | None, Field(max_length=128)] = None
    password: Password | None = None
    current_password: Annotated[str | None, Field(max_length=1024)] = None


class Forgotten(BaseModel):
    email: Annotated[str, Field(max_length=254)]


class Reset(BaseModel):
    token: Annotated[str, Field(min_length=1, max_length=128)]
    new_password: Password


@router.post("/signup", dependencies=[while_registration, limited], summary="Create an account in the app")
async def signup(request: Request, response: Response, wired: Wired, body: Signup) -> dict[str, Any]:
    """On a private network while `open_registration` is on; an administrator may at any time."""
    address = address_of(request)
    by = wired.auth.administrator(request)
    if by is None and not (wired.settings.open_registration and is_private(address)):
        wired.refusals.refuse("", "http", "registration_closed", f"sign-up as {body.username!r}", address)
        raise Forbidden(_LOCKED)
    with taking_name(wired, body.username, "username"):
        if wired.auth.people.find(body.email) is not None:
            raise Conflict("Email already registered")
        check_name(wired, body.email, "email")
        now = wired.clock.now_ms()
        account = Account(
            body.username,
            Role.OPERATOR.name.lower(),
            await wired.auth.passwords.hash(body.password),
            now,
            body.email,
            body.full_name or "",
            False,
            now,
        )
        await wired.pipeline.accept([Kept(account)])
    wired.audit_by(by.name if by else account.name, "user.create", account.name, address, {"role": account.role})
    response.headers["Cache-Control"] = "no-store"
    if by is not None:
        return {"message": "User created", "user": shapes.user(account)}
    signed_in = await wired.auth.sign_in(account, shapes.CONTRACT, address, request.headers.get(_AGENT, ""))
    return {"message": "User created"} | _pair(signed_in)


@router.post("/token", dependencies=[open_to_all, limited], summary="Sign in with a form")
async def token(request: Request, response: Response, wired: Wired) -> dict[str, Any]:
    """``username`` (name or e-mail) and ``password``, urlencoded; wrong ones are 400."""
    try:
        form = parse_qs((await request.body()).decode(), max_num_fields=20, keep_blank_values=True)
    except ValueError:
        form = {}
    return await _sign_in(request, response, wired, *(form.get(name, [""])[0] for name in ("username", "password")))


@router.post("/login", dependencies=[open_to_all, limited], summary="Sign in with JSON")
async def login(request: Request, response: Response, wired: Wired) -> dict[str, Any]:
    """``email`` (or the name) and ``password``; wrong ones are 400."""
    body = loads_object(await request.body())
    name, password = body.get("email") or body.get("username") or "", body.get("password") or ""
    return await _sign_in(request, response, wired, name, password)


async def _sign_in(request: Request, response: Response, wired: Services, name: Any, password: Any) -> dict[str, Any]:
    for field, value in (("username", name), ("password", password)):
        if not isinstance(value, str) or not 0 < len(value) <= 1_024:
            raise Invalid("missing", f"{field} is missing", [FieldError(field, "Field required", "missing")])
    address = address_of(request)
    account = await wired.auth.check_password(name, password, address)
    if account is None:
        wired.refusals.refuse("", "http", "bad_login", f"sign-in as {name[:64]!r}", address)
        raise HTTPException(400, "Incorrect email or password")
    signed_in = await wired.auth.sign_in(account, shapes.CONTRACT, address, request.headers.get(_AGENT, ""))
    wired.audit_by(account.name, "auth.login", account.name, address, {"kind": shapes.CONTRACT})
    response.headers["Cache-Control"] = "no-store"
    return _pair(signed_in)


@router.post("/refresh", dependencies=[refresh_token, limited], summary="Exchange a refresh token")
async def refresh(request: Request, response: Response, wired: Wired) -> dict[str, Any]:
    """``refresh_token`` in the JSON body, or in the query unless `token_in_query` is off. Good once."""
    shown: Any = ""
    raw = await request.body()
    if raw.strip():
        shown = loads_object(raw).get("refresh_token", "")
    if not shown and wired.settings.token_in_query is not False:
        shown = request.query_params.get("refresh_token", "")
    response.headers["Cache-Control"] = "no-store"
    try:
        if not isinstance(shown, str) or not 0 < len(shown) <= 256:
            raise Unauthenticated("missing refresh token")
        return _pair(await wired.auth.refresh(shown, address_of(request)))
    except Unauthenticated as error:
        wired.refusals.refuse("", "http", "bad_refresh_token", str(error), address_of(request))
        raise


@router.post("/logout", dependencies=[open_to_all], summary="End the session of the shown token")
async def logout(request: Request, wired: Wired) -> dict[str, Any]:
    """200 also when it is over already, and when the token's time is."""
    session = wired.auth.people.sign_ins.get(wired.auth.tokens.session_of(bearer(request)))
    ended = session is not None and await wired.auth.end_session(session.id)
    if ended and session is not None:
        wired.audit_by(session.account, "auth.logout", session.account, address_of(request), {})
    return {
        "message": "Logged out successfully" if ended else "Already logged out",
        "tokens_deleted": int(ended),
        "already_logged_out": not ended,
    }


@router.get("/me", dependencies=[limited], summary="One's own profile")
async def me(wired: Wired, identity: Viewer) -> dict[str, Any]:
    return shapes.user(wired.auth.people.accounts[identity.name])


@router.put("/me", dependencies=[limited], summary="Change one's own profile")
async def change_me(request: Request, wired: Wired, identity: Viewer, body: Profile) -> dict[str, Any]:
    """A new password ends every other session."""
    _only_person(identity)
    account = wired.auth.people.accounts[identity.name]
    if body.username not in (None, account.name):
        raise HTTPException(400, "The username cannot be changed")
    if body.email is not None and body.email != account.email:
        other = wired.auth.people.find(body.email)
        if other is not None and other.name != account.name:
            raise Conflict("Email already registered")
        check_name(wired, body.email, "email", account.name)
        account = msgspec.structs.replace(account, email=body.email)
    if body.full_name is not None:
        account = msgspec.structs.replace(account, full_name=body.full_name)
    ended: list[SignIn] = []
    if body.password is not None:
        known = await wired.auth.check_password(account.name, body.current_password or "", address_of(request))
        if known is None:
            raise HTTPException(400, "The current password is wrong")
        account = await wired.auth.with_password(account, body.password)
        ended = [one for one in wired.auth.people.sign_ins_of(account.name) if one.id != identity.sign_in]
    audited = wired.audited(request, identity, "user.change", account.name, {"changes": sorted(body.model_fields_set)})
    await wired.pipeline.accept([Kept(account), *(Dropped(SignIn, one.id) for one in ended), audited])
    return shapes.user(account)


@router.delete("/me", dependencies=[limited], summary="Remove one's own account")
async def delete_me(request: Request, wired: Wired, identity: Viewer) -> dict[str, Any]:
    """With all that is theirs; their devices belong to nobody then."""
    _only_person(identity)
    account = wired.auth.people.accounts[identity.name]
    await wired.pipeline.accept(removal(request, wired, identity, account))
    return {"message": "Account deleted"}


@router.post("/forgot-password", dependencies=[open_to_all, limited], summary="Ask for a code for a new password")
async def forgot(request: Request, wired: Wired, body: Forgotten) -> dict[str, Any]:
    """The same answer whether there is such an account or not; the code leaves by mail alone."""
    account = wired.auth.people.find(body.email) if "@" in body.email else None
    if account is not None and not account.disabled and account.email and wired.settings.notifications.smtp_url:
        wired.audit_by(account.name, "auth.reset.ask", account.name, address_of(request), {})
        wired.send_reset(account, wired.auth.new_reset(account.name))
    return {"message": _RESET}


@router.get("/verify-reset-token", dependencies=[open_to_all, limited], summary="Whether a code is still good")
async def verify_reset(wired: Wired, token: str = "") -> dict[str, Any]:
    return {"valid": wired.auth.reset_of(token, spend=False) is not None}


@router.post("/reset-password", dependencies=[open_to_all, limited], summary="Choose another password with a code")
async def reset(request: Request, wired: Wired, body: Reset) -> dict[str, Any]:
    """Ends every session of the account."""
    account = wired.auth.reset_of(body.token, spend=True)
    if account is None or account.disabled:
        wired.refusals.refuse("", "http", "bad_login", "a wrong code for a new password", address_of(request))
        raise HTTPException(400, "Invalid or expired reset token")
    changed = await wired.auth.with_password(account, body.new_password)
    ended = wired.auth.people.sign_ins_of(account.name)
    await wired.pipeline.accept([Kept(changed), *(Dropped(SignIn, one.id) for one in ended)])
    wired.audit_by(account.name, "user.password", account.name, address_of(request), {"sessions_ended": len(ended)})
    return {"message": "Password reset successful"}


def _pair(signed_in: SignedIn) -> dict[str, Any]:
    return {
        "access_token": signed_in.access,
        "refresh_token": signed_in.refresh,
        "token_type": "bearer",
        "expires_in": signed_in.access_s,
        "user": shapes.user(signed_in.account),
    }


def _only_person(identity: Identity) -> None:
    if identity.api_key:
        raise Forbidden("an API key cannot change or remove an account")
