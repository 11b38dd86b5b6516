"""Strangers become devices: pairing, the unclaimed list, codes, labels, factory lists, and changes of hands."""

import csv
import io
import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import httpx
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from tests.http.test_sheet import decoded, drawn
from tests.journeys.live import eventually
from tests.running import RunningServer

PASSWORD = "a-long-enough-passphrase-of-somebody"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    env = {"RELEVO_ANONYMOUS_MQTT": "true", "RELEVO_LIMITS__UNCLAIMED": "40"}
    with RunningServer(tmp_path_factory.mktemp("joining") / "data", env=env) as one:
        yield one


def person(server: RunningServer, name: str, role: str = "operator") -> httpx.Client:
    answer = server.api.post("/api/v1/users", json={"name": name, "role": role, "password": PASSWORD})
    assert answer.status_code in (201, 409), answer.text
    login = httpx.post(
        f"{server.http}/api/v1/auth/login", json={"username": name, "password": PASSWORD}, timeout=20, trust_env=False
    )
    assert login.status_code == 200, login.text
    headers = {"Authorization": f"Bearer {login.json()['access_token']}"}
    return httpx.Client(base_url=server.http, headers=headers, timeout=30, trust_env=False)


@pytest.fixture(scope="module")
def ana(server: RunningServer) -> Iterator[httpx.Client]:
    with person(server, "ana") as client:
        yield client


@pytest.fixture(scope="module")
def ben(server: RunningServer) -> Iterator[httpx.Client]:
    with person(server, "ben") as client:
        yield client


def speak(server: RunningServer, topic: str, body: dict[str, Any], times: int = 1) -> int:
    """Publish as a board without an account; the reason code of the last acknowledgement."""
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    codes: list[int] = []
    client.on_publish = lambda _client, _data, _mid, reason, _properties: codes.append(reason.value)
    client.connect("127.0.0.1", server.mqtt_port)
    client.loop_start()
    for _ in range(times):
        client.publish(topic, json.dumps(body), 1).wait_for_publish(5)
    end = time.monotonic() + 5
    while len(codes) < times and time.monotonic() < end:
        time.sleep(0.01)
    client.disconnect()
    client.loop_stop()
    return codes[-1]


def native(device: str) -> str:
    return f"relevo/{device}/telemetry"


def entries(client: httpx.Client, search: str, **query: Any) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = client.get("/api/v1/unclaimed", params={"search": search} | query).json()["items"]
    return items


def story(client: httpx.Client, device: str) -> list[str]:
    return [line["kind"] for line in client.get(f"/api/v1/devices/{device}/timeline").json()["items"]]


def door(server: RunningServer) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = server.api.get("/api/v1/system/timeline").json()["items"]
    return items


def code_for(client: httpx.Client, external_id: str, **more: Any) -> dict[str, Any]:
    answer = client.post("/api/v1/claim-codes", json={"contract": "native", "external_id": external_id} | more)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


# Pairing


def test_a_device_registers_itself_only_while_the_window_is_open(server: RunningServer, ana: httpx.Client) -> None:
    speak(server, native("early"), {"v": 1})
    assert [(one["reason"], one["standing"]) for one in entries(ana, "early")] == [("registration_closed", "new")]
    opened = ana.post("/api/v1/pairing", json={"minutes": 2}).json()
    assert (opened["open"], opened["permanent"], opened["by"]) == (True, False, "ana")
    assert 110 <= opened["seconds_left"] <= 120
    length = datetime.fromisoformat(opened["closes_at"]) - datetime.fromisoformat(opened["opened_at"])
    assert length.total_seconds() == 120
    assert ana.get("/api/v1/pairing").json()["open"] is True
    assert server.api.get("/api/v1/system").json()["pairing"]["by"] == "ana"
    assert speak(server, native("early"), {"v": 2}) == 0
    assert entries(ana, "early") == []
    assert ana.delete("/api/v1/pairing").status_code == 204
    assert ana.delete("/api/v1/pairing").status_code == 204
    assert server.api.get("/api/v1/system").json()["pairing"]["open"] is False
    speak(server, native("late"), {"v": 1})
    assert len(entries(ana, "late")) == 1
    kinds = [line["kind"] for line in server.api.get("/api/v1/system/timeline").json()["items"]]
    assert {"pairing_opened", "pairing_closed"} <= set(kinds)
    actions = [one["action"] for one in server.api.get("/api/v1/audit", params={"action": "pairing"}).json()["items"]]
    assert actions[:2] == ["pairing.close", "pairing.open"]
    # It registered itself, so it is nobody's: whoever operates takes it.
    taken = ana.post("/api/v1/claims", json={"contract": "native", "external_id": "early"})
    assert (taken.status_code, taken.json()["owner"]) == (200, "ana")


