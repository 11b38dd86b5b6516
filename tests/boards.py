"""Boards that get another firmware as docs/updates.md has it, written from their side: nothing of the server is used.

They verify what a real board would: the line of signatures, HMAC under the derived key, Ed25519 when they were given
the public key, device, board, ``issued``, size and SHA-256.
"""

import base64
import hashlib
import hmac
import io
import json
import queue
import tarfile
import threading
from collections.abc import Mapping
from typing import Any, Self

import httpx
import paho.mqtt.client as mqtt
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tests.running import RunningServer

MARK = b"relevo-update-1"


def image(
    version: str = "1.4.0",
    board: str = "relay",
    *,
    boot: int = 1,
    mpy: int = 0,
    notes: str = "",
    files: Mapping[str, bytes] | None = None,
    filler: int = 0,
) -> bytes:
    """An image as its builder makes one; ``filler`` bytes make it as large as wanted."""
    held = {"release.json": json.dumps({"version": version, "board": board, "boot": boot, "mpy": mpy, "notes": notes})}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in [
            *((name, text.encode()) for name, text in held.items()),
            *(files or {"main.py": f"VERSION = {version!r}\n".encode()}).items(),
            *([("filler.html", bytes(n * 31 % 251 for n in range(filler)))] if filler else []),
        ]:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


class BadOffer(AssertionError):
    """What a board refuses; the text is the reason it reports."""


class Board:
    """What a board knows and checks. ``key`` is its key, ``public_key`` the installation's update key if it has it."""

    def __init__(
        self,
        device: str,
        key: str,
        *,
        identity: str = "",
        board: str = "relay",
        version: str = "1.3.0",
        boot: int = 1,
        mpy: int | None = 6,
        public_key: bytes = b"",
    ) -> None:
        self.device, self.key, self.identity = device, key, identity or device
        self.board, self.version, self.boot, self.mpy = board, version, boot, mpy
        self.public_key = public_key
        self.installed = 0
        self.flash = b""

    @property
    def says(self) -> dict[str, Any]:
        said: dict[str, Any] = {"version": self.version, "board": self.board, "boot": self.boot}
        return said | ({"mpy": self.mpy} if self.mpy is not None else {})

    def verified(self, data: bytes) -> dict[str, Any]:
        """The manifest in ``data``. Raises :class:`BadOffer`."""
        line, _, body = data.partition(b"\n")
        mark, *words = line.split(b" ")
        signatures = dict(word.split(b"=", 1) for word in words)
        if mark != MARK or len(body) > 1_024:
            raise BadOffer("signature")
        derived = hmac.new(self.key.encode(), MARK, hashlib.sha256).digest()
        wanted = hmac.new(derived, body, hashlib.sha256).hexdigest().encode()
        if not hmac.compare_digest(signatures.get(b"hmac-sha256", b""), wanted):
            raise BadOffer("signature")
        if self.public_key:
            try:
                signature = base64.b64decode(signatures[b"ed25519"], validate=True)
                Ed25519PublicKey.from_public_bytes(self.public_key).verify(signature, body)
            except (InvalidSignature, KeyError, ValueError):
                raise BadOffer("signature") from None
        found: dict[str, Any] = json.loads(body)
        assert body == json.dumps(found, separators=(",", ":"), ensure_ascii=False).encode(), "it is not compact"
        for reason, good in (
            ("device", found["device"] == self.identity),
            ("board", found["board"] == self.board),
            ("boot", found["boot"] <= self.boot),
            ("mpy", found["mpy"] in (0, self.mpy)),
            ("issued", found["issued"] > self.installed),
        ):
            if not good:
                raise BadOffer(reason)
        return found

    def install(self, manifest: dict[str, Any], data: bytes) -> None:
        """What came is what was promised, and starts."""
        assert len(data) == manifest["size"]
        assert hashlib.sha256(data).hexdigest() == manifest["sha256"]
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            assert tar.getnames()[0] == "release.json"
        self.version, self.installed = manifest["version"], manifest["issued"]


