"""``/api/v1/users``: people and their roles, for administrators."""

from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from relevo.domain.accounts import Account, ApiKey, Identity, Role, SignIn
from relevo.domain.bulk import Bulk
from relevo.domain.deliveries import DeliveriesForgotten, WebhookProgress
from relevo.domain.erasing import ERASED
from relevo.domain.events import AnyEvent, DeviceChanged
from relevo.domain.grants import Grant
from relevo.domain.passwords import check_password
from relevo.domain.preferences import Preferences
from relevo.domain.records import Dropped, Kept, NameErased, Record, RecordChange
from relevo.domain.rollouts import Rollout
from relevo.domain.rules import Rule
from relevo.domain.schedules import Schedule, ScheduleProgress
from relevo.domain.webhooks import Webhook
from relevo.errors import Conflict, FieldError, Invalid, NotFound
from relevo.http.api.names import check_name, taking_name
from relevo.http.api.times import iso
from relevo.http.needs import Administrator
from relevo.http.passwords import common_passwords
from relevo.http.services import Services, Wired
from relevo.store import records

router = APIRouter(prefix="/api/v1", tags=["people"])
RoleName = Literal["administrator", "operator", "viewer"]

_NAME = r"^[A-Za-z0-9_.@-]{1,64}$"
_EMAIL = r"^$|^[^@\s]{1,64}@[^@\s]{1,190}$"


class UserOut(BaseModel):
    """A person; passwords are never part of any answer."""

    name: str
    role: str
    email: str
    full_name: str
    disabled: bool
    created_at: str | None
    password_changed_at: str | None


class UserPage(BaseModel):
    items: list[UserOut]
    next: str | None


class NewUser(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=_NAME)
    password: str = Field(max_length=1024)
    role: RoleName = "viewer"
    email: str = Field(default="", max_length=254, pattern=_EMAIL)
    full_name: str = Field(default="", max_length=128)


class UserChange(BaseModel):
    """What may be changed; fields that are absent stay. A new password ends the person's sessions."""

    model_config = ConfigDict(extra="forbid")

    role: RoleName | None = None
    password: str | None = Field(default=None, max_length=1024)
    email: str | None = Field(default=None, max_length=254, pattern=_EMAIL)
    full_name: str | None = Field(default=None, max_length=128)
    disabled: bool | None = None


def render(account: Account) -> dict[str, Any]:
    return {
        "name": account.name,
        "role": account.role,
        "email": account.email,
        "full_name": account.full_name,
        "disabled": account.disabled,
        "created_at": iso(account.created_at),
        "password_changed_at": iso(account.password_changed_at),
    }


def _find(wired: Services, name: str) -> Account:
    account = wired.auth.people.accounts.get(name)
    if account is None:
        raise NotFound(f"no user {name!r}")
    return account


def _check_email(wired: Services, name: str, email: str) -> None:
    other = wired.auth.people.find(email) if email else None
    if other is not None and other.name != name:
        raise Conflict(f"the address {email!r} belongs to another user")
    if email:
        check_name(wired, email, "email", name)


def _check_administrators(wired: Services, account: Account, *, stays: bool) -> None:
    """Raises :class:`Conflict` when nobody would be left who can administer."""
    if stays or account.rank is not Role.ADMINISTRATOR or account.disabled:
        return
    others = [
        one
        for one in wired.auth.people.accounts.values()
        if one.name != account.name and one.rank is Role.ADMINISTRATOR and not one.disabled
    ]
    if not others:
        raise Conflict("this is the last administrator")


@router.get("/users", response_model=UserPage)
async def list_users(wired: Wired, identity: Administrator) -> dict[str, Any]:
    """Everybody, ordered by name."""
    found = sorted(wired.auth.people.accounts.values(), key=lambda one: one.name)
    return {"items": [render(one) for one in found], "next": None}


@router.post("/users", status_code=201, response_model=UserOut)
async def create_user(
    request: Request, wired: Wired, identity: Administrator, body: NewUser, response: Response
) -> dict[str, Any]:
    """Add a person. Passwords: at least 8 characters, none that everybody tries first."""
    if wired.auth.people.accounts.get(body.name) is not None:
        raise Conflict(f"a user {body.name!r} exists already")
    with taking_name(wired, body.name, "name"):
        _check_email(wired, body.name, body.email)
        text = check_password(body.password, common_passwords, (body.name, body.email))
        now = wired.clock.now_ms()
        account = Account(
            body.name, body.role, await wired.auth.passwords.hash(text), now, body.email, body.full_name, False, now
        )
        await wired.pipeline.accept(
            [Kept(account), wired.audited(request, identity, "user.create", body.name, {"role": body.role})]
        )
    response.headers["Location"] = f"/api/v1/users/{body.name}"
    return render(account)


@router.get("/users/{name}", response_model=UserOut)
async def get_user(wired: Wired, identity: Administrator, name: str) -> dict[str, Any]:
    return render(_find(wired, name))


