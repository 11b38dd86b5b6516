"""The road from a door to the disk and back, opened: what the database holds, who is known, and what keeps both."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from relevo import dialects as contracts
from relevo.appearances import Appearances
from relevo.bus import Bus
from relevo.clock import Clock
from relevo.dialect import Dialect, LogsStatus
from relevo.directory import PEPPER_FILE, DataDirectory
from relevo.domain.book import Book
from relevo.domain.credentials import Credential
from relevo.domain.devices import Registry
from relevo.domain.joining import Claims
from relevo.domain.keyring import HASH_PREFIX, Keyring
from relevo.domain.managed import Managed
from relevo.domain.people import People
from relevo.domain.records import Kept, RecordChange
from relevo.domain.webhooks import Webhook
from relevo.errors import ConfigurationError
from relevo.loading import Loaded, load
from relevo.pairing import Pairing
from relevo.pipeline import Pipeline
from relevo.refusals import Refusals
from relevo.settings import Settings
from relevo.store.checkpoints import Checkpointer
from relevo.store.db import FILE_NAME
from relevo.store.readers import Readers
from relevo.store.schema import prepare
from relevo.store.writer import Writer


class Road(NamedTuple):
    """``generated_password`` is that of the first administrator when this start made it up, otherwise empty."""

    path: Path
    loaded: Loaded
    generated_password: str
    registry: Registry
    people: People
    keyring: Keyring
    book: Book
    dialects: dict[str, Dialect]
    appearances: Appearances
    bus: Bus
    checkpointer: Checkpointer
    pipeline: Pipeline
    readers: Readers
    refusals: Refusals
    claims: Claims
    pairing: Pairing

    def recall(self, follow: Callable[[RecordChange], None]) -> None:
        """Show ``follow`` every record that is kept, as if it were kept now."""
        for one in self.loaded.records:
            follow(Kept(one))


def open_road(settings: Settings, clock: Clock, directory: DataDirectory, stack: ExitStack) -> Road:
    """Open it; ``stack`` gets what closes it again. Raises :class:`ConfigurationError`."""
    directory.open()
    stack.callback(directory.close)
    path = directory.path / FILE_NAME
    prepare(path)
    pepper, fresh = directory.secret_key()
    loaded, generated = load(path, directory, settings.admin_password, clock.now_ms())
    known, registered = loaded.records, loaded.registered
    bound = any(device.key_hash.startswith(HASH_PREFIX) for device in registered)
    if fresh and (bound or any(isinstance(one, Webhook) for one in known)):
        (directory.path / PEPPER_FILE).unlink()
        raise ConfigurationError(
            f"{directory.path / PEPPER_FILE} is missing, and no device's key can be checked without it, nor a "
            "webhook signed: "
            "restore it from a backup"
        )
    registry = Registry()
    registry.load(registered)
    people = People()
    people.load(known)
    keyring = Keyring(registry, pepper)
    keyring.load(one for one in known if isinstance(one, Credential))
    registry.reserved = lambda name: people.find(name) is not None or keyring.by_username(name) is not None
    bus = Bus()
    book = Book(registry)
    book.load(one for one in known if isinstance(one, Managed))
    dialects = contracts.load(
        {
            "native": {
                "keys_per_reading": settings.limits.keys_per_reading,
                "batch_items": settings.limits.batch_items,
                "answer_ms": round(settings.commands.answer_s * 1000),
            },
            "hidrometro": settings.hidrometro.model_dump(),
            "autocore": settings.autocore.model_dump(),
            "alchemy": settings.alchemy.model_dump(),
            "thingsnxt": settings.thingsnxt.model_dump(),
            "emqx": {"book": book},
        }
    )
    appearances = Appearances(registry, dialects)
    for one in known:
        appearances.apply(Kept(one))
    writer = Writer(
        path,
        settings.limits.timeline_entries,
        settings.limits.unclaimed,
        settings.commands.kept_per_device,
        settings.notifications.kept_per_person,
        {name: one.logged for name, one in dialects.items() if isinstance(one, LogsStatus)},
        appearances.lines,
    )
    writer.open()
    stack.callback(writer.close)
    checkpointer = Checkpointer(path)
    pipeline = Pipeline(writer, checkpointer, registry, bus, clock, settings.limits.queue_events)
    readers = Readers(path)
    stack.callback(readers.close)
    refusals = Refusals(pipeline, clock)
    claims = Claims()
    for one in known:
        claims.apply(Kept(one))
    pairing = Pairing(pipeline, clock, settings.open_registration)
    stack.callback(pairing.stop)
    return Road(
        path, loaded, generated, registry, people, keyring, book, dialects, appearances, bus, checkpointer, pipeline,
        readers, refusals, claims, pairing,
    )  # fmt: skip
