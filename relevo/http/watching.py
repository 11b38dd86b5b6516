"""What one person sees of the live events."""

from typing import Final

from relevo.domain import events as ev
from relevo.domain.accounts import Identity, Role
from relevo.domain.devices import Registry
from relevo.domain.people import People

_OF_STRANGERS: Final = (ev.UnclaimedReading, ev.UnclaimedSeen)


class Watching:
    """Asked for every event and every watcher, so an administrator's answer is the first line."""

    def __init__(self, identity: Identity, people: People, registry: Registry) -> None:
        self._identity = identity
        self._people = people
        self._registry = registry
        # Devices they saw: that one of these is gone may be told when it cannot be looked up any more.
        self._seen: set[str] = set()
        self._epoch = -1
        self._good = False

    def good(self) -> bool:
        """Whether the credential they came with is still in force."""
        if self._epoch != self._people.epoch:
            self._epoch = self._people.epoch
            self._good = self._people.good(self._identity)
        return self._good

    def sees(self, event: ev.AnyEvent) -> bool:
        if not self.good():
            return False
        if type(event) is ev.UnclaimedSeen and event.standing:
            # Put aside: the list shows it to who asks for it.
            return False
        if type(event) is ev.NotificationRaised:
            # Somebody else's mail is not an administrator's to read either.
            return self._identity.name in event.to
        if self._identity.role is Role.ADMINISTRATOR:
            return True
        if isinstance(event, _OF_STRANGERS) or (type(event) is ev.Noticed and not event.device):
            return self._identity.at_least(Role.OPERATOR)
        if type(event) is ev.RolloutChanged:
            return self._identity.name == event.owner
        device_id = getattr(event, "device", "")
        device = self._registry.get(device_id) if device_id else None
        if device is None:
            return type(event) is ev.DeviceRemoved and device_id in self._seen
        if self._people.right(self._identity, device):
            self._seen.add(device_id)
            return True
        return False


class Standing(Watching):
    """The same for what is done in somebody's name while they are not signed in: with the rights they have then."""

    def __init__(self, name: str, people: People, registry: Registry) -> None:
        super().__init__(Identity(name, Role.VIEWER), people, registry)

    def good(self) -> bool:
        """Whether they may sign in at all."""
        if self._epoch != self._people.epoch:
            self._epoch = self._people.epoch
            account = self._people.accounts.get(self._identity.name)
            self._good = account is not None and not account.disabled
            if account is not None:
                self._identity = Identity(account.name, account.rank)
        return self._good
