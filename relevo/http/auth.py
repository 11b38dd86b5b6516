"""Who asks over HTTP, and what they may do with a device.

A person shows an access token or API key in the Authorization header, a browser its session cookie, a WebSocket or
event stream may show a one-time ticket in its URL instead. A device shows one of its keys.
"""

import base64
import binascii
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec
from starlette.requests import HTTPConnection

from relevo.attempts import Attempts
from relevo.clock import Clock
from relevo.domain.accounts import Account, ApiKey, Identity, Role, SignIn
from relevo.domain.devices import Device, Registry
from relevo.domain.grants import Right
from relevo.domain.keyring import Keyring
from relevo.domain.people import People
from relevo.domain.records import Dropped, Kept
from relevo.errors import Forbidden, NotFound, TooMany, Unauthenticated
from relevo.http import tokens
from relevo.http.passwords import Passwords
from relevo.http.tokens import Tokens
from relevo.pipeline import Pipeline

COOKIE: Final = "relevo_session"
DEVICE_TOKEN: Final = "x-device-token"  # noqa: S105 - a header's name
# The name of keys that are never written down, see Application.local_key.
LOCAL: Final = "(local)"
TICKET_S: Final = 60
_LINK_S: Final = 600
_FRESH_S: Final = 900
_RESET_S: Final = 3_600
_TICKETS_MOST: Final = 10_000
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_TICKET_PATHS: Final = frozenset({"/api/v1/stream", "/api/v1/ws", "/stream/dispositivos", "/ws/mqtt"})
# Contract hidrometro, section 9.7, for every way of signing in. One name from one address, any name from one address,
# one account from anywhere: a mistyped password must not shut a whole house out, nor may names be tried in turn.
_FAILURES_OF_PAIR: Final = 10
_FAILURES_OF_ADDRESS: Final = 100
_FAILURES_OF_ACCOUNT: Final = 50
_FAILURE_WINDOW_S: Final = 300.0
_USED_EVERY_MS: Final = 600_000
_COLONS_MOST: Final = 8


@dataclass(frozen=True, slots=True)
class Ticket:
    """Good once: to open a stream as ``identity``; or for ``account``, to sign a browser in (``link``) or to choose
    another password (``reset``)."""

    account: str
    identity: Identity | None
    until: float
    purpose: str = ""


@dataclass(frozen=True, slots=True)
class SignedIn:
    """What somebody gets who signed in; ``refresh`` and ``cookie`` are empty where there is none."""

    account: Account
    access: str
    access_s: int
    refresh: str = ""
    cookie: str = ""


