"""People who sign in, their sessions and their keys. Every contract's own role names map to the three roles here."""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

import msgspec

SCOPES: Final = ("read", "control", "manage")
"""What an API key may be limited to: look, steer devices, or everything its owner may."""


class Role(IntEnum):
    """Ordered: a higher role may do all that a lower one may."""

    VIEWER = 1
    OPERATOR = 2
    ADMINISTRATOR = 3


# The most that a key with this scope alone amounts to.
_ROLE_OF_SCOPE: Final = {"read": Role.VIEWER, "control": Role.OPERATOR, "manage": Role.ADMINISTRATOR}


class Account(msgspec.Struct, frozen=True):
    """One person. ``password_hash`` is Argon2id; times in milliseconds UTC."""

    name: str
    role: str
    password_hash: str
    created_at: int
    email: str = ""
    full_name: str = ""
    disabled: bool = False
    password_changed_at: int = 0

    @property
    def rank(self) -> Role:
        return Role[self.role.upper()]


class SignIn(msgspec.Struct, frozen=True):
    """One signed-in browser or program. Access tokens name it, so dropping it ends them all at once.

    ``secret_hash`` belongs to the browser's cookie or to the refresh token in force, ``spent_hash`` to the refresh
    token before it: whoever shows that one stole it, or was stolen from. Times in milliseconds UTC.
    """

    id: str
    account: str
    kind: str
    secret_hash: str
    spent_hash: str
    created_at: int
    used_at: int
    expires_at: int
    address: str = ""
    agent: str = ""


class ApiKey(msgspec.Struct, frozen=True):
    """A key a person made for a program of theirs; ``id`` is its visible beginning. 0 means never."""

    id: str
    account: str
    name: str
    secret_hash: str
    scopes: list[str]
    created_at: int
    expires_at: int = 0
    used_at: int = 0


class Secret(msgspec.Struct, frozen=True):
    """A secret of this installation; what ``value`` means is known to whoever knows the ``name``."""

    name: str
    value: bytes


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks: a person, with the role that the shown credential amounts to.

    ``sign_in`` is the session's id, ``api_key`` the key's, one of them empty.
    """

    name: str
    role: Role
    sign_in: str = ""
    api_key: str = ""
    scopes: tuple[str, ...] = field(default=SCOPES)

    def at_least(self, role: Role) -> bool:
        return self.role >= role


def role_within(role: Role, scopes: list[str]) -> Role:
    """What remains of a person's role in a key that has only ``scopes``."""
    return min(role, max((_ROLE_OF_SCOPE[scope] for scope in scopes), default=Role.VIEWER))
