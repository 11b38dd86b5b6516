"""Everybody who may sign in, with their sessions, keys, grants and preferences: in memory, kept equal to the store."""

from collections.abc import Iterable

from relevo.domain.accounts import Account, ApiKey, Identity, SignIn
from relevo.domain.devices import Device
from relevo.domain.grants import Grant, Right, right_of
from relevo.domain.preferences import Preferences
from relevo.domain.records import Dropped, Kept, Record, RecordChange


class People:
    """The directory. :meth:`apply` follows every commit."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.sign_ins: dict[str, SignIn] = {}
        self.api_keys: dict[str, ApiKey] = {}
        self.grants: dict[str, Grant] = {}
        self.preferences: dict[str, Preferences] = {}
        self._by_email: dict[str, str] = {}
        self._by_secret: dict[str, str] = {}
        self._grants_of: dict[str, dict[str, Grant]] = {}
        # Raised by every change, so that whoever remembers an answer knows when to ask again.
        self.epoch = 0

    def load(self, records: Iterable[Record]) -> None:
        for record in records:
            self.apply(Kept(record))

    def apply(self, change: RecordChange) -> None:
        """Follow one change; those about other things change nothing."""
        match change:
            case Kept(Account() as account):
                self._forget_account(account.name)
                self.accounts[account.name] = account
                if account.email:
                    self._by_email[account.email.casefold()] = account.name
            case Kept(SignIn() as sign_in):
                self._forget_sign_in(sign_in.id)
                self.sign_ins[sign_in.id] = sign_in
                for secret in (sign_in.secret_hash, sign_in.spent_hash):
                    if secret:
                        self._by_secret[secret] = sign_in.id
            case Kept(ApiKey() as key):
                self.api_keys[key.id] = key
            case Kept(Grant() as grant):
                self._forget_grant(grant.id)
                self.grants[grant.id] = grant
                self._grants_of.setdefault(grant.account, {})[grant.id] = grant
            case Kept(Preferences() as preferences):
                # No right hangs on it.
                self.preferences[preferences.id] = preferences
                return
            case Dropped(kind, key) if kind is Preferences:
                self.preferences.pop(key, None)
                return
            case Dropped(kind, key) if kind is Account:
                self._forget_account(key)
            case Dropped(kind, key) if kind is SignIn:
                self._forget_sign_in(key)
            case Dropped(kind, key) if kind is ApiKey:
                self.api_keys.pop(key, None)
            case Dropped(kind, key) if kind is Grant:
                self._forget_grant(key)
            case _:
                return
        self.epoch += 1

    def find(self, name_or_email: str) -> Account | None:
        """The account with this name, or with this address when it has an ``@``."""
        found = self.accounts.get(name_or_email)
        if found is None and "@" in name_or_email:
            found = self.accounts.get(self._by_email.get(name_or_email.casefold(), ""))
        return found

    def preferences_of(self, account: str) -> Preferences:
        """What a person wants of the interface, with the defaults for whoever said nothing."""
        return self.preferences.get(account) or Preferences(account)

    def sign_in_by_secret(self, secret_hash: str) -> SignIn | None:
        """The session that this cookie or refresh token belongs to, or once belonged to."""
        return self.sign_ins.get(self._by_secret.get(secret_hash, ""))

    def sign_ins_of(self, account: str) -> list[SignIn]:
        return [one for one in self.sign_ins.values() if one.account == account]

    def api_keys_of(self, account: str) -> list[ApiKey]:
        return [one for one in self.api_keys.values() if one.account == account]

    def grants_of(self, account: str) -> Iterable[Grant]:
        return self._grants_of.get(account, {}).values()

    def shares_of_device(self, device_id: str) -> list[Grant]:
        """The grants of this device alone; those of its site and tags are not among them."""
        return [one for one in self.grants.values() if (one.scope, one.value) == ("device", device_id)]

    def right(self, identity: Identity, device: Device) -> Right:
        """What ``identity`` may do with ``device``."""
        return right_of(identity, device, self.grants_of(identity.name))

    def good(self, identity: Identity) -> bool:
        """Whether the credential behind ``identity`` is still in force, with the role it had."""
        account = self.accounts.get(identity.name)
        if account is None or account.disabled or account.rank < identity.role:
            return False
        if identity.sign_in:
            return identity.sign_in in self.sign_ins
        return identity.api_key in self.api_keys

    def _forget_account(self, name: str) -> None:
        account = self.accounts.pop(name, None)
        if account is not None and self._by_email.get(account.email.casefold()) == name:
            del self._by_email[account.email.casefold()]

    def _forget_sign_in(self, sign_in_id: str) -> None:
        sign_in = self.sign_ins.pop(sign_in_id, None)
        if sign_in is not None:
            for secret in (sign_in.secret_hash, sign_in.spent_hash):
                if self._by_secret.get(secret) == sign_in_id:
                    del self._by_secret[secret]

    def _forget_grant(self, grant_id: str) -> None:
        grant = self.grants.pop(grant_id, None)
        if grant is not None:
            held = self._grants_of[grant.account]
            held.pop(grant_id, None)
            if not held:
                del self._grants_of[grant.account]
