"""Tokens: what they look like, how they are made and taken back.

Theory. A person signs in once and gets a session (:class:`relevo.domain.accounts.SignIn`). A browser holds it as a
random cookie. A program gets an access token, a JWT that lives for minutes and names the session, and where its
contract has one a refresh token, random and good for one exchange. Showing a refresh token that was exchanged before
means that two parties hold it: the session ends for both (RFC 9700, section 4.14.2). Access tokens of a session that
ended are refused at once, because the session is looked up with each.

Signing keys are kept newest first. The newest signs, all verify; an old one is given up once nothing that it signed
can still be good, so a rotation signs nobody out. A rotation is on its way until its commit; what comes after it builds
on it already, or the second of two at the same moment would forget the first one's key.
"""

import secrets
import sys
from collections.abc import Callable, Mapping
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import msgspec

from relevo.domain.accounts import SCOPES, Account, ApiKey, Identity, Role, Secret, SignIn, role_within
from relevo.domain.people import People
from relevo.domain.records import Kept, RecordChange
from relevo.domain.times import is_over
from relevo.errors import Conflict, Unauthenticated

# pyjwt imports cryptography as soon as it finds it, for algorithms that we never accept: 10 MB and 25 ms of each start.
_hide_cryptography = "cryptography" not in sys.modules
if _hide_cryptography:
    sys.modules["cryptography"] = None  # type: ignore[assignment]
import jwt  # noqa: E402

if _hide_cryptography:
    del sys.modules["cryptography"]

_ALGORITHM: Final = "HS256"
_KEY_MARK: Final = "relevo_"
_DAY_S: Final = 86_400


class Terms(NamedTuple):
    """How long a contract's tokens live, in seconds; ``refresh_s`` 0 gives none."""

    access_s: int
    refresh_s: int


TERMS: Final = {
    "native": Terms(3_600, 30 * _DAY_S),
    "hidrometro": Terms(3_600, 0),
    "thingsnxt": Terms(1_800, 7 * _DAY_S),
    "emqx": Terms(3_600, _DAY_S),
}
BROWSER_S: Final = 14 * _DAY_S
# A browser's session is written down again at most this often.
BROWSER_TOUCH_S: Final = 3_600
LONGEST_ACCESS_S: Final = max(terms.access_s for terms in TERMS.values())
SIGNING_KEYS: Final = "token_signing_keys"
"""The name of the secret that holds them."""
_SIGNING_KEYS_MOST: Final = 24


class SigningKey(msgspec.Struct, frozen=True):
    """One key that signs access tokens; ``retired_at`` 0 while it is the newest (milliseconds UTC)."""

    id: str
    value: bytes
    retired_at: int = 0
    # Seconds that the longest token lived which it signed.
    longest_s: int = LONGEST_ACCESS_S

    @property
    def good_until(self) -> int:
        """When the last token that it signed has ended (milliseconds UTC); 0 while it signs."""
        return self.retired_at + self.longest_s * 1000 if self.retired_at else 0


class SigningKeys:
    """The keys in force, newest first; never changed in place."""

    def __init__(self, keys: list[SigningKey]) -> None:
        self._keys = keys

    @staticmethod
    def fresh() -> bytes:
        """What a new installation keeps."""
        return SigningKeys([_new_key()]).encode()

    @staticmethod
    def decode(data: bytes) -> "SigningKeys":
        return SigningKeys(msgspec.msgpack.decode(data, type=list[SigningKey]))

    def encode(self) -> bytes:
        return msgspec.msgpack.encode(self._keys)

    @property
    def newest(self) -> SigningKey:
        return self._keys[0]

    @property
    def former(self) -> list[SigningKey]:
        """Those that sign no more and are needed to read what they signed."""
        return self._keys[1:]

    def get(self, key_id: str) -> SigningKey | None:
        return next((key for key in self._keys if key.id == key_id), None)

    def needed(self, now_ms: int) -> "SigningKeys":
        """These without the ones whose every token has ended."""
        first, *rest = self._keys
        return SigningKeys([first, *(key for key in rest if key.good_until > now_ms)])

    def rotated(self, now_ms: int, longest_s: int = LONGEST_ACCESS_S) -> "SigningKeys":
        """A new key to sign with, and those whose tokens, of ``longest_s`` seconds at most, may still be good.

        Raises :class:`Conflict` when these are too many: every token is tried with one of them.
        """
        first, *rest = self.needed(now_ms)._keys
        if len(rest) + 2 > _SIGNING_KEYS_MOST:
            raise Conflict(
                f"the signing key changed {len(rest)} times within {longest_s // 60} minutes and every former "
                "key is still needed: wait until the oldest has ended"
            )
        return SigningKeys([_new_key(), msgspec.structs.replace(first, retired_at=now_ms, longest_s=longest_s), *rest])