@pytest.mark.parametrize("minutes", [0, 61, -1, "10", 1.5, None])
def test_the_window_lasts_between_one_and_sixty_minutes(ana: httpx.Client, minutes: Any) -> None:
    answer = ana.post("/api/v1/pairing", json={"minutes": minutes})
    assert answer.status_code == 422
    assert [one["field"] for one in answer.json()["errors"]] == ["minutes"]
    assert ana.get("/api/v1/pairing").json()["open"] is False


def test_viewers_neither_open_nor_see_nor_claim(server: RunningServer) -> None:
    with person(server, "vera", "viewer") as vera:
        for method, path, body in (
            ("POST", "/api/v1/pairing", {}), ("GET", "/api/v1/pairing", None), ("GET", "/api/v1/unclaimed", None),
            ("POST", "/api/v1/claims", {"contract": "native", "external_id": "x"}),
            ("POST", "/api/v1/claim-codes", {"contract": "native", "external_id": "x"}),
            ("POST", "/api/v1/labels", {}), ("POST", "/api/v1/factory", None),
        ):  # fmt: skip
            assert vera.request(method, path, json=body).status_code == 403, path


# The unclaimed list


def test_an_approved_entry_is_the_approvers_device(server: RunningServer, ana: httpx.Client) -> None:
    speak(server, "hidrometro/dados", {"totalLiters": 5, "numeroSerie": "app1"})
    (entry,) = entries(ana, "app1")
    assert (entry["reason"], entry["count"], entry["payload"]["totalLiters"]) == ("unclaimed", 1, 5)
    body = {
        "contract": "hidrometro",
        "external_id": "app1",
        "name": "Garden",
        "type": "meter",
        "site": "s",
        "tags": ["a"],
    }
    made = ana.post("/api/v1/unclaimed/approve", json=body)
    assert made.status_code == 201, made.text
    assert {name: made.json()[name] for name in ("name", "type", "site", "tags", "owner", "external_id")} == {
        "name": "Garden", "type": "meter", "site": "s", "tags": ["a"], "owner": "ana", "external_id": "APP1"
    }  # fmt: skip
    assert entries(ana, "app1", standing="all") == []
    assert ana.post("/api/v1/unclaimed/approve", json=body).status_code == 409
    assert ana.post("/api/v1/unclaimed/approve", json=body | {"external_id": "never"}).status_code == 404


def test_ignored_ones_are_shown_when_asked_for(server: RunningServer, ana: httpx.Client) -> None:
    named = {"contract": "native", "external_id": "noisy"}
    speak(server, native("noisy"), {"v": 1})
    assert ana.post("/api/v1/unclaimed/ignore", json=named).status_code == 204
    assert entries(ana, "noisy") == []
    (entry,) = entries(ana, "noisy", standing="ignored")
    assert (entry["standing"], entry["standing_by"]) == ("ignored", "ana")
    assert "restore" in entry["advice"].lower()
    assert len(entries(ana, "noisy", standing="all")) == 1
    ana.post("/api/v1/unclaimed/restore", json=named)
    assert len(entries(ana, "noisy")) == 1


def test_blocked_ones_are_refused_counted_and_told_also_while_pairing(server: RunningServer, ana: httpx.Client) -> None:
    named = {"contract": "native", "external_id": "rogue"}
    speak(server, native("rogue"), {"v": 1})
    assert ana.post("/api/v1/unclaimed/block", json=named).status_code == 204
    ana.post("/api/v1/pairing", json={"minutes": 1})
    try:
        assert speak(server, native("rogue"), {"v": 2}, 3) != 0
    finally:
        ana.delete("/api/v1/pairing")
    assert ana.get("/api/v1/devices/rogue").status_code == 404
    # Held back for a second, so that a flood is few lines.
    entry = eventually(lambda: next((e for e in entries(ana, "rogue", standing="blocked") if e["count"] == 4), None))
    assert (entry["payload"], entry["reason"]) == ({"v": 1}, "registration_closed")
    assert entry["last_seen"] > entry["first_seen"]
    assert server.api.get("/api/v1/system").json()["counters"]["refused"]["mqtt.blocked"] == 3
    told = [line for line in server.api.get("/api/v1/system/timeline").json()["items"] if line["reason"] == "blocked"]
    assert "rogue" in told[0]["detail"]
    for path, body in (("claims", named), ("unclaimed/approve", named)):
        assert ana.post(f"/api/v1/{path}", json=body).status_code == 409
    server.kill()
    server.restart()


