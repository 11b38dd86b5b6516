"""``/api/v1/auth`` and ``/api/v1/me``: signing in and out, sessions, tickets and personal API keys."""

from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from relevo.domain.accounts import SCOPES, Account, ApiKey, Identity, SignIn
from relevo.domain.passwords import check_password
from relevo.domain.records import Dropped, Kept
from relevo.errors import FieldError, Forbidden, Invalid, NotFound, Unauthenticated
from relevo.http import tokens
from relevo.http.api.times import iso, parse_time
from relevo.http.auth import COOKIE, LOCAL, TICKET_S, SignedIn
from relevo.http.needs import Viewer, open_to_all
from relevo.http.passwords import common_passwords
from relevo.http.services import Services, Wired, address_of

router = APIRouter(prefix="/api/v1", tags=["people"])

_API_KEYS_MOST = 50


class Login(BaseModel):
    model_config = ConfigDict(extra="forbid")

    username: str = Field(min_length=1, max_length=128, description="Name or e-mail address.")
    password: str = Field(min_length=1, max_length=1024)


class Token(BaseModel):
    """An access token (RFC 6750); ``expires_in`` in seconds. Browsers get a cookie and no refresh token."""

    access_token: str
    refresh_token: str | None
    token_type: str
    expires_in: int
    role: str


def _token(signed_in: SignedIn) -> dict[str, Any]:
    return {
        "access_token": signed_in.access,
        "refresh_token": signed_in.refresh or None,
        "token_type": "bearer",
        "expires_in": signed_in.access_s,
        "role": signed_in.account.role,
    }


def from_browser(request: Request) -> bool:
    """Whether a page asks. Every browser says where a request comes from, and no program has to."""
    return "sec-fetch-site" in request.headers or "origin" in request.headers


def set_cookie(response: Response, secret: str, secure: bool) -> None:
    response.set_cookie(
        COOKIE, secret, max_age=tokens.BROWSER_S, httponly=True, samesite="lax", secure=secure, path="/"
    )


@router.post("/auth/login", response_model=Token, dependencies=[open_to_all])
async def login(request: Request, wired: Wired, body: Login, response: Response) -> dict[str, Any]:
    """Exchange name and password for tokens; a browser gets a session cookie instead of a refresh token."""
    address = address_of(request)
    # A foreign page that may ask with tokens gets tokens; any other must not sign its visitors in as somebody else.
    browser = from_browser(request) and request.headers.get("origin", "") not in wired.settings.allowed_origins
    if browser:
        wired.auth.check_origin(request)
    account = await wired.auth.check_password(body.username, body.password, address)
    if account is None:
        wired.refusals.refuse("", "http", "bad_login", f"sign-in as {body.username[:64]!r}", address)
        raise Unauthenticated("wrong user name or password")
    agent = request.headers.get("user-agent", "")
    signed_in = await wired.auth.sign_in(account, "native", address, agent, browser)
    if signed_in.cookie:
        set_cookie(response, signed_in.cookie, request.url.scheme == "https")
    wired.audit_by(account.name, "auth.login", account.name, address, {"kind": "browser" if browser else "program"})
    response.headers["Cache-Control"] = "no-store"
    return _token(signed_in)


class Refresh(BaseModel):
    model_config = ConfigDict(extra="forbid")

    refresh_token: str = Field(min_length=1, max_length=256)


@router.post("/auth/refresh", response_model=Token, dependencies=[open_to_all])
async def refresh(request: Request, wired: Wired, body: Refresh, response: Response) -> dict[str, Any]:
    """Exchange a refresh token for the next pair; one that was exchanged before ends the session."""
    response.headers["Cache-Control"] = "no-store"
    try:
        return _token(await wired.auth.refresh(body.refresh_token, address_of(request)))
    except Unauthenticated as error:
        wired.refusals.refuse("", "http", "bad_refresh_token", str(error), address_of(request))
        raise


