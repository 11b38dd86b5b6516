"""Relay boards in real firmware processes at a real server."""

import contextlib
import itertools
import re
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from tests.authority import Authority, needs_openssl
from tests.firmware.boards import FIRMWARE, HEAP, HOST, MICROPYTHON, Board, command, id_of, needs_micropython
from tests.journeys.live import eventually
from tests.running import RunningServer, free_ports

pytestmark = needs_micropython
BUDGET = 24 * 1024


def prepared(server: RunningServer, **more: object) -> dict[str, object]:
    return {"wifi_ssid": "lab", "backend_ip": "127.0.0.1", "backend_port": server.http_port, **more}


def known(server: RunningServer, uuid: str) -> dict[str, object]:
    """Settings of a board that was registered by hand and knows its broker."""
    token = server.api.post("/api/devices", json={"uuid": uuid, "name": uuid[-6:], "type": "esp32_relay"}).json()
    return prepared(
        server, mqtt_broker="127.0.0.1", mqtt_port=server.mqtt_port, mqtt_username=f"ac-{uuid[-28:]}",
        mqtt_password=token["device_token"], device_token=token["device_token"],
    )  # fmt: skip


@contextlib.contextmanager
def pairing(server: RunningServer):  # type: ignore[no-untyped-def]
    server.api.post("/api/v1/pairing", json={"minutes": 5})
    try:
        yield
    finally:
        server.api.delete("/api/v1/pairing")


@pytest.mark.parametrize("bits", [32, 64])
def test_a_first_boot_with_nothing_stored_ends_online_and_switching(
    server: RunningServer, app: Path, tmp_path: Path, bits: int
) -> None:
    board = Board(tmp_path / "flash", app, bits=bits, mac=f"02000a00f0{bits}")
    with pairing(server), board:
        board.waits_for("state: provision")
        assert "set-up: join ESP32-Relay-" in board.said()
        board.tell(f"provision backend_ip=127.0.0.1 backend_port={server.http_port}")
        board.tell('wifi "home sweet home" "pass word"')
        board.online()
        device = id_of(server, board)
        assert server.api.get(f"/api/v1/devices/{device}").json()["online"]
        assert command(server, device, "relay", {"channel": 3, "state": True})["state"] == "confirmed"
        assert board.relays() == [3]
        assert command(server, device, "relay", {"channel": 3, "state": False})["state"] == "confirmed"
        assert board.relays() == []
        took = int(re.findall(r"state: online after (\d+) ms", board.said())[0])
        assert took < 10_000
        assert board.read("radio.json") == {"open": ""}
        board.tell("show")
        board.waits_for('"wifi_password": true')
        config, secrets = board.read("config.json"), board.read("secrets.json")
        assert (config["wifi_ssid"], config["configured"], config["backend_registered"]) == (
            "home sweet home", True, True,
        )  # fmt: skip
        for name in ("wifi_password", "mqtt_password", "device_token", "page_password"):
            assert secrets[name]
            assert name not in config
            if name != "page_password":
                # That of the set-up's network is told to whoever has the board in hand.
                assert secrets[name] not in board.said()


def test_commands_are_confirmed_and_relays_reported(server: RunningServer, app: Path, tmp_path: Path) -> None:
    board = Board(tmp_path / "flash", app, mac="02000a00c001", config=known(server, "550e8400-e29b-41d4-a716-00c001"))
    with board:
        board.online()
        device = id_of(server, board)
        assert command(server, device, "ping")["state"] == "confirmed"
        status = command(server, device, "status")
        assert status["state"] == "confirmed"
        reported = server.api.get(f"/api/v1/devices/{device}/reported").json()["values"]
        assert reported["relay_1"] is False
        assert len([name for name in reported if name.startswith("relay_")]) == 16


def test_a_relay_command_that_is_sent_again_after_a_reset_moves_nothing(
    server: RunningServer, app: Path, tmp_path: Path
) -> None:
    uuid = "550e8400-e29b-41d4-a716-00c002"
    board = Board(tmp_path / "flash", app, mac="02000a00c002", config=known(server, uuid))
    root = f"autocore/devices/{uuid}"
    answers: list[str] = []
    with LabBroker() as broker:
        board.write("config.json", prepared(server, mqtt_broker="127.0.0.1", mqtt_port=broker.port, backend_ip=""))
        client = broker.client(f"{root}/response", answers)
        with board:
            board.online()
            text = '{"type": "relay", "channel": 5, "state": true, "request_id": "once"}'
            client.publish(f"{root}/command", text, 1)
            eventually(lambda: len(answers) == 1)
            assert board.relays() == [5]
            client.publish(f"{root}/command", text, 1)
            eventually(lambda: len(answers) == 2)
            # The power goes; after it all relays are off, and the same command is not carried out again.
            board.kill()
            board.start()
            board.online(times=2)
            assert board.relays() == []
            client.publish(f"{root}/command", text, 1)
            eventually(lambda: len(answers) == 3)
            assert board.relays() == []
            assert len(set(answers)) == 1
            client.publish(f"{root}/command", text.replace("once", "twice"), 1)
            eventually(lambda: len(answers) == 4)
            assert board.relays() == [5]