def test_a_pairing_window_outlives_a_crash_until_its_end(server: RunningServer, ana: httpx.Client) -> None:
    opened = ana.post("/api/v1/pairing", json={"minutes": 5}).json()
    server.kill()
    server.restart()
    found = server.api.get("/api/v1/pairing").json()
    assert {name: found[name] for name in ("open", "by", "opened_at", "closes_at")} == {
        name: opened[name] for name in ("open", "by", "opened_at", "closes_at")
    }
    assert 0 < found["seconds_left"] <= 300
    assert "pairing_goes_on" in server.log.read_text()
    assert speak(server, native("after-the-crash"), {"v": 1}) == 0
    assert server.api.get("/api/v1/devices/after-the-crash").status_code == 200
    assert server.api.delete("/api/v1/pairing").status_code == 204
    server.restart()
    assert server.api.get("/api/v1/pairing").json()["open"] is False


def test_what_was_decided_outlives_a_crash(server: RunningServer) -> None:
    assert speak(server, native("rogue"), {"v": 3}) != 0
    named = {"contract": "native", "external_id": "rogue"}
    server.api.post("/api/v1/unclaimed/restore", json=named)
    assert speak(server, native("rogue"), {"v": 4}) == 0
    assert server.api.post("/api/v1/unclaimed/approve", json=named).status_code == 201


def test_the_list_is_bounded_paged_and_filtered(server: RunningServer, ana: httpx.Client) -> None:
    blocked = {"contract": "native", "external_id": "flood-blocked"}
    ana.post("/api/v1/unclaimed/block", json=blocked)
    for n in range(50):
        speak(server, native(f"flood-{n:02}"), {"v": n})
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 7, "standing": "all"}
    while True:
        page = ana.get("/api/v1/unclaimed", params=query).json()
        seen += [one["external_id"] for one in page["items"]]
        if not page["next"]:
            break
        query["cursor"] = page["next"]
    assert len(seen) == len(set(seen)) == 41
    assert seen[0] == "flood-49"
    assert "flood-blocked" in seen and "flood-00" not in seen
    assert entries(ana, "FLOOD-4", reason="registration_closed", contract="native") == entries(ana, "flood-4")
    assert len(entries(ana, "flood-4")) == 10
    assert entries(ana, "flood", contract="hidrometro") == entries(ana, "flood", reason="unclaimed") == []
    assert ana.get("/api/v1/unclaimed", params={"cursor": "nonsense"}).status_code == 422
    assert ana.get("/api/v1/unclaimed", params={"standing": "nonsense"}).status_code == 422
    ana.post("/api/v1/unclaimed/restore", json=blocked)


# Codes


def test_a_code_is_good_once_however_it_is_typed(ana: httpx.Client, ben: httpx.Client, server: RunningServer) -> None:
    made = code_for(ana, "coded-1")
    code = made["code"]
    listed = ana.get("/api/v1/claim-codes", params={"search": "coded-1"}).json()["items"]
    assert [one["external_id"] for one in listed] == ["coded-1"]
    assert "code" not in listed[0] and code not in json.dumps(listed)
    assert ben.get("/api/v1/claim-codes", params={"search": "coded-1"}).json()["items"] == []
    refused = ben.post("/api/v1/claims", json={"contract": "native", "external_id": "coded-1"})
    assert refused.status_code == 403
    typed = f" {code.lower().replace('-', ' ')} "
    claimed = ben.post("/api/v1/claims", json={"code": typed, "name": "Mine", "site": "home"})
    assert claimed.status_code == 201, claimed.text
    assert (claimed.json()["owner"], claimed.json()["name"], claimed.json()["site"]) == ("ben", "Mine", "home")
    again = ana.post("/api/v1/claims", json={"code": code})
    assert (again.status_code, again.json()["reason"]) == (422, "code_wrong")
    assert ana.get("/api/v1/devices/coded-1").status_code == 404
    assert code.replace("-", "").encode() not in (server.data / "relevo.db").read_bytes()


