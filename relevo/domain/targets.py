"""Whom an action means, at the moment at which it happens."""

from typing import NamedTuple

from relevo.domain.accounts import Identity
from relevo.domain.bulk import Selection
from relevo.domain.devices import Registry
from relevo.domain.grants import Right
from relevo.domain.people import People


class Meant(NamedTuple):
    """The devices that are meant, those named that are left out, and why there can be none at all."""

    devices: list[str]
    left_out: list[str]
    problem: str = ""


def meant(selection: Selection, owner: str, people: People, registry: Registry) -> Meant:
    """Whom a selection means at this moment: what fits it and its owner may control."""
    named = list(dict.fromkeys(selection.devices))
    account = people.accounts.get(owner)
    if account is None or account.disabled:
        return Meant([], named, f"its owner {owner!r} may not sign in")
    identity = Identity(account.name, account.rank)
    held = [one for one in map(registry.get, named) if one is not None] if named else registry.all()
    devices = [one.id for one in held if selection.fits(one) and people.right(identity, one) >= Right.CONTROL]
    known = set(devices)
    return Meant(devices, [one for one in named if one not in known])
