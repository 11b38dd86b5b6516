"""Who asks over HTTP: access tokens in the Authorization header or a cookie, and device keys.

A token is a JWT signed with HS256 by a key made at first start; another algorithm, a missing ``exp`` or a foreign
signature is refused. Passwords are checked with Argon2id off the event loop, two at a time, so that a flood of
log-ins waits for itself and not readings for it.
"""

import asyncio
import base64
import binascii
import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import jwt
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from starlette.requests import HTTPConnection

from relevo.clock import Clock
from relevo.domain.accounts import Identity, Role
from relevo.domain.devices import Device, Registry
from relevo.domain.keys import hash_key, key_fits
from relevo.errors import Forbidden, Unauthenticated
from relevo.store.accounts import Account

COOKIE: Final = "relevo_session"
TOKEN_S: Final = 12 * 3600
_TICKET_S: Final = 600
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})

# 19 MiB and two passes (OWASP's recommendation for Argon2id): 30 ms instead of 450 under load with the defaults.
hasher: Final = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)


def new_device_key() -> str:
    """A key of 192 random bits, in letters that no shell or INI file minds."""
    return secrets.token_urlsafe(24)


@dataclass(frozen=True, slots=True)
class Ticket:
    """A one-time sign-in link: whose, and until when (monotonic seconds)."""

    account: str
    until: float


class Auth:
    """Accounts, tokens and tickets."""

    def __init__(self, accounts: dict[str, Account], signing_key: bytes, clock: Clock) -> None:
        self._accounts = accounts
        self._key = signing_key
        self._clock = clock
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="relevo-passwords")
        self._tickets: dict[str, Ticket] = {}
        # Compared when the account does not exist, so that both answers take the same time.
        self._nobody = ""

    async def check_password(self, name: str, password: str) -> bool:
        """Whether ``password`` is that of account ``name``."""
        account = self._accounts.get(name)
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._verify, account, password)

    def _verify(self, account: Account | None, password: str) -> bool:
        if not self._nobody:
            self._nobody = hasher.hash(secrets.token_urlsafe(16))
        try:
            hasher.verify(account.password_hash if account else self._nobody, password)
        except (VerificationError, InvalidHashError):
            return False
        return account is not None

    def role_of(self, name: str) -> Role | None:
        account = self._accounts.get(name)
        return Role[account.role.upper()] if account else None

    def issue(self, name: str, seconds: int = TOKEN_S) -> str:
        """An access token for account ``name``, good for ``seconds``."""
        now = self._clock.now_ms() // 1000
        role = self.role_of(name)
        assert role is not None
        claims = {"sub": name, "role": role.name.lower(), "iat": now, "exp": now + seconds, "jti": secrets.token_hex(8)}
        return jwt.encode(claims, self._key, algorithm="HS256")

    def identity_of(self, token: str) -> Identity:
        """Who a token belongs to. Raises :class:`Unauthenticated`."""
        try:
            claims = jwt.decode(
                token,
                self._key,
                algorithms=["HS256"],
                options={"require": ["exp", "sub"], "verify_exp": False, "verify_iat": False},
            )
        except jwt.InvalidTokenError:
            raise Unauthenticated("invalid token") from None
        exp = claims["exp"]
        if not isinstance(exp, int) or exp * 1000 <= self._clock.now_ms():
            raise Unauthenticated("invalid token")
        role = self.role_of(str(claims["sub"]))
        if role is None:
            raise Unauthenticated("invalid token")
        return Identity(str(claims["sub"]), role)

    def new_ticket(self, name: str) -> str:
        """A one-time sign-in ticket for account ``name``."""
        ticket = secrets.token_urlsafe(18)
        self._tickets[hash_key(ticket.encode())] = Ticket(name, self._clock.monotonic() + _TICKET_S)
        return ticket

    def redeem(self, ticket: str) -> str | None:
        """The account of a ticket, once."""
        found = self._tickets.pop(hash_key(ticket.encode()), None)
        if found is None or found.until < self._clock.monotonic():
            return None
        return found.account

    def bearer(self, connection: HTTPConnection) -> str:
        """The token in the Authorization header, empty when there is none."""
        scheme, _, token = connection.headers.get("authorization", "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else ""

    def identify(self, connection: HTTPConnection) -> Identity:
        """The person who asks. Raises :class:`Unauthenticated`; :class:`Forbidden` for a foreign page's request."""
        token = self.bearer(connection)
        if token:
            return self.identity_of(token)
        cookie = connection.cookies.get(COOKIE, "")
        if not cookie:
            raise Unauthenticated("missing token")
        if connection.scope["type"] == "websocket" or connection.scope["method"] not in _SAFE:
            self._same_origin(connection)
        return self.identity_of(cookie)

    def _same_origin(self, connection: HTTPConnection) -> None:
        """A browser sends the cookie by itself, so it has to come from our own page."""
        origin = connection.headers.get("origin", "")
        if origin and origin.partition("://")[2] == connection.headers.get("host", ""):
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

    def is_device(self, connection: HTTPConnection, device: Device) -> bool:
        """Whether the request shows the key of ``device``: as Bearer token, or as password of HTTP Basic."""
        key = self.bearer(connection) or _basic_password(connection)
        return bool(key) and key_fits(key.encode(errors="replace"), device.key_hash)

    def device_of(self, connection: HTTPConnection, registry: Registry) -> str:
        """The id of the device whose key the request shows, empty for none."""
        key = self.bearer(connection) or _basic_password(connection)
        return registry.by_key(hash_key(key.encode(errors="replace"))) if key else ""

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def _basic_password(connection: HTTPConnection) -> str:
    scheme, _, value = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(value, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""