class HttpBoard(Board):
    """One that asks over HTTP."""

    def __init__(self, server: RunningServer, device: str, key: str, **more: Any) -> None:
        super().__init__(device, key, **more)
        self.http = httpx.Client(
            base_url=server.http, headers={"Authorization": f"Bearer {key}"}, trust_env=False, timeout=20
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def look(self) -> dict[str, Any] | None:
        """The manifest, ``None`` for nothing to do."""
        answer = self.http.get("/api/v1/update", params=self.says)
        if answer.status_code == 204:
            assert answer.content == b""
            return None
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/octet-stream"
        return self.verified(answer.content)

    def report(self, release: str, state: str, **more: Any) -> httpx.Response:
        answer = self.http.post("/api/v1/update", json={"release": release, "state": state, **more})
        assert answer.status_code == 204, answer.text
        return answer

    def download(self, manifest: dict[str, Any], piece: int = 4_096) -> bytes:
        """The image in pieces, each behind what is there."""
        while len(self.flash) < manifest["size"]:
            end = min(len(self.flash) + piece, manifest["size"]) - 1
            answer = self.http.get(
                "/api/v1/update/image",
                params={"release": manifest["release"]},
                headers={"Range": f"bytes={len(self.flash)}-{end}"},
            )
            assert answer.status_code == 206, answer.text
            assert answer.headers["content-range"] == f"bytes {len(self.flash)}-{end}/{manifest['size']}"
            self.flash += answer.content
        data, self.flash = self.flash, b""
        return data

    def update(self, outcome: str = "healthy", reason: str = "") -> bool:
        """The whole way; whether there was something to do."""
        found = self.look()
        if found is None:
            return False
        release, before = found["release"], self.version
        self.report(release, "accepted")
        data = self.download(found, 32_768)
        self.report(release, "downloading", percent=100)
        self.install(found, data)
        self.report(release, "trial", version=self.version)
        if outcome != "healthy":
            self.version = before
        self.report(release, outcome, version=self.version, **({"reason": reason} if reason else {}))
        return True


class MqttBoard(Board):
    """One that asks over MQTT below ``root``."""

    def __init__(self, server: RunningServer, device: str, key: str, root: str = "", **more: Any) -> None:
        super().__init__(device, key, **more)
        self.root = root or f"relevo/{device}"
        self.came: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self.commands: queue.Queue[dict[str, Any]] = queue.Queue()
        self._there = threading.Event()
        # Pieces that get lost on their way, by offset: each once.
        self.lost: set[int] = set()
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=f"{device}-board")
        self.client.username_pw_set(device, key)
        self.client.on_connect = self._on_connect
        self.client.on_subscribe = lambda *_: self._there.set()
        self.client.on_message = self._on_message
        self._port = server.mqtt_port

    def __enter__(self) -> Self:
        self.client.connect("127.0.0.1", self._port, keepalive=30)
        self.client.loop_start()
        assert self._there.wait(20), "the board did not come in"
        return self

    def __exit__(self, *_: object) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def _on_connect(self, client: mqtt.Client, *_: object) -> None:
        # One that comes back subscribes again.
        client.subscribe([(f"{self.root}/{one}", 1) for one in ("command", "update/manifest", "update/image")])

    def _on_message(self, client: mqtt.Client, userdata: object, message: mqtt.MQTTMessage) -> None:
        channel = message.topic.removeprefix(f"{self.root}/")
        if channel == "command":
            self.commands.put(json.loads(message.payload))
        elif channel == "update/image" and int.from_bytes(message.payload[:4]) in self.lost:
            self.lost.discard(int.from_bytes(message.payload[:4]))
        else:
            self.came.put((channel, message.payload))

    def say(self, channel: str, body: dict[str, Any]) -> None:
        self.client.publish(f"{self.root}/{channel}", json.dumps(body), qos=1).wait_for_publish(20)

    def ask(self, channel: str, body: dict[str, Any], within_s: float = 10.0, tries: int = 3) -> bytes:
        """Ask once more for what did not come."""
        for _ in range(tries):
            self.say("update/get", body)
            try:
                found, payload = self.came.get(timeout=within_s)
            except queue.Empty:
                continue
            assert found == channel
            return payload
        raise AssertionError(f"nothing came on {channel}")

    def look(self) -> dict[str, Any] | None:
        payload = self.ask("update/manifest", {"want": "manifest", **self.says})
        return self.verified(payload) if payload else None

    def piece(self, release: str, offset: int, length: int, within_s: float = 10.0) -> bytes:
        payload = self.ask(
            "update/image", {"want": "image", "release": release, "offset": offset, "length": length}, within_s
        )
        assert int.from_bytes(payload[:4]) == offset
        return payload[4:]

    def report(self, release: str, state: str, **more: Any) -> None:
        self.say("update/state", {"release": release, "state": state, **more})

    def download(self, manifest: dict[str, Any], length: int = 1_024, within_s: float = 10.0) -> bytes:
        while len(self.flash) < manifest["size"]:
            data = self.piece(manifest["release"], len(self.flash), length, within_s)
            assert data, "there is nothing more"
            self.flash += data
        data, self.flash = self.flash, b""
        return data