def test_a_code_can_be_taken_back_by_whoever_made_it(ana: httpx.Client, ben: httpx.Client) -> None:
    made = code_for(ana, "coded-2")
    assert ben.delete(f"/api/v1/claim-codes/{made['id']}").status_code == 404
    assert ana.delete(f"/api/v1/claim-codes/{made['id']}").status_code == 204
    assert ana.post("/api/v1/claims", json={"code": made["code"]}).status_code == 422


def test_nobody_makes_a_code_for_what_is_anothers(ana: httpx.Client, ben: httpx.Client) -> None:
    ana.post("/api/v1/claims", json={"contract": "native", "external_id": "anas-own"})
    code_for(ana, "anas-own")
    body = {"contract": "native", "external_id": "anas-own"}
    assert ben.post("/api/v1/claim-codes", json=body).status_code == 403
    assert ben.post("/api/v1/labels", json={"identities": [body]}).status_code == 403
    assert ben.post("/api/v1/labels", json={"devices": ["anas-own"]}).status_code == 404
    assert ben.post("/api/v1/claims", json=body).status_code == 409


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "contract"),
        ({"contract": "native"}, "external_id"),
        ({"code": "AAAA"}, "code"),
        ({"code": "AAAAA-AAAAA-AAAA0"}, "code"),
        ({"qr": "hello"}, "qr"),
        ({"url": "https://x/ui/claim"}, "url"),
        ({"url": "https://x/ui/claim?contract=native&serial=a", "code": "AAAAA-AAAAA-AAAAA"}, "url"),
        ({"contract": "nothing", "external_id": "a"}, "contract"),
        ({"contract": "native", "external_id": "a b"}, "external_id"),
        ({"code": "AAAAA-AAAAA-AAAAA", "tags": [""]}, "tags.0"),
    ],
)
def test_claims_name_what_is_wrong_with_them(ana: httpx.Client, body: dict[str, Any], field: str) -> None:
    answer = ana.post("/api/v1/claims", json=body)
    assert answer.status_code == 422, answer.text
    assert field in [one["field"] for one in answer.json()["errors"]]


def test_guessing_is_slowed_down_and_says_for_how_long(server: RunningServer, ana: httpx.Client) -> None:
    good = code_for(ana, "coded-3")["code"]
    with person(server, "mallory") as mallory:
        for n in range(10):
            guess = {"code": f"AAAAA-AAAAA-AAAA{'2346789ACD'[n]}"}
            assert mallory.post("/api/v1/claims", json=guess).status_code == 422
        stopped = mallory.post("/api/v1/claims", json={"code": good})
        assert stopped.status_code == 429
        assert 0 < int(stopped.headers["Retry-After"]) <= 601
    assert ana.post("/api/v1/claims", json={"code": good}).status_code == 201
    # Repetitions are told together, a second later.
    end = time.monotonic() + 5
    while not any("mallory" in one["detail"] for one in door(server)) and time.monotonic() < end:
        time.sleep(0.05)
    assert any(one["reason"] == "code_wrong" and "mallory" in one["detail"] for one in door(server))


# Labels


def test_a_sheet_of_labels_claims_what_it_is_stuck_on(ana: httpx.Client, ben: httpx.Client) -> None:
    identities = [{"contract": "native", "external_id": f"label-{n}", "name": f"Lamp {n}"} for n in range(3)]
    answer = ana.post("/api/v1/labels", json={"identities": identities})
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"].startswith("image/svg+xml")
    assert answer.headers["Cache-Control"] == "no-store"
    typed = re.findall(r">(\w{5}-\w{5}-\w{5})<", answer.text)
    assert len(set(typed)) == 3
    assert "Lamp 1" in answer.text and "label-1" in answer.text
    read = [decoded(grey) for grey in drawn(answer.text)]
    for text, code in zip(read, typed, strict=True):
        assert text.startswith(str(ana.base_url)) and code in text and "/ui/claim?" in text
    by_url = ben.post("/api/v1/claims", json={"url": read[0]})
    assert (by_url.status_code, by_url.json()["external_id"]) == (201, "label-0")
    assert ben.post("/api/v1/claims", json={"code": typed[1]}).json()["external_id"] == "label-1"
    other = read[2].replace("label-2", "label-9")
    assert ben.post("/api/v1/claims", json={"qr": other}).status_code == 422


