"""Taking devices into one's own: what approving, claiming and importing have in common."""

from collections.abc import Sequence

from relevo.domain.accounts import Identity, Role
from relevo.domain.claims import ClaimCode, Screening, identity_key
from relevo.domain.devices import Device, check_id
from relevo.domain.events import Audited, DeviceRegistered
from relevo.domain.records import Dropped, Kept, RecordChange
from relevo.errors import Conflict, FieldError, Invalid
from relevo.http.api.names import check_name
from relevo.http.services import Services


def normalised(wired: Services, contract: str, external_id: str, empty: bool = False) -> str:
    """``external_id`` as ``contract`` compares it; with ``empty``, the identity of whoever names none is allowed.

    Raises :class:`Invalid` that names ``contract`` or ``external_id``.
    """
    dialect = wired.dialects.get(contract)
    if dialect is None:
        message = f"contract must be one of {', '.join(sorted(wired.dialects))}"
        raise Invalid("contract_unknown", message, [FieldError("contract", message)])
    return external_id if empty and not external_id else dialect.normalise_id(external_id)


def refuse_blocked(wired: Services, contract: str, external_id: str) -> None:
    """Raises :class:`Conflict` for a blocked identity."""
    if wired.claims.standing(contract, external_id) == "blocked":
        raise Conflict(f"{contract} {external_id!r} is blocked: restore it in the list of unclaimed devices first")


def may_take(wired: Services, identity: Identity, contract: str, external_id: str) -> bool:
    """Whether somebody may take an identity, or make codes for it, without showing one of its codes."""
    if identity.role is Role.ADMINISTRATOR:
        return True
    device = wired.registry.find(contract, external_id)
    if device is not None and device.owner:
        return device.owner == identity.name
    return not wired.claims.needs_code(contract, external_id, identity.name, wired.clock.now_ms())


def spent(wired: Services, contract: str, external_id: str) -> list[RecordChange]:
    """What ends when an identity is taken: its codes, and what an operator decided about the stranger."""
    gone: list[RecordChange] = [Dropped(ClaimCode, one.id) for one in wired.claims.codes_of(contract, external_id)]
    if wired.claims.standing(contract, external_id):
        gone.append(Dropped(Screening, identity_key(contract, external_id)))
    return gone


async def register(
    wired: Services, event: DeviceRegistered, chosen_id: str, audited: Audited, records: Sequence[RecordChange]
) -> Device:
    """Commit a registration; ``event`` and ``audited`` get the device's id, which is ``chosen_id`` or made up.

    Raises :class:`Conflict` when the identity or the id is taken, :class:`Invalid` for a bad id.
    """
    if wired.registry.find(event.contract, event.external_id) is not None:
        raise Conflict(f"{event.contract} device {event.external_id!r} is registered already")
    event.device = check_id(chosen_id) if chosen_id else wired.registry.free_id(event.contract, event.external_id)
    if wired.registry.get(event.device) is not None:
        raise Conflict(f"a device {event.device!r} exists already")
    check_name(wired, event.device, "id")
    audited.target = event.device
    codes = [wired.claims.code(one.key) for one in records if isinstance(one, Dropped) and one.kind is ClaimCode]
    outcome = await wired.pipeline.accept([event, audited, *records])
    device = wired.registry.find(event.contract, event.external_id)
    if outcome.lost or device is None:
        # Somebody was faster; the codes are still good.
        await wired.pipeline.accept([Kept(one) for one in codes if one is not None])
        raise Conflict(
            f"{event.contract} device {event.external_id!r} or a device {event.device!r} is registered already"
        )
    return device
