"""What flowed through a meter by the clocks of its site, what that costs, and where leaks were told."""

import time
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest

from tests.http.problems import fields, problem
from tests.running import RunningServer

ZONE = ZoneInfo("America/Sao_Paulo")
HOUR = 3_600_000
TARIFF = {
    "id": "house",
    "name": "House",
    "currency": "BRL",
    "base": 10.0,
    "steps": [{"up_to_m3": 1.0, "price": 5.0}, {"up_to_m3": None, "price": 9.0}],
    "taxes_percent": 10.0,
}


def ms(*of: int) -> int:
    return round(datetime(*of, tzinfo=ZONE).timestamp() * 1000)  # type: ignore[misc, arg-type]


@pytest.fixture
def meter(server: RunningServer, api: httpx.Client, name: str) -> str:
    """A meter in São Paulo: litres at local times, with a counter that begins anew at the end of October."""
    assert api.put(f"/api/v1/sites/sp-{name}", json={"zone": "America/Sao_Paulo"}).is_success
    assert api.post("/api/v1/devices", json={"id": name, "site": f"sp-{name}"}).status_code == 201
    year = datetime.now(UTC).year - 1
    total = [
        (ms(year, 9, 30, 23, 30), 1_000),
        (ms(year, 10, 1, 0, 30), 1_040),
        (ms(year, 10, 1, 12, 0), 1_100),
        (ms(year, 10, 31, 23, 59), 2_500),
        # Begun anew.
        (ms(year, 11, 1, 0, 30), 20),
        (ms(year, 11, 2, 1, 15), 320),
    ]
    readings = [{"ts": ts, "values": {"totalLiters": value}} for ts, value in total]
    assert api.post(f"/api/v1/devices/{name}/telemetry", json=readings).json()["stored"] == 6
    return name


def asked(api: httpx.Client, meter: str, **params: Any) -> dict[str, Any]:
    answer = api.get(f"/api/v1/devices/{meter}/consumption", params=params)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_months_days_and_hours_are_those_of_the_site_and_add_up(api: httpx.Client, meter: str) -> None:
    year = datetime.now(UTC).year - 1
    span = {"from": ms(year, 9, 15), "to": ms(year, 12, 1)}
    months = asked(api, meter, by="month", **span)
    assert months["zone"] == "America/Sao_Paulo"
    assert [(one["from"], one["to"]) for one in months["buckets"]] == [
        (ms(year, n, 1), ms(year, n + 1, 1)) for n in (9, 10, 11)
    ]
    litres = [one["litres"] for one in months["buckets"]]
    assert litres[:2] == [0, 1_500]
    # What it counted since it began anew is all that is known of that moment.
    assert litres[2] == 300
    assert all(one["complete"] for one in months["buckets"])
    days = asked(api, meter, by="day", **span)
    assert {one["from"]: one["litres"] for one in days["buckets"]}[ms(year, 10, 1)] == 100
    hours = asked(api, meter, by="hour", **span)
    assert {one["from"]: one["litres"] for one in hours["buckets"]}[ms(year, 10, 1, 12)] == 60
    assert days["litres"] == hours["litres"] == months["litres"] == sum(litres)
    assert (days["bill"], days["leaks"]) == (None, [])
    # From within a month it is the whole of it.
    assert asked(api, meter, by="month", **{"from": ms(year, 10, 20), "to": ms(year, 11, 1)})["litres"] == 1_500
    in_m3 = asked(api, meter, by="month", unit="m3", **span)
    assert in_m3["litres"] == months["litres"] * 1_000