def _new_key() -> SigningKey:
    return SigningKey(secrets.token_hex(6), secrets.token_bytes(32))


def role_word(role: Role, contract: str) -> str:
    """A role as the contract calls it."""
    if contract == "hidrometro":
        return "admin" if role is Role.ADMINISTRATOR else "user"
    return role.name.lower()


def hash_secret(secret: str) -> str:
    """What is kept of a cookie, refresh token, API key or ticket: all are long and random, so one pass is enough."""
    return sha256(secret.encode()).hexdigest()


def new_session(account: str, kind: str, seconds: int, now_ms: int, address: str, agent: str) -> tuple[SignIn, str]:
    """A session and its secret: a browser's cookie, or the first refresh token."""
    secret = secrets.token_urlsafe(32)
    return (
        SignIn(
            secrets.token_hex(8),
            account,
            kind,
            hash_secret(secret),
            "",
            now_ms,
            now_ms,
            now_ms + seconds * 1000,
            address,
            agent[:200],
        ),
        secret,
    )


def refreshed(sign_in: SignIn, seconds: int, now_ms: int, address: str) -> tuple[SignIn, str]:
    """The session after an exchange, and its next refresh token."""
    secret = secrets.token_urlsafe(32)
    return (
        msgspec.structs.replace(
            sign_in,
            secret_hash=hash_secret(secret),
            spent_hash=sign_in.secret_hash,
            used_at=now_ms,
            expires_at=now_ms + seconds * 1000,
            address=address,
        ),
        secret,
    )


def new_api_key(account: str, name: str, scopes: list[str], now_ms: int, expires_at: int) -> tuple[ApiKey, str]:
    """A personal key and its text, ``relevo_ID_SECRET``."""
    key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    return (
        ApiKey(key_id, account, name, hash_secret(secret), scopes, now_ms, expires_at),
        f"{_KEY_MARK}{key_id}_{secret}",
    )


