"""Names with which somebody comes to the MQTT door: each belongs to one device, one credential or one person.

There a device is looked for first, then a credential, then a person, so whoever came second under one name would shadow
the other or be shadowed.
"""

import contextlib
from collections.abc import Iterator

from relevo.domain.keyring import LEGACY_USER
from relevo.errors import Conflict
from relevo.http.services import Services


def check_name(wired: Services, name: str, field: str, person: str = "") -> None:
    """Raises :class:`Conflict` when ``name`` is taken; ``person`` may have it, ``field`` is what it was given as."""
    account = wired.auth.people.find(name)
    if wired.registry.get(name) is not None:
        whose = "the id of a device"
    elif wired.keyring.by_username(name) is not None:
        whose = "the MQTT user name of a device's credential"
    elif account is not None and account.name != person:
        whose = "the name or address of a person"
    elif name == LEGACY_USER:
        whose = "the account of relay boards without a key"
    else:
        return
    raise Conflict(f"{field} {name!r} is taken: it is {whose}")


@contextlib.contextmanager
def taking_name(wired: Services, name: str, field: str) -> Iterator[None]:
    """While somebody takes ``name`` nobody else may. Raises :class:`Conflict`."""
    with wired.claims.taking("name", name):
        check_name(wired, name, field)
        yield
