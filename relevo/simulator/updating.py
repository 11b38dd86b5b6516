"""New firmware as ``docs/updates.md`` has it, from the board's side and over MQTT; worded from that page alone.

A board says what it runs whenever it comes online or is told to look. What it is offered it verifies as a real one
does (signature, device, board, ``boot``, byte code, ``issued``), downloads in pieces, verifies once more, starts again,
is on trial for a while and says what became of it. What that is was decided before (``outcomes``).
"""

import asyncio
import contextlib
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from relevo.simulator import outcomes
from relevo.simulator.gear import Gear
from relevo.simulator.mqtt_client import ConnectionRefusedByServer, MqttClient
from relevo.simulator.packets import Message
from relevo.simulator.words import compact

MARK: Final = b"relevo-update-1"
FIRST_VERSION: Final = "1.0.0"
BOOT: Final = 1
MPY: Final = 6
_MANIFEST_MOST: Final = 1_024
_ANSWER_S: Final = 10.0
_TRIES: Final = 6
_PIECE: Final = 8_192
_SLOW_PIECE: Final = 1_024
_SLOW_PAUSE_S: Final = 0.05
_TOLD_EVERY_PERCENT: Final = 10
_STOPS_AT_PERCENT: Final = 40
_REASONS: Final = ("tries", "not_healthy", "crash: ImportError: no module named 'missing'")


class Owner(NamedTuple):
    """Which board it is: its name for people, its identity in the contract, its key and its kind."""

    name: str
    identity: str
    key: str
    board: str


class Unusable(Exception):
    """The board does not take what it was offered; the text is the reason that it tells."""


class Unanswered(Exception):
    """The server did not answer, asked several times."""