class Tokens:
    """Makes and reads tokens; decides nothing about what their holder may do."""

    def __init__(
        self,
        people: People,
        keys: SigningKeys,
        now_ms: Callable[[], int],
        longest_s: int = LONGEST_ACCESS_S,
        given: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """``longest_s`` is how long any token lives; ``given`` are keys from the settings, by the contract whose tokens
        they sign."""
        self._people = people
        self._longest_s = longest_s
        self._given = {name: value.encode() for name, value in given.items() if value}
        self._keys = keys
        # What will be in force once everything submitted is committed.
        self._planned = keys
        self._now_ms = now_ms

    @property
    def signing_keys(self) -> SigningKeys:
        """The keys in force."""
        return self._keys

    def apply(self, change: RecordChange) -> None:
        """Follow one change of a record: signing begins with a new key when that key is on the disk."""
        match change:
            case Kept(Secret(name, value)) if name == SIGNING_KEYS:
                self._keys = SigningKeys.decode(value)

    def rotate(self) -> tuple[SigningKey, Kept]:
        """A new signing key, and the change to submit. Raises :class:`Conflict`."""
        self._planned = self._planned.rotated(self._now_ms(), self._longest_s)
        return self._planned.newest, self._kept()

    def forget_ended(self) -> Kept | None:
        """The change to submit when a former key is needed no more, otherwise ``None``."""
        needed = self._planned.needed(self._now_ms())
        if len(needed.former) == len(self._planned.former):
            return None
        self._planned = needed
        return self._kept()

    def _kept(self) -> Kept:
        return Kept(Secret(SIGNING_KEYS, self._planned.encode()))

    def access(self, account: Account, sign_in: str, seconds: int, contract: str = "native") -> str:
        """An access token of ``account`` within the session ``sign_in``, good for ``seconds``, in the contract's
        words."""
        now = self._now_ms() // 1000
        claims = {
            "sub": account.name,
            "role": role_word(account.rank, contract),
            "sid": sign_in,
            "iat": now,
            "exp": now + seconds,
            "jti": secrets.token_hex(8),
        }
        newest = self._keys.newest
        key, key_id = (self._given[contract], contract) if contract in self._given else (newest.value, newest.id)
        return jwt.encode(claims, key, algorithm=_ALGORITHM, headers={"kid": key_id})

    def _key(self, key_id: str) -> bytes | None:
        """What verifies a token that names this key."""
        held = self._keys.get(key_id)
        return held.value if held is not None else self._given.get(key_id)

    def identity(self, token: str) -> Identity:
        """Whose access token or API key this is. Raises :class:`Unauthenticated`."""
        if token.startswith(_KEY_MARK):
            return self._of_api_key(token)
        try:
            key = self._key(str(jwt.get_unverified_header(token).get("kid", "")))
            if key is None:
                raise Unauthenticated("invalid token")
            claims = jwt.decode(
                token,
                key,
                algorithms=[_ALGORITHM],
                options={"require": ["exp", "sub", "sid"], "verify_exp": False, "verify_iat": False},
            )
        except jwt.InvalidTokenError:
            raise Unauthenticated("invalid token") from None
        exp = claims["exp"]
        if not isinstance(exp, int) or exp * 1000 <= self._now_ms():
            raise Unauthenticated("invalid token")
        sign_in = self._people.sign_ins.get(str(claims["sid"]))
        if sign_in is None or sign_in.account != claims["sub"]:
            raise Unauthenticated("invalid token")
        return self._person(sign_in.account, sign_in=sign_in.id)

    def session_of(self, token: str) -> str:
        """The session that an access token of ours names, also one whose time is over; empty for anything else."""
        try:
            key = self._key(str(jwt.get_unverified_header(token).get("kid", "")))
            if key is None:
                return ""
            options: Any = {"verify_exp": False, "verify_iat": False}
            return str(jwt.decode(token, key, algorithms=[_ALGORITHM], options=options).get("sid", ""))
        except jwt.InvalidTokenError:
            return ""

    def of_browser(self, cookie: str) -> tuple[Identity, SignIn]:
        """Whose browser this is. Raises :class:`Unauthenticated`."""
        sign_in = self._people.sign_in_by_secret(hash_secret(cookie))
        if sign_in is None or sign_in.kind != "browser" or sign_in.expires_at <= self._now_ms():
            raise Unauthenticated("invalid token")
        return self._person(sign_in.account, sign_in=sign_in.id), sign_in

    def _of_api_key(self, token: str) -> Identity:
        key_id, _, secret = token.removeprefix(_KEY_MARK).partition("_")
        key = self._people.api_keys.get(key_id)
        if (
            key is None
            or not secrets.compare_digest(hash_secret(secret), key.secret_hash)
            or is_over(key.expires_at, self._now_ms())
        ):
            raise Unauthenticated("invalid token")
        person = self._person(key.account)
        return Identity(person.name, role_within(person.role, key.scopes), "", key.id, tuple(key.scopes))

    def _person(self, name: str, sign_in: str = "") -> Identity:
        account = self._people.accounts.get(name)
        if account is None or account.disabled:
            raise Unauthenticated("invalid token")
        return Identity(account.name, account.rank, sign_in, "", SCOPES)