class Auth:
    """Signing in and out, and reading what requests show."""

    def __init__(
        self,
        people: People,
        keyring: Keyring,
        registry: Registry,
        token_maker: Tokens,
        passwords: Passwords,
        pipeline: Pipeline,
        clock: Clock,
        public_url: str = "",
        terms: Mapping[str, tokens.Terms] = tokens.TERMS,
    ) -> None:
        """Pages of ``public_url`` are our own, whatever Host a proxy in front of us sends. ``terms`` by contract."""
        self._terms = terms
        self._public_url = public_url
        self.people = people
        self.passwords = passwords
        self.tokens = token_maker
        self._keyring = keyring
        self._registry = registry
        self._pipeline = pipeline
        self._clock = clock
        self._tickets: dict[str, Ticket] = {}
        # Sessions that came by a sign-in link, and when (monotonic seconds).
        self._by_link: dict[str, float] = {}
        self._by_pair = Attempts(clock, _FAILURES_OF_PAIR, _FAILURE_WINDOW_S)
        self._by_address = Attempts(clock, _FAILURES_OF_ADDRESS, _FAILURE_WINDOW_S)
        self._by_account = Attempts(clock, _FAILURES_OF_ACCOUNT, _FAILURE_WINDOW_S)

    # Signing in

    async def check_password(self, name: str, password: str, address: str) -> Account | None:
        """The account when ``password`` is its own.

        Raises :class:`TooMany` after 10 failures of this name within five minutes from ``address``, 100 of any name
        from there, or 50 of the account from anywhere.
        """
        account = self.people.find(name)
        shown, known = name[:128].casefold(), account.name if account else ""
        wait = max(self._by_pair.wait_s(shown, address), self._by_address.wait_s(address))
        if known:
            wait = max(wait, self._by_account.wait_s(known))
        if wait:
            raise TooMany("too many attempts", int(wait) + 1)
        # Counted before the check, so that many at once do not all get through; taken back when it fits.
        self._by_pair.failed(shown, address)
        self._by_address.failed(address)
        if known:
            self._by_account.failed(known)
        good = await self.passwords.fits(password, account.password_hash if account else "")
        if not good or account is None or account.disabled:
            return None
        self._by_pair.forgive(shown, address)
        self._by_address.take_back(address)
        self._by_account.take_back(known)
        return account

    def blocked(self, address: str) -> float:
        """Seconds until anybody may try to sign in from ``address``, 0 for at once."""
        return self._by_address.wait_s(address)

    async def sign_in(
        self, account: Account, contract: str, address: str, agent: str, browser: bool = False, link: bool = False
    ) -> SignedIn:
        """A new session of ``account`` on the terms of ``contract``; a browser gets a cookie, a program tokens.

        ``link`` says that it came by a sign-in link instead of a password.
        """
        terms = self._terms[contract]
        now = self._clock.now_ms()
        seconds = tokens.BROWSER_S if browser else max(terms.refresh_s, terms.access_s)
        session, secret = tokens.new_session(
            account.name, "browser" if browser else contract, seconds, now, address, agent
        )
        old = [one for one in self.people.sign_ins_of(account.name) if one.expires_at <= now]
        await self._pipeline.accept([Kept(session), *(Dropped(SignIn, one.id) for one in old)])
        if link:
            begun = self._clock.monotonic()
            self._by_link = {one: at for one, at in self._by_link.items() if begun - at <= _FRESH_S}
            self._by_link[session.id] = begun
        access = self.tokens.access(account, session.id, terms.access_s, contract)
        refresh = secret if terms.refresh_s and not browser else ""
        return SignedIn(account, access, terms.access_s, refresh, secret if browser else "")

    async def refresh(self, refresh_token: str, address: str) -> SignedIn:
        """Exchange a refresh token for the next pair.

        Raises :class:`Unauthenticated`; a token that was exchanged before ends the session.
        """
        secret_hash = tokens.hash_secret(refresh_token)
        session = self.people.sign_in_by_secret(secret_hash)
        if session is None or session.kind == "browser":
            raise Unauthenticated("invalid refresh token")
        if secret_hash == session.spent_hash:
            await self._pipeline.accept([Dropped(SignIn, session.id)])
            raise Unauthenticated("this refresh token was used before; the session is ended, sign in again")
        account = self.people.accounts.get(session.account)
        now = self._clock.now_ms()
        if account is None or account.disabled or session.expires_at <= now:
            raise Unauthenticated("invalid refresh token")
        terms = self._terms[session.kind]
        following, refresh = tokens.refreshed(session, terms.refresh_s, now, address)
        # In memory at once: a second exchange that arrives during the commit must already be the second.
        self.people.apply(Kept(following))
        await self._pipeline.accept([Kept(following)])
        access = self.tokens.access(account, session.id, terms.access_s, session.kind)
        return SignedIn(account, access, terms.access_s, refresh)

    def renewed(self, refresh_token: str, contract: str) -> SignedIn:
        """Another access token for a refresh token of ``contract``, which stays good for its time.

        Raises :class:`Unauthenticated`.
        """
        session = self.people.sign_in_by_secret(tokens.hash_secret(refresh_token))
        if session is None or session.kind != contract or session.expires_at <= self._clock.now_ms():
            raise Unauthenticated("invalid refresh token")
        account = self.people.accounts.get(session.account)
        if account is None or account.disabled:
            raise Unauthenticated("invalid refresh token")
        terms = tokens.TERMS[contract]
        return SignedIn(account, self.tokens.access(account, session.id, terms.access_s), terms.access_s)

    async def with_password(self, account: Account, text: str) -> Account:
        """``account`` with a new password, which was checked already."""
        return msgspec.structs.replace(
            account, password_hash=await self.passwords.hash(text), password_changed_at=self._clock.now_ms()
        )

    def fresh_by_link(self, session_id: str) -> bool:
        """Whether a session came by a sign-in link within the last quarter of an hour."""
        at = self._by_link.get(session_id)
        return at is not None and self._clock.monotonic() - at <= _FRESH_S

    async def end_session(self, session_id: str) -> bool:
        """End a session; false when there was none."""
        if session_id not in self.people.sign_ins:
            return False
        await self._pipeline.accept([Dropped(SignIn, session_id)])
        return True

    def new_link(self, account: str) -> str:
        """A one-time ticket that signs a browser in as ``account``, good for ten minutes."""
        return self._keep_ticket(Ticket(account, None, self._clock.monotonic() + _LINK_S, "link"))

    def new_ticket(self, identity: Identity) -> str:
        """A one-time ticket that opens a stream or WebSocket as ``identity``, good for a minute."""
        return self._keep_ticket(Ticket("", identity, self._clock.monotonic() + TICKET_S))

    def new_reset(self, account: str) -> str:
        """A one-time code with which ``account`` may choose another password, good for an hour."""
        code = secrets.token_hex(10).upper()
        return self._keep_ticket(Ticket(account, None, self._clock.monotonic() + _RESET_S, "reset"), code)

    def reset_of(self, code: str, *, spend: bool) -> Account | None:
        """Whose such a code is; with ``spend`` this is its one time."""
        key = tokens.hash_secret(code.strip().upper())
        found = self._tickets.get(key)
        if found is None or found.purpose != "reset" or found.until < self._clock.monotonic():
            return None
        if spend:
            del self._tickets[key]
        return self.people.accounts.get(found.account)

    def _keep_ticket(self, ticket: Ticket, text: str = "") -> str:
        if len(self._tickets) >= _TICKETS_MOST:
            del self._tickets[next(iter(self._tickets))]
        text = text or secrets.token_urlsafe(18)
        self._tickets[tokens.hash_secret(text)] = ticket
        return text

    def redeem_link(self, text: str) -> Account | None:
        """The account of a sign-in link, once."""
        key = tokens.hash_secret(text)
        found = self._tickets.get(key)
        if found is None or found.purpose != "link":
            return None
        del self._tickets[key]
        return self.people.accounts.get(found.account) if found.until >= self._clock.monotonic() else None

    def redeem(self, text: str) -> Identity:
        """Who made a ticket, once. Raises :class:`Unauthenticated`."""
        return self._redeem_ticket(text)

    def _redeem_ticket(self, text: str) -> Identity:
        key = tokens.hash_secret(text)
        found = self._tickets.get(key)
        if found is None or found.identity is None:
            raise Unauthenticated("invalid ticket")
        del self._tickets[key]
        if found.until < self._clock.monotonic() or not self.people.good(found.identity):
            raise Unauthenticated("invalid ticket")
        return found.identity

    # Who asks

    def identify(self, connection: HTTPConnection) -> Identity:
        """The person who asks. Raises :class:`Unauthenticated`; :class:`Forbidden` for a foreign page's request.

        Asked once for each request: later calls give the same answer, so a ticket is not spent twice.
        """
        known = connection.scope.get("relevo.identity")
        if isinstance(known, Identity):
            return known
        identity = self._identify(connection)
        connection.scope["relevo.identity"] = identity
        return identity

    def _identify(self, connection: HTTPConnection) -> Identity:
        token = bearer(connection)
        if token:
            identity = self.tokens.identity(token)
            if identity.api_key:
                self._touch_key(identity.api_key)
            return identity
        ticket = connection.query_params.get("ticket", "")
        if ticket and connection.scope["path"] in _TICKET_PATHS:
            return self._redeem_ticket(ticket)
        cookie = connection.cookies.get(COOKIE, "")
        if not cookie:
            raise Unauthenticated("missing token")
        if connection.scope["type"] == "websocket" or connection.scope["method"] not in _SAFE:
            self.check_origin(connection)
        identity, session = self.tokens.of_browser(cookie)
        self._touch_session(session)
        return identity

    def _touch_session(self, session: SignIn) -> None:
        """A browser that is used stays signed in."""
        now = self._clock.now_ms()
        if now - session.used_at >= tokens.BROWSER_TOUCH_S * 1000:
            later = msgspec.structs.replace(session, used_at=now, expires_at=now + tokens.BROWSER_S * 1000)
            self.people.apply(Kept(later))
            self._pipeline.submit([Kept(later)])

    def _touch_key(self, key_id: str) -> None:
        key = self.people.api_keys[key_id]
        now = self._clock.now_ms()
        if now - key.used_at >= _USED_EVERY_MS:
            later: ApiKey = msgspec.structs.replace(key, used_at=now)
            self.people.apply(Kept(later))
            if key.name != LOCAL:
                self._pipeline.submit([Kept(later)])

    def check_origin(self, connection: HTTPConnection) -> None:
        """A browser sends the cookie by itself, so it has to come from our own page. Raises :class:`Forbidden`."""
        origin = connection.headers.get("origin", "")
        if origin and (origin == self._public_url or origin.partition("://")[2] == connection.headers.get("host", "")):
            return
        if not origin and connection.headers.get("sec-fetch-site", "none") in ("same-origin", "none"):
            return
        raise Forbidden("request from a foreign page")

    def require(self, connection: HTTPConnection, role: Role) -> Identity:
        """The person who asks, who must have at least ``role``."""
        identity = self.identify(connection)
        if not identity.at_least(role):
            raise Forbidden(f"needs the role {role.name.lower()}")
        return identity

    def administrator(self, connection: HTTPConnection) -> Identity | None:
        """The administrator who asks, ``None`` for anybody else."""
        try:
            return self.require(connection, Role.ADMINISTRATOR)
        except (Unauthenticated, Forbidden):
            return None

    # Devices

    def device_for(self, identity: Identity, device_id: str, right: Right) -> Device:
        """The device, when ``identity`` has at least ``right`` to it.

        Raises :class:`NotFound` also for a device that the person may not know of, and :class:`Forbidden` for one
        they may see but not do this with.
        """
        device = self._registry.get(device_id)
        held = self.people.right(identity, device) if device is not None else Right.NONE
        if device is None or not held:
            raise NotFound(f"no device {device_id!r}")
        if held < right:
            raise Forbidden(f"needs the right to {right.name.lower()} device {device_id!r}")
        return device

    def may(self, identity: Identity, device_id: str, right: Right) -> bool:
        device = self._registry.get(device_id)
        return device is not None and self.people.right(identity, device) >= right

    def is_device(self, connection: HTTPConnection, device: Device) -> bool:
        """Whether the request shows a key or generated password of ``device``: as Bearer token, or with HTTP Basic."""
        now = self._clock.now_ms()
        return any(
            self._keyring.fits(device, secret.encode(errors="replace"), now, username)
            for username, secret in _secrets(connection)
        )

    def device_of(self, connection: HTTPConnection) -> str:
        """The id of the device whose key or generated password the request shows, empty for none."""
        return self.shown(connection)[0]

    def shown(self, connection: HTTPConnection) -> tuple[str, bytes]:
        """The same, with what was shown."""
        now = self._clock.now_ms()
        for _, text in _secrets(connection):
            secret = text.encode(errors="replace")
            found = self._keyring.device_of(secret, now)
            if found:
                return found, secret
        return "", b""

    async def stop(self) -> None:
        """End what signing in keeps running."""
        await self.passwords.stop()


def bearer(connection: HTTPConnection) -> str:
    """The token in the Authorization header, empty when there is none."""
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _secrets(connection: HTTPConnection) -> Iterator[tuple[str | None, str]]:
    """What a device may have shown: a Bearer token, the same as ``X-Device-Token``, or user name and password of HTTP
    Basic.

    RFC 7617 ends the user name at the first colon, but device ids and MQTT user names may contain some.
    """
    token = bearer(connection) or connection.headers.get(DEVICE_TOKEN, "").strip()
    if token:
        yield None, token
        return
    scheme, _, value = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return
    try:
        text = base64.b64decode(value, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return
    at = -1
    for _ in range(_COLONS_MOST):
        at = text.find(":", at + 1)
        if at < 0:
            return
        if at + 1 < len(text):
            yield text[:at], text[at + 1 :]
