"""New firmware over MQTT: what a board that asks is given (``docs/updates.md``, "Over MQTT").

Answers leave at QoS 0 and are kept for nobody: a board asks again for what did not come.
"""

import asyncio
from typing import TYPE_CHECKING, Any, Final

from relevo.dialect import Said, Updatable
from relevo.domain.manifests import PieceWanted, piece
from relevo.domain.releases import Board
from relevo.errors import Conflict, NotFound, RelevoError
from relevo.log import get_logger
from relevo.pipeline import Outcome

if TYPE_CHECKING:
    from relevo.mqtt.broker import Broker
    from relevo.mqtt.connection import Connection

log = get_logger("relevo.mqtt")

# A board waits for one answer at a time; who asks for more before it came gets fewer.
_AT_ONCE_MOST: Final = 4


class Updating:
    """One for the whole door."""

    def __init__(self, broker: "Broker") -> None:
        self._broker = broker
        self._under_way: dict[str, int] = {}

    def asked(self, connection: "Connection", said: Any) -> None:
        """A device that proved who it is asks over ``connection``; what it only reports is no question."""
        if isinstance(said, Board):
            # What it said of itself, and that it was offered something, is on the disk before it hears.
            self._broker.pipeline.submit((), self._looked, connection)
        elif isinstance(said, PieceWanted):
            self._begin(connection, said)

    def _looked(self, connection: Any, _: Outcome) -> None:
        self._begin(connection, None)

    def _begin(self, connection: "Connection", wanted: PieceWanted | None) -> None:
        if connection.ended or connection.principal is None:
            return
        device = connection.principal.device
        running = self._under_way.get(device, 0)
        if running >= _AT_ONCE_MOST:
            self._broker.counts["dropped"] += 1
            return
        self._under_way[device] = running + 1
        task = asyncio.ensure_future(self._answer(connection, device, wanted))
        task.add_done_callback(lambda _: self._over(device))
        self._broker.keep(task)

    def _over(self, device: str) -> None:
        self._under_way[device] -= 1
        if not self._under_way[device]:
            del self._under_way[device]

    async def _answer(self, connection: "Connection", device_id: str, wanted: PieceWanted | None) -> None:
        broker, updates = self._broker, self._broker.intake.updates
        device = broker.intake.device(device_id)
        dialect: object = broker.intake.dialect_of(device_id)
        if updates is None or device is None or not isinstance(dialect, Updatable):
            return
        topics = dialect.update_topics(device.external_id)
        try:
            if wanted is None:
                said = Said(topics.manifest, await updates.manifest(device, connection.update_key), 0)
            else:
                said = Said(topics.image, piece(wanted.offset, await self._read(device_id, wanted)), 0)
        except RelevoError as error:
            log.warning("update_not_given", device=device_id, error=str(error))
            return
        broker.say(device_id, said, "", 0)

    async def _read(self, device: str, wanted: PieceWanted) -> bytes:
        """The piece, empty when there is nothing to give."""
        updates = self._broker.intake.updates
        assert updates is not None
        try:
            release = updates.image_for(device, wanted.release)
        except (NotFound, Conflict):
            return b""
        data = await updates.firmware.read(release)
        return data[wanted.offset : wanted.offset + wanted.length]
