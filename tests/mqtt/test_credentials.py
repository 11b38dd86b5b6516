"""Keys, user names and passwords at the MQTT door: who comes in, who stays, and what is told."""

from collections.abc import Iterator
from typing import Any

import paho.mqtt.client as paho
import pytest

from tests.conformance.raw import CONNACK_OK, Raw, connect, publish, subscribe
from tests.journeys.live import eventually
from tests.running import RunningServer

BAD = b"\x20\x02\x00\x04"
CHOSEN = "three blind mice and a lamp"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(tmp_path_factory.mktemp("keys") / "data") as running:
        yield running


def make(server: RunningServer, device: str, kind: str, **body: Any) -> dict[str, Any]:
    path = kind if "/" in kind else f"{kind}s"
    answer = server.api.post(f"/api/v1/devices/{device}/credentials/{path}", json=body)
    assert answer.status_code in (200, 201), answer.text
    found: dict[str, Any] = answer.json()
    return found


def revoke(server: RunningServer, device: str, credential: str) -> None:
    answer = server.api.delete(f"/api/v1/devices/{device}/credentials/{credential}")
    assert answer.status_code == 204, answer.text


def come(server: RunningServer, user: str, secret: str, client: str = "", clean: bool = True) -> Raw:
    return Raw(server.mqtt_port, connect(client or user, user=user, password=secret.encode(), clean=clean))


def enter(server: RunningServer, user: str, secret: str, client: str = "") -> Raw:
    raw = come(server, user, secret, client)
    raw.expect(CONNACK_OK)
    return raw


def reasons(server: RunningServer, device: str) -> list[str]:
    path = f"/api/v1/devices/{device}/timeline" if device else "/api/v1/system/timeline"
    return [one["reason"] for one in server.api.get(path).json()["items"]]


def refused(server: RunningServer, user: str, secret: str, device: str, reason: str) -> None:
    with come(server, user, secret) as raw:
        raw.expect(BAD)
        raw.expect_closed()
    eventually(lambda: reason in reasons(server, device))


def test_paho_comes_in_with_the_first_key_a_second_key_and_a_user_name(server: RunningServer) -> None:
    first = server.register("many")
    second = make(server, "many", "key", label="bench")["key"]
    generated = make(server, "many", "password", username="many@school")["password"]
    make(server, "many", "password", username="many chosen", password=CHOSEN)
    shown = [("many", first), ("many", second), ("many@school", generated), ("many chosen", CHOSEN)]
    for n, (user, secret) in enumerate(shown):
        client = paho.Client(paho.CallbackAPIVersion.VERSION2, f"many-{n}", protocol=paho.MQTTv5)
        client.username_pw_set(user, secret)
        client.connect("127.0.0.1", server.mqtt_port)
        client.loop_start()
        try:
            client.publish("relevo/many/telemetry", f'{{"n": {n}}}', qos=1).wait_for_publish(5)
        finally:
            client.disconnect()
            client.loop_stop()
        value = server.api.get("/api/v1/devices/many/latest").json()["n"]["value"]
        assert value == n, user


def test_whatever_let_it_in_a_device_has_the_topics_of_its_contract_alone(server: RunningServer) -> None:
    server.register("bound")
    server.register("neighbour")
    password = make(server, "bound", "password", username="neighbour's friend")["password"]
    with enter(server, "neighbour's friend", password) as raw:
        raw.send(subscribe(("#", 0), ("relevo/neighbour/command", 0), ("relevo/bound/command", 1)))
        raw.expect(b"\x90\x05\x00\x0a\x80\x80\x01")
        raw.send(publish("relevo/bound/telemetry", b'{"v": 1}', qos=1))
        raw.expect(b"\x40\x02\x00\x01")
    assert server.api.get("/api/v1/devices/bound/latest").json()["v"]["value"] == 1


def test_revoking_a_key_ends_its_connections_and_no_other(server: RunningServer) -> None:
    first = server.register("several")
    one, two = make(server, "several", "key"), make(server, "several", "key")
    name = make(server, "several", "password", username="several-name")
    with (
        enter(server, "several", first, "s0") as with_first,
        enter(server, "several", one["key"], "s1") as with_one,
        enter(server, "several", two["key"], "s2") as with_two,
        enter(server, "several-name", name["password"], "s3") as with_name,
    ):
        revoke(server, "several", one["id"])
        with_one.expect_closed()
        for other in (with_first, with_two, with_name):
            other.expect_silence()
        revoke(server, "several", name["id"])
        with_name.expect_closed()
        revoke(server, "several", "key")
        with_first.expect_closed()
        with_two.expect_silence()
    refused(server, "several", one["key"], "several", "bad_credentials")
    refused(server, "several", first, "several", "bad_credentials")
    refused(server, "several-name", name["password"], "several", "bad_credentials")
    enter(server, "several", two["key"]).drop()


