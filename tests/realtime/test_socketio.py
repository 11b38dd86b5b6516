"""What waits for a client of Socket.IO that is too slow is bounded."""

from relevo.realtime.socketio import _Client


def reading(serial: str, total: float) -> dict[str, object]:
    return {"ts": 1, "totalLiters": total, "flowLmin": 0.0, "numero_serie": serial}


def test_a_slow_client_gets_the_latest_of_each_meter_and_every_alert() -> None:
    client = _Client(None, lambda: True, 10)
    client.offer("history:init", [])
    for n in range(100):
        client.offer("data", reading(f"M{n % 3}", n))
        if n == 50:
            client.offer("alert", {"id": 1})
    names = [name for name, _ in client.waiting]
    assert len(client.waiting) <= 10
    assert names[0] == "history:init"
    assert names.count("alert") == 1
    latest = {body["numero_serie"]: body["totalLiters"] for name, body in client.waiting if name == "data"}
    assert latest == {"M0": 99, "M1": 97, "M2": 98}


def test_more_meters_than_room_keep_the_newest() -> None:
    client = _Client(None, lambda: True, 10)
    for n in range(1_000):
        client.offer("data", reading(f"M{n}", n))
    assert [body["totalLiters"] for _, body in client.waiting] == list(range(990, 1_000))