def test_the_alchemy_form_is_json_that_claims_as_well(ana: httpx.Client, ben: httpx.Client) -> None:
    identities = [{"contract": "native", "external_id": "label-json", "name": "Lámpara"}]
    answer = ana.post("/api/v1/labels", params={"form": "alchemy"}, json={"identities": identities})
    (grey,) = drawn(answer.text)
    text = decoded(grey)
    said = json.loads(text)
    assert (said["serial_number"], said["serial"], said["nombre"]) == ("label-json", "label-json", "Lámpara")
    claimed = ben.post("/api/v1/claims", json={"qr": text})
    assert (claimed.status_code, claimed.json()["name"]) == (201, "Lámpara")


def test_a_single_label_says_which_device_it_is_and_no_code(ana: httpx.Client, ben: httpx.Client) -> None:
    made = ana.post("/api/v1/devices", json={"id": "label-own", "name": "Own"})
    assert made.status_code == 201
    answer = ana.get("/api/v1/devices/label-own/label.svg")
    (grey,) = drawn(answer.text)
    assert decoded(grey).endswith("/ui/claim?contract=native&serial=label-own")
    assert ana.get("/api/v1/claim-codes", params={"search": "label-own"}).json()["items"] == []
    assert ben.get("/api/v1/devices/label-own/label.svg").status_code == 404


def test_a_sheet_holds_one_to_twenty_one(ana: httpx.Client) -> None:
    many = [{"contract": "native", "external_id": f"many-{n}"} for n in range(22)]
    for body in ({}, {"identities": many}, {"identities": many[:21], "devices": ["label-own"]}):
        answer = ana.post("/api/v1/labels", json=body)
        assert answer.status_code in (413, 422)
        assert "21" in answer.text
    assert len(drawn(ana.post("/api/v1/labels", json={"identities": many[:21]}).text)) == 21


# Factory lists


def test_a_factory_list_makes_unowned_devices_with_keys_and_codes(
    server: RunningServer, ana: httpx.Client, ben: httpx.Client
) -> None:
    own_key = "factory-key-0123456789"
    text = (
        "contract,serial,key,name,type,site,tags\n"
        f"native,fac-1,{own_key},Lamp,lamp,,wet;loud\n"
        "native,fac-2,short,Lamp,lamp,,\n"
        "hidrometro,fac-3,,,,,\n"
        "nothing,fac-4,,,,,\n"
        "native,label-own,,,,,\n"
    )
    answer = server.api.post("/api/v1/factory", content=text.encode(), headers={"Content-Type": "text/csv"})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["created"], body["refused"]) == (2, 3)
    rows = {row["serial"]: row for row in body["rows"]}
    assert [row["row"] for row in body["rows"]] == [2, 3, 4, 5, 6]
    assert "key" not in rows["fac-1"] and own_key not in answer.text
    assert len(rows["FAC-3"]["key"]) >= 16
    assert rows["fac-2"]["errors"][0]["field"] == "key" and "16" in rows["fac-2"]["errors"][0]["message"]
    assert rows["fac-4"]["errors"][0]["field"] == "contract"
    assert rows["label-own"]["errors"][0]["field"] == "serial"
    again = server.api.post("/api/v1/factory", content=text.encode(), headers={"Content-Type": "text/csv"}).json()
    assert (again["created"], again["refused"]) == (0, 5)
    # Its key works before anybody owns it.
    sent = httpx.post(
        f"{server.http}/api/v1/devices/fac-1/telemetry",
        json={"v": 1},
        headers={"Authorization": f"Bearer {own_key}"},
        trust_env=False,
    )
    assert sent.status_code == 200, sent.text
    assert ana.get("/api/v1/devices/fac-1").status_code == 404
    identity = {"contract": "native", "external_id": "fac-1"}
    assert ana.post("/api/v1/claims", json=identity).status_code == 403
    assert ana.post("/api/v1/claim-codes", json=identity).status_code == 403
    claimed = ben.post("/api/v1/claims", json={"code": rows["fac-1"]["code"]})
    assert (claimed.status_code, claimed.json()["owner"], claimed.json()["tags"]) == (200, "ben", ["wet", "loud"])
    assert "claimed" in story(ben, "fac-1")
    assert ana.post("/api/v1/claims", json=identity).status_code == 409


