"""Making, changing and removing what is managed: one commit each, and what follows from it at once."""

import secrets
from typing import Any, Final

import msgspec

from relevo.domain.book import CONTRACT
from relevo.domain.credentials import Credential
from relevo.domain.devices import Device
from relevo.domain.events import DeviceChanged
from relevo.domain.managed import (
    ASSIGNMENTS,
    BROKERS,
    CONFIGS,
    CREDENTIALS,
    SENSORS,
    TOPICS,
    Assignment,
    Body,
    BrokerConfig,
    DeviceAccess,
    DeviceSettings,
    Managed,
)
from relevo.domain.presence import EXPECTED
from relevo.domain.records import Dropped, Kept
from relevo.errors import Conflict, Invalid, NotFound
from relevo.http.api.names import check_name
from relevo.http.emqx.access import NOT_FOUND, Ask
from relevo.http.emqx.fields import Problems, read
from relevo.http.emqx.resources import Resource
from relevo.http.emqx.sealing import seal
from relevo.pipeline import Entry

_TAKEN: Final = "Ya existe una credencial para este dispositivo."


async def save(ask: Ask, resource: Resource, said: dict[str, Any], before: Managed | None, partial: bool) -> Managed:
    """The record after ``said``, which makes it or changes ``before``.

    Raises :class:`Invalid` that names every wrong field.
    """
    problems = Problems()
    values = read(resource.fields, said, problems, partial=partial and before is not None)
    password = values.pop("password", None)
    if password and resource.kind == CREDENTIALS:
        # Long before anything is decided, because it takes its time.
        values["secret_hash"] = await ask.wired.auth.passwords.hash(password)
    elif password is not None:
        name = "secret_hash" if resource.kind == CREDENTIALS else "password"
        values[name] = seal(ask.wired.keyring, password)
    if "client_key" in values:
        values["client_key"] = seal(ask.wired.keyring, values["client_key"])
    async with ask.wired.managed.writing:
        if before is not None:
            before = ask.book.get(before.kind, before.number)
            if before is None:
                raise NotFound(NOT_FOUND)
        _name_device(ask, values, before, problems)
        if resource.kind == CREDENTIALS and not values.get("client_id") and before is None:
            owner = ask.wired.registry.get(str(values.get("device", "")))
            values["client_id"] = owner.external_id if owner is not None and not problems.about("client_id") else "-"
        problems.end()
        now = ask.now
        if before is not None:
            body = msgspec.structs.replace(before.body, **values)
            record_id, more = before.id, list[Entry]()
        else:
            body = resource.body(**values)
            record_id, numbers = ask.book.next(resource.kind)
            more = [Kept(numbers)]
        number = int(record_id.partition(":")[2])
        if resource.check is not None:
            resource.check(ask, body, number, problems)
        if isinstance(body, DeviceAccess):
            _check_access(ask, body, number, problems)
            problems.end()
            body, change = _at_the_door(ask, body, before.body if before is not None else None)
            more += change
        problems.end()
        if isinstance(body, DeviceSettings) and body.is_active:
            more += _expected(ask, body)
        record = Managed(record_id, body, before.created_at if before is not None else now, now)
        what = "change" if before is not None else "create"
        detail = {"fields": sorted(set(said) & {one.name for one in resource.fields})}
        audited = ask.wired.audited(ask.request, ask.identity, f"{resource.kind}.{what}", str(number), detail)
        await ask.wired.pipeline.accept([Kept(record), *more, audited])
    return record


async def remove(ask: Ask, one: Managed) -> None:
    """Take a record away, and what cannot be without it."""
    async with ask.wired.managed.writing:
        gone: list[Entry] = [Dropped(Managed, one.id)]
        if one.kind == BROKERS:
            users = ask.book.all(CONFIGS, DeviceSettings)
            gone += [Dropped(Managed, f"{CONFIGS}:{number}") for number, each in users if each.broker == one.number]
        elif one.kind == TOPICS:
            gone += _without_topic(ask, one.number)
        elif one.kind == SENSORS:
            held = ask.book.all(ASSIGNMENTS, Assignment)
            gone += [Dropped(Managed, f"{ASSIGNMENTS}:{number}") for number, each in held if each.sensor == one.number]
        elif isinstance(one.body, DeviceAccess) and one.body.credential:
            gone.append(Dropped(Credential, one.body.credential))
        audited = ask.wired.audited(ask.request, ask.identity, f"{one.kind}.delete", str(one.number))
        await ask.wired.pipeline.accept([*gone, audited])