def test_a_month_costs_what_the_tariff_says(api: httpx.Client, meter: str) -> None:
    year = datetime.now(UTC).year - 1
    span = {"by": "month", "from": ms(year, 10, 1), "to": ms(year, 11, 1)}
    assert (asked(api, meter, **span)["tariff"], asked(api, meter, **span)["bill"]) == (None, None)
    assert api.put("/api/v1/tariffs", json=TARIFF).json() == TARIFF
    assert TARIFF in api.get("/api/v1/tariffs").json()["items"]
    assert fields(api.post("/api/v1/customers", json={"name": "X", "tariff": "none-such"})) == ["tariff"]
    customer = api.post("/api/v1/customers", json={"name": "Ana", "price": 2.0}).json()
    assert customer["tariff"] == ""
    api.patch(f"/api/v1/devices/{meter}", json={"attributes": {"id_cliente": customer["id"]}})
    by_price = asked(api, meter, **span)
    assert by_price["tariff"] is None
    assert by_price["bill"][0]["total"] == 3.0
    change = {"name": "Ana", "price": 2.0, "tariff": "house"}
    assert api.put(f"/api/v1/customers/{customer['id']}", json=change).json()["tariff"] == "house"
    found = asked(api, meter, **span)
    assert found["tariff"] == "house"
    assert found["bill"] == [
        {
            "month": f"{year}-10",
            "litres": 1_500,
            "complete": True,
            "base": 10.0,
            "water": 9.5,
            "taxes": 1.95,
            "total": 21.45,
            "currency": "BRL",
        }
    ]
    # The meter's own goes before its customer's.
    api.put("/api/v1/tariffs", json=TARIFF | {"id": "pool", "base": 0.0, "taxes_percent": 0.0})
    attributes = {"id_cliente": customer["id"], "tariff": "pool"}
    api.patch(f"/api/v1/devices/{meter}", json={"attributes": attributes})
    assert asked(api, meter, **span)["bill"][0]["total"] == 9.5
    for name in ("pool", "house"):
        assert "give them another first" in problem(api.delete(f"/api/v1/tariffs/{name}"), 409)["detail"]
    assert api.delete(f"/api/v1/devices/{meter}").status_code == 204
    assert api.delete(f"/api/v1/customers/{customer['id']}").status_code == 204
    for name in ("pool", "house"):
        assert api.delete(f"/api/v1/tariffs/{name}").status_code == 204
    problem(api.delete("/api/v1/tariffs/house"), 404)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"steps": []}, "steps"),
        ({"steps": [{"up_to_m3": 2, "price": 1}, {"up_to_m3": 1, "price": 1}]}, "steps.1.up_to_m3"),
        ({"currency": "reais"}, "currency"),
        ({"taxes_percent": 200}, "taxes_percent"),
        ({"discount": 3}, "discount"),
    ],
    ids=str,
)
def test_a_tariff_that_breaks_a_rule_is_refused_by_field(api: httpx.Client, change: dict[str, Any], field: str) -> None:
    assert fields(api.put("/api/v1/tariffs", json=TARIFF | change)) == [field]


def test_leaks_are_marked_where_they_were_told(server: RunningServer, api: httpx.Client, name: str) -> None:
    serial = f"SER{name}"
    assert api.post("/api/v1/claims", json={"contract": "hidrometro", "external_id": serial}).is_success
    found = api.get("/api/v1/devices", params={"search": serial}).json()["items"][0]
    now = round(time.time() * 1000)
    body = {"numeroSerie": serial, "totalLiters": 5.0, "flowLmin": 9.0, "vazamento_detectado": True}
    answer = api.post("/api/data", json=body)
    assert answer.is_success, answer.text
    today = asked(api, found["id"], by="hour")
    assert [one["state"] for one in today["leaks"]] == ["open"]
    before = asked(api, found["id"], by="hour", **{"from": now - 30 * HOUR, "to": now - 20 * HOUR})
    assert before["leaks"] == []


def test_what_cannot_be_answered_is_refused(api: httpx.Client, meter: str) -> None:
    path = f"/api/v1/devices/{meter}/consumption"
    assert fields(api.get(path, params={"from": 10, "to": 5})) == ["from"]
    assert fields(api.get(path, params={"by": "week"})) == ["query.by"]
    problem(api.get(path, params={"key": "none"}), 404)
    problem(api.get("/api/v1/devices/nobody/consumption"), 404)