def test_a_factory_list_can_be_answered_as_csv(server: RunningServer) -> None:
    text = "contract,serial,key,name,type,site,tags\nnative,csv-1,,,,,\nnative,=1+1,,,,,\n"
    answer = server.api.post("/api/v1/factory?format=csv", content=text, headers={"Content-Type": "text/csv"})
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["outcome"] for row in rows] == ["created", "refused"]
    assert rows[0]["key"] and rows[0]["code"]
    assert rows[1]["serial"].startswith("'=") and rows[1]["field"] == "serial"


@pytest.mark.parametrize("content", [b"", b"a,b\n", b"\xff\xfe", b"x" * 1_048_577])
def test_a_list_that_is_none_is_refused_whole(server: RunningServer, content: bytes) -> None:
    answer = server.api.post("/api/v1/factory", content=content, headers={"Content-Type": "text/csv"})
    assert answer.status_code in (400, 413, 422)
    assert answer.json()["detail"]


def test_a_long_list_takes_many_commits_and_loses_no_row(server: RunningServer) -> None:
    lines = [f"native,bulk-{n},,,,," for n in range(450)]
    text = "\n".join(["contract,serial,key,name,type,site,tags", *lines])
    body = server.api.post("/api/v1/factory", json={"csv": text}).json()
    assert (body["created"], body["refused"]) == (450, 0)
    assert len({row["key"] for row in body["rows"]}) == len({row["code"] for row in body["rows"]}) == 450


# Changes of hands


def test_a_transferred_device_is_the_other_persons_alone(
    server: RunningServer, ana: httpx.Client, ben: httpx.Client
) -> None:
    assert ana.post("/api/v1/devices", json={"id": "gift"}).status_code == 201
    with person(server, "carla", "viewer") as carla:
        share = ana.post("/api/v1/devices/gift/grants", json={"account": "carla", "level": "view"})
        assert share.status_code == 201
        assert carla.get("/api/v1/devices/gift").status_code == 200
        leftover = code_for(ana, "gift")["code"]
        assert ben.post("/api/v1/devices/gift/transfer", json={"to": "ben"}).status_code == 404
        unknown = ana.post("/api/v1/devices/gift/transfer", json={"to": "nobody"})
        assert [one["field"] for one in unknown.json()["errors"]] == ["to"]
        given = ana.post("/api/v1/devices/gift/transfer", json={"to": "ben"})
        assert (given.status_code, given.json()["owner"]) == (200, "ben")
        assert ana.get("/api/v1/devices/gift").status_code == 404
        assert carla.get("/api/v1/devices/gift").status_code == 404
    assert "transferred" in story(ben, "gift")
    assert ana.post("/api/v1/claims", json={"code": leftover}).status_code == 422
    (entry,) = server.api.get("/api/v1/audit", params={"action": "device.transfer"}).json()["items"]
    assert (entry["by"], entry["target"], entry["detail"]) == ("ana", "gift", {"from": "ana", "to": "ben"})


def test_a_released_device_is_nobodys_until_its_code_is_shown(
    server: RunningServer, ana: httpx.Client, ben: httpx.Client
) -> None:
    assert ana.post("/api/v1/devices", json={"id": "released"}).status_code == 201
    answer = ana.post("/api/v1/devices/released/release")
    assert answer.status_code == 200, answer.text
    assert ana.get("/api/v1/devices/released").status_code == 404
    body = server.api.get("/api/v1/devices/released").json()
    assert (body["claimed"], body["owner"]) == (False, None)
    identity = {"contract": "native", "external_id": "released"}
    assert ana.post("/api/v1/claims", json=identity).status_code == 403
    assert server.api.post("/api/v1/devices/released/release").status_code == 409
    claimed = ben.post("/api/v1/claims", json={"code": answer.json()["code"]})
    assert (claimed.status_code, claimed.json()["owner"]) == (200, "ben")
    assert {"released", "claimed"} <= set(story(ben, "released"))
    assert ben.post("/api/v1/devices/released/transfer", json={"to": "ana"}).status_code == 200


def test_of_two_who_claim_at_the_same_moment_one_gets_it(ana: httpx.Client, ben: httpx.Client) -> None:
    for n in range(5):
        body = {"code": code_for(ana, f"race-{n}")["code"]}
        with ThreadPoolExecutor(4) as pool:
            asked = [pool.submit(who.post, "/api/v1/claims", json=body) for who in (ana, ben, ana, ben)]
        answers = [one.result().status_code for one in asked]
        assert answers.count(201) == 1, answers
        assert set(answers) <= {201, 409, 422}