async def put(ask: Ask, one: Managed, body: Body, action: str) -> Managed:
    """``one`` with another content. Raises :class:`NotFound` when it is gone."""
    async with ask.wired.managed.writing:
        if ask.book.get(one.kind, one.number) is None:
            raise NotFound(NOT_FOUND)
        record = Managed(one.id, body, one.created_at, ask.now)
        audited = ask.wired.audited(ask.request, ask.identity, action, str(one.number))
        await ask.wired.pipeline.accept([Kept(record), audited])
    return record


def _name_device(ask: Ask, values: dict[str, Any], before: Managed | None, problems: Problems) -> None:
    """``dispositivo`` of the body is the contract's number of a device."""
    if "dispositivo" not in values:
        return
    number = values.pop("dispositivo")
    device = ask.numbered(number)
    if device is None:
        problems.add("dispositivo", f'Clave primaria "{number}" inválida - objeto no existe.')
    else:
        values["device"] = device.id


def _check_access(ask: Ask, body: DeviceAccess, number: int, problems: Problems) -> None:
    for one in ask.book.records(CREDENTIALS):
        other = one.body
        if one.number == number or not isinstance(other, DeviceAccess):
            continue
        if other.device == body.device:
            problems.add("dispositivo", _TAKEN)
        if other.client_id == body.client_id:
            problems.add("client_id", "Ya existe una credencial con este client_id.")
        elif _door_name(other) == _door_name(body):
            problems.add("username", "Ya existe una credencial con este usuario.")
    try:
        ask.wired.dialects[CONTRACT].normalise_id(body.client_id)
    except Invalid:
        problems.add("client_id", "Debe tener de 1 a 100 caracteres, sin / + # $ { }.")
    if ask.book.owner_of(body.client_id) not in ("", body.device) and not problems.about("client_id"):
        problems.add("client_id", "Es la identidad de otro dispositivo.")
    name = _door_name(body)
    known = ask.wired.keyring.by_username(name)
    if known is None or known.id != body.credential:
        try:
            check_name(ask.wired, name, "username")
        except Conflict as taken:
            problems.add("username", f"No está disponible: {taken}")
    if not name.isprintable() or name != name.strip():
        problems.add("username", "Debe ser imprimible y sin espacios alrededor.")


def _door_name(access: DeviceAccess) -> str:
    """The user name with which the device comes: its client id where it has none."""
    return access.username or access.client_id


def _at_the_door(ask: Ask, body: DeviceAccess, before: Body | None) -> tuple[DeviceAccess, list[Entry]]:
    """The account with its credential at the MQTT door, and what to submit with it.

    A change that matters makes another credential, so that whoever came in with the former one has to go.
    """
    known = ask.wired.keyring.get(body.credential) if body.credential else None
    wanted = body.is_active and bool(body.secret_hash)
    if known is not None and wanted and isinstance(before, DeviceAccess):
        same = (known.device, known.username, known.secret_hash) == (body.device, _door_name(body), body.secret_hash)
        if same:
            return body, []
    changes: list[Entry] = [Dropped(Credential, body.credential)] if body.credential else []
    if not wanted:
        return msgspec.structs.replace(body, credential=""), changes
    one = Credential(
        secrets.token_hex(8),
        body.device,
        "password",
        body.secret_hash,
        ask.now,
        0,
        _door_name(body),
        CONTRACT,
        ask.identity.name,
    )
    return msgspec.structs.replace(body, credential=one.id), [*changes, Kept(one)]


def _expected(ask: Ask, body: DeviceSettings) -> list[Entry]:
    """How often it is to publish decides when it counts as gone (section 7)."""
    device: Device | None = ask.wired.registry.get(body.device)
    if device is None or device.attributes.get(EXPECTED) == body.publish_interval:
        return []
    attributes = device.attributes | {EXPECTED: body.publish_interval}
    return [DeviceChanged(device.id, ask.now, {"attributes": attributes}, ask.identity.name)]


def _without_topic(ask: Ask, number: int) -> list[Entry]:
    found: list[Entry] = []
    for one in ask.book.records(CONFIGS):
        settings = one.body
        if not isinstance(settings, DeviceSettings):
            continue
        if settings.publish_topic != number and number not in settings.subscribe_topics:
            continue
        told = None if settings.publish_topic == number else settings.publish_topic
        heard = [each for each in settings.subscribe_topics if each != number]
        body = msgspec.structs.replace(settings, publish_topic=told, subscribe_topics=heard)
        found.append(Kept(Managed(one.id, body, one.created_at, ask.now)))
    return found


def broker_of(one: Managed) -> BrokerConfig:
    assert isinstance(one.body, BrokerConfig)
    return one.body