class BoardUpdates:
    """One board's. ``fate`` is a kind of ``outcomes``; ``restart`` starts the board again."""

    def __init__(
        self, own: Owner, root: str, fate: str, mqtt: MqttClient, gear: Gear, restart: Callable[[], None]
    ) -> None:
        self.version = FIRST_VERSION
        self.said: tuple[str, str] | None = None
        """The release, and the state that the server is known to have heard last."""
        self._own, self._root, self._fate, self._mqtt, self._gear, self._restart = own, root, fate, mqtt, gear, restart
        self._installed = 0
        self._wake = asyncio.Event()
        self._came: asyncio.Queue[Message] = asyncio.Queue()
        self._silent = False
        self._ended = 0

    def connected(self) -> None:
        """It is online."""
        for channel in ("manifest", "image"):
            self._mqtt.subscribe(f"{self._root}/update/{channel}", 0)
        self.look()

    def look(self) -> None:
        """Ask the server soon."""
        self._wake.set()

    def hears(self, message: Message) -> bool:
        """Whether a message was about new firmware."""
        if not message.topic.startswith(f"{self._root}/update/"):
            return False
        self._came.put_nowait(message)
        return True

    async def live(self) -> None:
        """Ask when there is reason to, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._silent:
                continue
            try:
                await self._update()
            except Unanswered:
                # It looks again when it comes online, or is told to.
                self._count("unanswered")
            except ConnectionRefusedByServer:
                return

    async def _update(self) -> None:
        said = {"want": "manifest", "version": self.version, "board": self._own.board, "boot": BOOT, "mpy": MPY}
        data = await self._ask("manifest", said)
        if not data:
            return
        self._count("offered")
        if self._fate == outcomes.NEVER:
            self._silent = True
            return
        try:
            manifest = self.verified(data)
        except Unusable as problem:
            self._gear.tally.problems.append(f"{self._own.name}: refused what it was offered: {problem}")
            self._count("unusable")
            return
        release = manifest["release"]
        if self._fate == outcomes.REFUSES:
            await self._end(release, "refused", "space")
            return
        await self._tell(release, "accepted")
        image = await self._download(manifest)
        if image is None:
            return
        if len(image) != manifest["size"] or hashlib.sha256(image).hexdigest() != manifest["sha256"]:
            self._gear.tally.problems.append(f"{self._own.name}: the image of {release} is not what was promised")
            await self._end(release, "failed", "hash")
        elif self._fate == outcomes.HASH:
            await self._end(release, "failed", "hash")
        else:
            await self._try(manifest)

    async def _try(self, manifest: dict[str, Any]) -> None:
        release, before = manifest["release"], self.version
        await self._again()
        self.version = manifest["version"]
        await self._tell(release, "trial", version=self.version)
        await asyncio.sleep(self._gear.trial_s)
        if self._fate == outcomes.BAD:
            await self._again()
            self.version = before
            await self._end(release, "rolled_back", _REASONS[self._ended % len(_REASONS)], version=before)
        else:
            self._installed = manifest["issued"]
            await self._end(release, "healthy", version=self.version)

    async def _again(self) -> None:
        self._restart()
        await self._mqtt.online.wait()

    def verified(self, data: bytes) -> dict[str, Any]:
        """The manifest in ``data``. Raises :class:`Unusable`."""
        line, _, body = data.partition(b"\n")
        mark, *words = line.split(b" ")
        signatures = dict(word.partition(b"=")[::2] for word in words)
        derived = hmac.new(self._own.key.encode(), MARK, hashlib.sha256).digest()
        wanted = hmac.new(derived, body, hashlib.sha256).hexdigest().encode()
        shown = signatures.get(b"hmac-sha256", b"")
        if mark != MARK or len(body) > _MANIFEST_MOST or not hmac.compare_digest(shown, wanted):
            raise Unusable("signature")
        found: dict[str, Any] = json.loads(body)
        for reason, good in (
            ("device", found["device"] == self._own.identity),
            ("board", found["board"] == self._own.board),
            ("boot", found["boot"] <= BOOT),
            ("mpy", found["mpy"] in (0, MPY)),
            ("issued", found["issued"] > self._installed),
        ):
            if not good:
                raise Unusable(reason)
        return found

    async def _download(self, manifest: dict[str, Any]) -> bytes | None:
        """The image; ``None`` when the board fell silent, or there was nothing more."""
        release, size, flash, told = manifest["release"], manifest["size"], b"", 0
        slow = self._fate == outcomes.SLOW
        cut = not slow
        while len(flash) < size:
            wanted = {"release": release, "offset": len(flash), "length": _SLOW_PIECE if slow else _PIECE}
            answer = await self._ask("image", {"want": "image", **wanted}, len(flash))
            piece = answer[4:]
            if not piece:
                # Paused, or over: it looks again when it is told to.
                self._count("withheld")
                return None
            flash += piece
            self._gear.tally.updates["bytes"] += len(piece)
            percent = len(flash) * 100 // size
            if percent >= told + _TOLD_EVERY_PERCENT:
                told = percent
                await self._tell(release, "downloading", percent=percent)
            if self._fate == outcomes.STOPS and percent >= _STOPS_AT_PERCENT:
                self._silent = True
                self._count("stopped")
                return None
            if slow:
                await asyncio.sleep(_SLOW_PAUSE_S)
                if not cut and percent >= _STOPS_AT_PERCENT:
                    # What is there stays there: it goes on behind it.
                    cut = self._mqtt.cut(_SLOW_PAUSE_S)
        return flash

    async def _ask(self, channel: str, body: dict[str, Any], offset: int = 0) -> bytes:
        """What the server says to a question; asked again after ten seconds. Raises :class:`Unanswered`."""
        while not self._came.empty():
            # An answer to what was asked twice.
            self._came.get_nowait()
        for _ in range(_TRIES):
            await self._mqtt.publish(f"{self._root}/update/get", compact(body))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_ANSWER_S):
                    while True:
                        message = await self._came.get()
                        if message.topic != f"{self._root}/update/{channel}":
                            continue
                        if channel == "manifest" or int.from_bytes(message.payload[:4], "big") == offset:
                            return message.payload
        raise Unanswered

    async def _tell(self, release: str, state: str, **more: Any) -> None:
        said = {"release": release, "state": state, **more}
        delivery = await self._mqtt.publish(f"{self._root}/update/state", compact(said))
        await delivery.done
        self.said = release, state

    async def _end(self, release: str, state: str, reason: str = "", **more: Any) -> None:
        await self._tell(release, state, **more, **({"reason": reason} if reason else {}))
        self._ended += 1
        self._count(state)

    def _count(self, what: str) -> None:
        self._gear.tally.updates[what] += 1