def test_a_rotation_with_grace_ends_nobody_and_both_keys_come_in(server: RunningServer) -> None:
    old = server.register("turning")
    with enter(server, "turning", old, "before") as raw:
        new = make(server, "turning", "key/rotate")["key"]
        raw.expect_silence()
        for n, key in enumerate((old, new)):
            with enter(server, "turning", key, f"after-{n}") as other:
                other.expect_silence()
        # Once more within the grace: three keys are good, and nobody is thrown out.
        newest = make(server, "turning", "key/rotate", grace_s=3600)["key"]
        raw.expect_silence()
        for n, key in enumerate((old, new, newest)):
            enter(server, "turning", key, f"third-{n}").drop()


def test_a_rotation_without_grace_ends_the_old_key_at_once(server: RunningServer) -> None:
    old = server.register("abrupt")
    with enter(server, "abrupt", old) as raw:
        new = make(server, "abrupt", "key/rotate", grace_s=0)["key"]
        raw.expect_closed()
    refused(server, "abrupt", old, "abrupt", "bad_credentials")
    enter(server, "abrupt", new).drop()


def test_when_the_grace_is_over_the_old_keys_connections_end_and_it_is_named(server: RunningServer) -> None:
    old = server.register("graceful")
    with enter(server, "graceful", old, "old") as raw:
        answer = make(server, "graceful", "key/rotate", grace_s=1)
        with enter(server, "graceful", answer["key"], "new") as other:
            # The look around comes every five seconds.
            assert raw.packet(10) == b""
            other.expect_silence()
    refused(server, "graceful", old, "graceful", "credential_expired")


def test_a_session_outlives_the_credential_that_opened_it(server: RunningServer) -> None:
    """It is the device's, which comes back with another key and finds what waited for it."""
    server.register("keeps")
    one, two = make(server, "keeps", "key"), make(server, "keeps", "key")
    with come(server, "keeps", one["key"], clean=False) as raw:
        raw.expect(CONNACK_OK)
        raw.send(subscribe(("relevo/keeps/command", 1)))
        raw.packet()
        revoke(server, "keeps", one["id"])
        raw.expect_closed()
    with come(server, "keeps", two["key"], clean=False) as raw:
        raw.expect(b"\x20\x02\x01\x00")


def test_a_chosen_password_keeps_its_rules_and_a_wrong_one_stays_outside(server: RunningServer) -> None:
    server.register("picky")
    path = "/api/v1/devices/picky/credentials/passwords"
    for password in ("short", "password1", "picky-user", "x" * 300):
        answer = server.api.post(path, json={"username": "picky-user", "password": password})
        assert answer.status_code == 422, password
        assert "password" in answer.json()["errors"][0]["field"]
    made = make(server, "picky", "password", username="picky-user", password=CHOSEN)
    assert made["password"] is None
    enter(server, "picky-user", CHOSEN).drop()
    refused(server, "picky-user", CHOSEN + "x", "picky", "bad_credentials")
    enter(server, "picky-user", CHOSEN).drop()
    with enter(server, "picky-user", CHOSEN) as raw:
        revoke(server, "picky", made["id"])
        raw.expect_closed()
    refused(server, "picky-user", CHOSEN, "picky", "bad_credentials")


def test_everything_survives_a_restart(server: RunningServer) -> None:
    first = server.register("lasting")
    second = make(server, "lasting", "key")["key"]
    make(server, "lasting", "password", username="lasting-user", password=CHOSEN)
    new = make(server, "lasting", "key/rotate")["key"]
    server.restart()
    shown = [("lasting", first), ("lasting", second), ("lasting", new), ("lasting-user", CHOSEN)]
    for n, (user, secret) in enumerate(shown):
        enter(server, user, secret, f"lasting-{n}").drop()


def test_a_device_whose_first_key_was_revoked_is_no_stranger(server: RunningServer) -> None:
    key = server.register("bare")
    second = make(server, "bare", "key")["key"]
    revoke(server, "bare", "key")
    refused(server, "bare", key, "bare", "bad_credentials")
    enter(server, "bare", second).drop()


def test_a_removed_device_takes_its_credentials_along(server: RunningServer) -> None:
    server.register("gone")
    key = make(server, "gone", "key")["key"]
    password = make(server, "gone", "password", username="gone-user")["password"]
    with enter(server, "gone-user", password) as raw:
        assert server.api.delete("/api/v1/devices/gone").status_code == 204
        raw.expect_closed()
    server.register("gone")
    refused(server, "gone", key, "gone", "bad_credentials")
    refused(server, "gone-user", password, "gone", "bad_credentials")
    assert server.api.get("/api/v1/devices/gone/credentials").json()["items"][0]["id"] == "key"