@router.post("/auth/logout", status_code=204, dependencies=[open_to_all])
async def logout(request: Request, wired: Wired, response: Response) -> None:
    """End the session of the shown token or cookie; harmless without one, and when it is over already."""
    response.delete_cookie(COOKIE, path="/")
    try:
        identity = wired.auth.identify(request)
    except (Unauthenticated, Forbidden):
        return
    if identity.sign_in and await wired.auth.end_session(identity.sign_in):
        wired.audit(request, identity, "auth.logout", identity.name)


class TicketOut(BaseModel):
    """Good once, for ``?ticket=`` of the stream or the WebSocket; ``expires_in`` in seconds."""

    ticket: str
    expires_in: int


@router.post("/auth/ticket", response_model=TicketOut)
async def ticket(wired: Wired, identity: Viewer) -> dict[str, Any]:
    """A one-time ticket, for clients that cannot send a header when they open a stream."""
    return {"ticket": wired.auth.new_ticket(identity), "expires_in": TICKET_S}


class Me(BaseModel):
    """``password_generated``: the password is the one that the first start made up, and should be replaced."""

    name: str
    role: str
    email: str
    full_name: str
    scopes: list[str]
    password_generated: bool


@router.get("/me", response_model=Me)
async def me(wired: Wired, identity: Viewer) -> dict[str, Any]:
    """Who one is, and as what."""
    account = wired.auth.people.accounts[identity.name]
    return {
        "name": identity.name,
        "role": identity.role.name.lower(),
        "email": account.email,
        "full_name": account.full_name,
        "scopes": list(identity.scopes),
        "password_generated": wired.first_password.holds(account),
    }


class PasswordChange(BaseModel):
    model_config = ConfigDict(extra="forbid")

    current: str | None = Field(
        default=None,
        max_length=1024,
        description="May be left out while the password is the generated one, by a session that came by a one-time "
        "link within the last 15 minutes.",
    )
    new: str = Field(max_length=1024)


@router.post("/me/password", status_code=204)
async def change_password(request: Request, wired: Wired, identity: Viewer, body: PasswordChange) -> None:
    """Change one's own password. Every other session of the account ends."""
    _only_person(identity.api_key)
    if body.current is None:
        account = _of_link(wired, identity)
    else:
        found = await wired.auth.check_password(identity.name, body.current, address_of(request))
        if found is None:
            message = "current is not the password"
            raise Invalid("password_wrong", message, [FieldError("current", message, "password_wrong")])
        account = found
    text = check_password(body.new, common_passwords, (account.name, account.email), "new")
    changed = await wired.auth.with_password(account, text)
    if body.current is None:
        # Another request may have changed it meanwhile.
        _of_link(wired, identity)
    others = [one for one in wired.auth.people.sign_ins_of(account.name) if one.id != identity.sign_in]
    await wired.pipeline.accept(
        [
            Kept(changed),
            *(Dropped(SignIn, one.id) for one in others),
            wired.audited(request, identity, "user.password", account.name, {"sessions_ended": len(others)}),
        ]
    )


def _of_link(wired: Services, identity: Identity) -> Account:
    """The account of whoever may choose a password without saying the present one. Raises :class:`Invalid`."""
    account = wired.auth.people.accounts[identity.name]
    if wired.first_password.holds(account) and wired.auth.fresh_by_link(identity.sign_in):
        return account
    message = "current must be given: the password in force"
    raise Invalid("password_missing", message, [FieldError("current", message, "password_missing")])


class Session(BaseModel):
    """One signed-in browser or program; ``current`` is the one that asks."""

    id: str
    kind: str
    created_at: str | None
    used_at: str | None
    expires_at: str | None
    address: str
    agent: str
    current: bool


class SessionPage(BaseModel):
    items: list[Session]
    next: str | None


@router.get("/me/sessions", response_model=SessionPage)
async def sessions(wired: Wired, identity: Viewer) -> dict[str, Any]:
    """Where one is signed in, newest first."""
    now = wired.clock.now_ms()
    found = sorted(wired.auth.people.sign_ins_of(identity.name), key=lambda one: one.created_at, reverse=True)
    return {
        "items": [
            {
                "id": one.id,
                "kind": one.kind,
                "created_at": iso(one.created_at),
                "used_at": iso(one.used_at),
                "expires_at": iso(one.expires_at),
                "address": one.address,
                "agent": one.agent,
                "current": one.id == identity.sign_in,
            }
            for one in found
            if one.expires_at > now
        ],
        "next": None,
    }