def test_pulses_end_and_keys_that_nobody_holds_are_let_go(server: RunningServer, app: Path, tmp_path: Path) -> None:
    uuid = "550e8400-e29b-41d4-a716-00c003"
    board = Board(tmp_path / "flash", app, mac="02000a00c003")
    root = f"autocore/devices/{uuid}"
    answers: list[str] = []
    with LabBroker() as broker:
        board.write("config.json", prepared(server, mqtt_broker="127.0.0.1", mqtt_port=broker.port, backend_ip=""))
        client = broker.client(f"{root}/response", answers)
        with board:
            board.online()
            client.publish(f"{root}/command", '{"type": "relay", "channel": 1, "state": true, "pulse_ms": 300}', 1)
            eventually(lambda: board.relays() == [1])
            eventually(lambda: board.relays() == [])
            client.publish(f"{root}/command", '{"type": "relay", "channel": 2, "state": true, "momentary": true}', 1)
            eventually(lambda: board.relays() == [2])
            began = time.monotonic()
            while time.monotonic() - began < 1.5:
                client.publish(f"{root}/relays/heartbeat", '{"channel": 2}', 0)
                time.sleep(0.2)
            assert board.relays() == [2]
            eventually(lambda: board.relays() == [])
            # A pulse that a power cut interrupts does not stay on.
            client.publish(f"{root}/command", '{"type": "relay", "channel": 4, "state": true, "pulse_ms": 60000}', 1)
            eventually(lambda: board.relays() == [4])
            board.kill()
            board.start()
            board.online(times=2)
            assert board.relays() == []