@router.patch("/users/{name}", response_model=UserOut)
async def change_user(
    request: Request, wired: Wired, identity: Administrator, name: str, body: UserChange
) -> dict[str, Any]:
    """Change a person's role, password, address, name or whether they may sign in at all."""
    account = _find(wired, name)
    changes = body.model_dump(exclude_none=True)
    if not changes:
        message = "nothing to change: give role, password, email, full_name or disabled"
        raise Invalid("empty", message, [FieldError("body", message)])
    stays = changes.get("role", account.role) == "administrator" and not changes.get("disabled", account.disabled)
    _check_administrators(wired, account, stays=stays)
    password = changes.pop("password", None)
    if "email" in changes:
        _check_email(wired, name, changes["email"])
    changed = msgspec.structs.replace(account, **changes)
    if password is not None:
        text = check_password(password, common_passwords, (name, changed.email))
        changed = await wired.auth.with_password(changed, text)
    ended: list[SignIn] = []
    if password is not None or changed.disabled:
        ended = wired.auth.people.sign_ins_of(name)
    told = {"changes": sorted(changes) + (["password"] if password is not None else [])}
    if "role" in changes:
        told["role"] = changes["role"]
    await wired.pipeline.accept(
        [
            Kept(changed),
            *(Dropped(SignIn, one.id) for one in ended),
            wired.audited(request, identity, "user.change", name, told),
        ]
    )
    return render(changed)


@router.delete("/users/{name}", status_code=204)
async def delete_user(
    request: Request,
    wired: Wired,
    identity: Administrator,
    name: str,
    erase: Annotated[
        bool, Query(description="Also take the name out of the audit log and of everything that happened.")
    ] = False,
) -> None:
    """Remove a person with all that is theirs. Their devices belong to nobody then.

    What they did stays answerable under their name for the days of the audit log; with `erase` it is `erased` that did
    it, everywhere and for ever.
    """
    account = _find(wired, name)
    made = await wired.readers.run_core(records.made_by, name) if erase else []
    # Nothing may come between this look and what follows from it.
    _find(wired, name)
    nameless = nameless_records(wired, name, made) if erase else []
    await wired.pipeline.accept([*nameless, *removal(request, wired, identity, account, erase=erase)])


def nameless_records(wired: Services, name: str, made: list[Record]) -> list[RecordChange]:
    """What ``name`` ``made``, without that."""
    others = [one for one in made if type(one) not in (Bulk, Rollout)]
    found: list[RecordChange] = [Kept(msgspec.structs.replace(one, by=ERASED)) for one in others]
    for bulk in wired.bulks.all.values():
        by, reason = bulk.by == name, bulk.reason == f"by {name}"
        if by or reason:
            reason_left = f"by {ERASED}" if reason else bulk.reason
            found.append(Kept(msgspec.structs.replace(bulk, by=ERASED if by else bulk.by, reason=reason_left)))
    for rollout in wired.updates.all.values():
        if name in (rollout.by, rollout.changed_by):
            maker, changer = (ERASED if one == name else one for one in (rollout.by, rollout.changed_by))
            found.append(Kept(msgspec.structs.replace(rollout, by=maker, changed_by=changer)))
    return found


def removal(
    request: Request, wired: Services, identity: Identity, account: Account, *, erase: bool = False
) -> list[RecordChange | AnyEvent]:
    """What goes when ``identity`` removes ``account``, with ``erase`` the name, too.

    Raises :class:`Conflict` for the last administrator.
    """
    _check_administrators(wired, account, stays=False)
    name = account.name
    people = wired.auth.people
    now = wired.clock.now_ms()
    timed = [one.id for one in wired.schedules.all.values() if one.owner == name]
    hooks = [one.id for one in wired.webhooks.all.values() if one.owner == name]
    owned = [device for device in wired.registry.all() if device.owner == name]
    return [
        Dropped(Account, name),
        Dropped(Preferences, name),
        *(Dropped(SignIn, one.id) for one in people.sign_ins_of(name)),
        *(Dropped(ApiKey, one.id) for one in people.api_keys_of(name)),
        *(Dropped(Grant, one.id) for one in people.grants_of(name)),
        *(Dropped(Rule, one.id) for one in wired.rules.all.values() if one.owner == name),
        *(Dropped(kind, one) for one in timed for kind in (Schedule, ScheduleProgress)),
        *wired.notifications.belongings(name),
        *wired.dashboards.belongings(name),
        *wired.boards.belongings(name),
        *(Dropped(kind, one) for one in hooks for kind in (Webhook, WebhookProgress)),
        *(DeliveriesForgotten(one) for one in hooks),
        *(DeviceChanged(device.id, now, {"owner": ""}, identity.name) for device in owned),
        *([NameErased(name, (account.email,) if account.email else ())] if erase else ()),
        # Who did it is answerable; of whom would be the name again.
        wired.audited(
            request,
            identity,
            "user.erase" if erase else "user.delete",
            ERASED if erase else name,
            {"devices_released": len(owned)},
        ),
    ]
