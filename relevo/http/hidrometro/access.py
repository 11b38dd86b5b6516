"""Who may do what on the paths of water meters (contract hidrometro, sections 4 and 9)."""

import hmac
from hashlib import sha256
from typing import Final

from starlette.requests import HTTPConnection

from relevo.domain.accounts import Identity, Role
from relevo.domain.devices import Device
from relevo.domain.grants import Right
from relevo.domain.meters import CONTRACT, Sees
from relevo.domain.networks import is_private
from relevo.errors import Forbidden
from relevo.http.services import Services, address_of

CSRF_HEADER: Final = "x-csrf-token"


def readable(connection: HTTPConnection, wired: Services) -> Sees | None:
    """Which serial numbers the request may see, ``None`` for all.

    Section 9.3: all on private addresses while the switch is on, otherwise those of the person's devices. Raises
    :class:`Unauthenticated`.
    """
    if wired.settings.reads_open and is_private(address_of(connection)):
        return None
    return seen_by(wired.auth.identify(connection), wired)


def seen_by(identity: Identity, wired: Services) -> Sees | None:
    """Which serial numbers ``identity`` may see, asked anew each time; ``None`` for all."""
    if identity.role is Role.ADMINISTRATOR:
        return None

    def sees(serial: str) -> bool:
        device = wired.registry.find(CONTRACT, serial)
        return device is not None and bool(wired.auth.people.right(identity, device))

    return sees


def meters_of(identity: Identity, wired: Services) -> list[Device]:
    """The meters that ``identity`` may view, in the order of their registration."""
    right = wired.auth.people.right
    return [one for one in wired.registry.of_contract(CONTRACT) if right(identity, one) >= Right.VIEW]


def csrf_token(identity: Identity, wired: Services) -> str:
    """What a form of ours shows to prove that it is ours; empty for somebody without a session."""
    if not identity.sign_in:
        return ""
    key = wired.keyring.secret_for("forms").encode()
    return hmac.new(key, identity.sign_in.encode(), sha256).hexdigest()


def check_csrf(identity: Identity, wired: Services, shown: str) -> None:
    """Raise :class:`Forbidden` for a request that no form of ours sent."""
    wanted = csrf_token(identity, wired)
    if not wanted or not hmac.compare_digest(wanted.encode(), shown.encode(errors="replace")):
        raise Forbidden("forbidden")