class LabBroker:
    """A server that is nothing but a broker for everybody."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> "LabBroker":
        place = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        env = {"RELEVO_ANONYMOUS_MQTT": "true", "RELEVO_ANONYMOUS_TOPICS": '["#"]'}
        self._server = self._stack.enter_context(RunningServer(place / "data", env=env))
        self.port = self._server.mqtt_port
        return self

    def client(self, topic: str, heard: list[str]) -> paho.Client:
        """A client that collects what is said on ``topic``."""
        client = paho.Client(CallbackAPIVersion.VERSION2, "", protocol=paho.MQTTv311)
        listening: list[int] = []
        client.on_message = lambda c, u, message: heard.append(message.payload.decode())
        client.on_subscribe = lambda *_: listening.append(1)
        client.connect("127.0.0.1", self.port)
        client.loop_start()
        self._stack.callback(client.loop_stop)
        self._stack.callback(client.disconnect)
        client.subscribe(topic, 1)
        eventually(lambda: listening)
        return client

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def test_a_server_that_is_gone_for_a_while_loses_nothing_and_stores_nothing_twice(app: Path, tmp_path: Path) -> None:
    uuid = "550e8400-e29b-41d4-a716-00c004"
    with RunningServer(tmp_path / "data") as server:
        config = known(server, uuid)
        board = Board(
            tmp_path / "flash", app, mac="02000a00c004", config=config, telemetry_ms=100, inputs={"34": "count"}
        )
        began = int(time.time() * 1000) - 1000
        with board:
            board.online()
            device = id_of(server, board)
            eventually(lambda: len(stored(server, device, began)) >= 5)
            server.kill()
            time.sleep(3.5)
            server.restart()
            board.online(30, times=2)
            before = stored(server, device, began)[-1] if stored(server, device, began) else 0
            eventually(lambda: (stored(server, device, began) or [0])[-1] > before + 10, 20)
            counted = stored(server, device, began)
            assert counted == list(range(counted[0], counted[-1] + 1))
            assert counted[0] == 1
            # Taken every 100 ms, also while nobody listened, and stored as of then.
            points = server.points(device, "input_34", began, int(time.time() * 1000) + 1000)
            gaps = [later[0] - sooner[0] for sooner, later in itertools.pairwise(points)]
            assert max(gaps) < 1500, gaps


def stored(server: RunningServer, device: str, began: int) -> list[int]:
    """What the counting input said, in the order in which it was taken."""
    return [value for _, value in server.points(device, "input_34", began, int(time.time() * 1000) + 60_000)]


def test_a_board_that_is_refused_asks_for_other_settings(server: RunningServer, app: Path, tmp_path: Path) -> None:
    uuid = "550e8400-e29b-41d4-a716-00c005"
    config = known(server, uuid) | {"mqtt_password": "wrong"}
    board = Board(tmp_path / "flash", app, mac="02000a00c005", config=config)
    # With the backend elsewhere the stored password is all it has.
    board.write("config.json", config | {"backend_port": free_ports(1)[0]})
    with board:
        board.waits_for("refused: ")
        assert "state: online" not in board.said()
        board.tell(f"provision backend_port={server.http_port}")
        board.online()


def test_the_network_goes_and_comes_back(server: RunningServer, app: Path, tmp_path: Path) -> None:
    uuid = "550e8400-e29b-41d4-a716-00c006"
    board = Board(tmp_path / "flash", app, mac="02000a00c006", config=known(server, uuid))
    with board:
        board.online()
        (board.flash / "network").write_text("down")
        board.waits_for("state: wifi", times=2)
        (board.flash / "network").unlink()
        board.online(30, times=2)


@needs_openssl
def test_a_wrong_certificate_is_refused_and_the_right_one_accepted(app: Path, tmp_path: Path) -> None:
    authority, stranger = Authority(tmp_path / "ca"), Authority(tmp_path / "other")
    certificate, key = authority.issue("relevo", "server")
    secure = free_ports(1)[0]
    env = {
        "RELEVO_TLS_CERT": str(certificate), "RELEVO_TLS_KEY": str(key), "RELEVO_MQTTS": f"127.0.0.1:{secure}",
    }  # fmt: skip
    uuid = "550e8400-e29b-41d4-a716-00c007"
    with RunningServer(tmp_path / "data", env=env) as server:
        config = known(server, uuid) | {"backend_ip": "", "mqtt_port": secure, "mqtt_tls": True}
        board = Board(tmp_path / "flash", app, mac="02000a00c007", config=config)
        with board:
            board.waits_for("nobody is trusted over TLS")
        (board.flash / "ca.pem").write_bytes(stranger.file.read_bytes())
        with board:
            board.waits_for("connection: ", times=2)
            assert "state: online" not in board.said()
        (board.flash / "ca.pem").write_bytes(authority.file.read_bytes())
        with board:
            board.online()
        # By its fingerprint alone: that of another first.
        (board.flash / "ca.pem").unlink()
        for file, accepted in ((stranger.file, False), (certificate, True)):
            shown = subprocess.run(
                ["openssl", "x509", "-in", file, "-noout", "-fingerprint", "-sha256"],
                check=True, capture_output=True, text=True,
            ).stdout.partition("=")[2].strip()  # fmt: skip
            seen = board.said().count("connection: ")
            with board:
                board.tell(f"trust {shown}")
                board.waits_for("ok")
                if accepted:
                    board.online(20, times=2)
                else:
                    board.waits_for("connection: ", 20, times=seen + 2)
                    assert board.said().count("state: online") == 1


def test_forty_boards_at_once(server: RunningServer, app: Path, tmp_path: Path) -> None:
    boards = [Board(tmp_path / f"flash{n}", app, mac=f"02000a0040{n:02x}", config=prepared(server)) for n in range(40)]
    with contextlib.ExitStack() as stack, pairing(server):
        for board in boards:
            stack.enter_context(board)
        for board in boards:
            board.online(60)
        for board in boards[::10]:
            device = id_of(server, board)
            assert command(server, device, "relay", {"channel": 1, "state": True})["state"] == "confirmed"
            assert board.relays() == [1]
        items = server.api.get("/api/v1/devices", params={"limit": 200}).json()["items"]
        ours = {board.uuid for board in boards}
        assert sum(one["online"] for one in items if one["external_id"] in ours) == 40


def test_the_running_board_takes_less_than_24_kb_of_heap(server: RunningServer, app: Path, tmp_path: Path) -> None:
    board = Board(tmp_path / "flash", app, mac="02000a00c008", config=known(server, "550e8400-e29b-41d4-a716-00c008"))
    # Where a board has it: names of files are on the heap too.
    (board.flash / "a").symlink_to(app)
    # With a launcher there are updates to look for.
    shutil.copy(FIRMWARE / "launcher" / "boot.py", board.flash)
    line = [str(MICROPYTHON[32]), "-X", f"heapsize={HEAP}", str(HOST / "heap.py"), str(board.flash), "a", "2"]
    said = subprocess.run(
        line, env=board.env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
    ).stdout  # fmt: skip
    found = re.findall(r'"heap": (\d+)', said)
    assert found, said
    print(said)
    assert int(found[0]) < BUDGET, said


def test_discovery_finds_a_server_that_is_announced(server: RunningServer, app: Path, tmp_path: Path) -> None:
    zeroconf = pytest.importorskip("zeroconf")
    address = our_address()
    if address is None:
        pytest.skip("no network with multicast here")
    info = zeroconf.ServiceInfo(
        "_relevo._tcp.local.", "here._relevo._tcp.local.", server.http_port,
        addresses=[socket.inet_aton("127.0.0.1")], server="relevo-here.local.",
    )  # fmt: skip
    announcer = zeroconf.Zeroconf(interfaces=[address])
    try:
        announcer.register_service(info)
        board = Board(tmp_path / "flash", app, mac="02000a00c009", config={"wifi_ssid": "lab"})
        with pairing(server), board:
            board.waits_for(f"found a server at 127.0.0.1 {server.http_port}")
            board.online()
    finally:
        announcer.close()


def our_address() -> str | None:
    """Where a packet for the group would leave from; ``None`` without a network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(("224.0.0.251", 5353))
        except OSError:
            return None
        return str(sock.getsockname()[0])