@router.delete("/me/sessions/{session_id}", status_code=204)
async def end_session(request: Request, wired: Wired, identity: Viewer, session_id: str) -> None:
    """Sign a browser or program of one's own out; its access tokens end at once."""
    _only_person(identity.api_key)
    session = wired.auth.people.sign_ins.get(session_id)
    if session is None or session.account != identity.name:
        raise NotFound(f"no session {session_id!r}")
    await wired.pipeline.accept(
        [Dropped(SignIn, session_id), wired.audited(request, identity, "auth.session.end", session_id)]
    )


class NewKey(BaseModel):
    """``expires_at`` as ISO 8601 or milliseconds; without it the key has no end."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=64, pattern=r"^[^()]+$")
    scopes: list[Literal["read", "control", "manage"]] = Field(default=["read"], min_length=1, max_length=3)
    expires_at: str | int | None = None


class KeyOut(BaseModel):
    """A personal API key without its secret; ``id`` is its visible beginning."""

    id: str
    name: str
    scopes: list[str]
    created_at: str | None
    expires_at: str | None
    used_at: str | None


class KeyCreated(KeyOut):
    """The only answer that ever holds the key itself."""

    key: str


class KeyPage(BaseModel):
    items: list[KeyOut]
    next: str | None


def _key(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "scopes": key.scopes,
        "created_at": iso(key.created_at),
        "expires_at": iso(key.expires_at),
        "used_at": iso(key.used_at),
    }


@router.get("/keys", response_model=KeyPage)
async def keys(wired: Wired, identity: Viewer) -> dict[str, Any]:
    """One's own API keys, oldest first."""
    found = [one for one in wired.auth.people.api_keys_of(identity.name) if one.name != LOCAL]
    found.sort(key=lambda one: (one.created_at, one.id))
    return {"items": [_key(one) for one in found], "next": None}


@router.post("/keys", status_code=201, response_model=KeyCreated)
async def create_key(
    request: Request, wired: Wired, identity: Viewer, body: NewKey, response: Response
) -> dict[str, Any]:
    """Make an API key that amounts to the smaller of its scopes and one's role. Shown once, stored hashed."""
    _only_person(identity.api_key)
    now = wired.clock.now_ms()
    ends = 0
    if body.expires_at is not None:
        ends = parse_time(str(body.expires_at), "expires_at", 0)
        if ends <= now:
            message = "expires_at must be in the future"
            raise Invalid("expires_at_past", message, [FieldError("expires_at", message, "expires_at_past")])
    if len(wired.auth.people.api_keys_of(identity.name)) >= _API_KEYS_MOST:
        message = f"at most {_API_KEYS_MOST} keys a person; delete one"
        raise Invalid("too_many_keys", message, [FieldError("body", message, "too_many_keys")])
    scopes = sorted(set(body.scopes), key=SCOPES.index)
    key, text = tokens.new_api_key(identity.name, body.name, list(scopes), now, ends)
    await wired.pipeline.accept(
        [Kept(key), wired.audited(request, identity, "key.create", key.id, {"name": key.name, "scopes": key.scopes})]
    )
    response.headers["Cache-Control"] = "no-store"
    return _key(key) | {"key": text}


@router.delete("/keys/{key_id}", status_code=204)
async def delete_key(request: Request, wired: Wired, identity: Viewer, key_id: str) -> None:
    """Revoke one's own API key at once."""
    _only_person(identity.api_key)
    key = wired.auth.people.api_keys.get(key_id)
    if key is None or key.account != identity.name:
        raise NotFound(f"no key {key_id!r}")
    await wired.pipeline.accept([Dropped(ApiKey, key_id), wired.audited(request, identity, "key.delete", key_id)])


def _only_person(api_key: str) -> None:
    """A key must not make or revoke credentials: whoever finds one could otherwise stay."""
    if api_key:
        raise Forbidden("an API key cannot manage sessions, passwords or keys")
