"""The tail by device is what a look at the whole tail finds, while it moves into chunks and grows."""

import random
from pathlib import Path

from relevo.domain.events import HistoryCorrected, ReadingImported
from relevo.store.db import open_reader
from relevo.store.history import chunks, compaction
from relevo.store.history.tails import Tails
from relevo.store.journal import tail
from relevo.store.writer import Writer
from tests.store.samples import NOW, commit, reading, refused, registered


def test_it_is_followed(path: Path, writer: Writer) -> None:
    chance = random.Random(1)
    devices = ["a", "b", "device-with-a-name-of-more-than-thirty-one-characters", "c"]
    commit(writer, *map(registered, devices))
    connection = open_reader(path)
    tails = Tails(connection)
    for turn in range(30):
        for _ in range(chance.randrange(4)):
            device = chance.choice(devices)
            events = [reading(one, {"v": n}, ts=NOW + chance.randrange(900)) for n, one in enumerate(devices) if n % 2]
            corrected = HistoryCorrected(device, NOW, "v", NOW, NOW + 9, [(NOW + 3, turn)])
            commit(
                writer,
                *events,
                refused(device),
                ReadingImported(device, NOW, "imported", NOW, {"v": turn}),
                *([corrected] if chance.random() < 0.3 else []),
            )
        if turn % 7 == 6:
            of = compaction.read_range(connection)
            for step in compaction.steps(connection, of, lambda: 3):
                writer.maintain(lambda inner, step=step: chunks.commit(inner, step))
        connection.execute("BEGIN")
        low = chunks.progress(connection).low
        many = tails.of(devices, low)
        for device in devices:
            wanted = list(tail(connection, device, low, 0, NOW * 2))
            assert many[device] == wanted
            assert list(tails.scan(connection, device, low, 0, NOW * 2)) == wanted
        connection.execute("ROLLBACK")
    connection.close()
