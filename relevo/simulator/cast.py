"""The demo's dozen: who they are, what they measure and how often."""

import csv
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import resources
from itertools import count, cycle

from relevo.simulator.generators import Counter, Flow, Generator, NoisySine, OnOff, RandomWalk, Value, source

Values = dict[str, Value]
Measure = Callable[[float], Values]
Rngs = Callable[[str], random.Random]

SEED = 7
DAY = 1_800.0
"""Seconds of a demo day: short enough to watch the sun rise."""


@dataclass(frozen=True, slots=True)
class Member:
    """One device of the demo. ``period`` in seconds; ``manner`` names how it sends (see ``demo``).

    ``settable`` are the values that a command may change, with what they start as.
    """

    id: str
    name: str
    kind: str
    period: float
    measure: Measure
    manner: str = "steady"
    settable: Values = field(default_factory=dict)


def _signals(device: str, make: Callable[[Rngs], dict[str, Generator]]) -> Measure:
    signals = make(lambda key: source(SEED, device, key))
    return lambda t: {key: signal.at(t) for key, signal in signals.items()}


def _greenhouse() -> Measure:
    return _signals(
        "greenhouse-climate",
        lambda rng: {
            "temperature_c": NoisySine(rng("temperature_c"), 24.0, 5.0, DAY, 0.08),
            "humidity_pct": NoisySine(rng("humidity_pct"), 68.0, 12.0, DAY, 0.4, digits=1),
            "light_lux": NoisySine(rng("light_lux"), 9_000.0, 14_000.0, DAY, 150.0, digits=0, floor=0.0),
            "soil_moisture_pct": RandomWalk(rng("soil_moisture_pct"), 28.0, 46.0, 0.05, 1),
        },
    )


def office_rows() -> list[Values]:
    """A day of real readings from an office (see ``data/README.md``)."""
    text = resources.files("relevo.simulator").joinpath("data/office-climate-day.csv").read_text("utf-8")
    return [
        {
            "temperature_c": round(float(row["temperature_c"]), 2),
            "humidity_pct": round(float(row["humidity_pct"]), 2),
            "light_lux": round(float(row["light_lux"]), 1),
            "co2_ppm": round(float(row["co2_ppm"])),
            "occupied": row["occupied"] == "1",
        }
        for row in csv.DictReader(text.splitlines())
    ]


def _office() -> Measure:
    rows = cycle(office_rows())
    return lambda _t: dict(next(rows))


def _freezer() -> Measure:
    return _signals(
        "freezer-2",
        lambda rng: {
            "temperature_c": NoisySine(rng("temperature_c"), -18.6, 0.9, 420.0, 0.05),
            "compressor_on": OnOff(rng("compressor_on"), 180.0, 240.0),
            "door_open": OnOff(rng("door_open"), 12.0, 300.0),
        },
    )


def _meter(device: str, litres_per_minute: float, mean_open: float, mean_closed: float) -> Measure:
    flow = Flow(source(SEED, device, "flow"), litres_per_minute, mean_open, mean_closed)
    total = Counter(source(SEED, device, "total"), flow)
    return lambda t: {"totalLiters": total.at(t), "flowLmin": total.rate}


def _boiler() -> Measure:
    return _signals(
        "boiler",
        lambda rng: {
            "flow_temp_c": NoisySine(rng("flow_temp_c"), 58.0, 6.0, 600.0, 0.2, digits=1),
            "return_temp_c": NoisySine(rng("return_temp_c"), 44.0, 4.0, 600.0, 0.2, digits=1),
            "pressure_bar": RandomWalk(rng("pressure_bar"), 1.3, 1.9, 0.004),
            "burner_on": OnOff(rng("burner_on"), 90.0, 60.0),
        },
    )


def _weather() -> Measure:
    rain = Counter(source(SEED, "weather-station", "rain_mm"), Flow(source(SEED, "weather", "rain"), 0.2, 200.0, 900.0))
    rest = _signals(
        "weather-station",
        lambda rng: {
            "temperature_c": NoisySine(rng("temperature_c"), 13.0, 6.0, DAY, 0.1, digits=1),
            "humidity_pct": NoisySine(rng("humidity_pct"), 72.0, 15.0, DAY, 0.5, digits=0),
            "pressure_hpa": RandomWalk(rng("pressure_hpa"), 992.0, 1_028.0, 0.1, 1),
            "wind_ms": RandomWalk(rng("wind_ms"), 0.0, 14.0, 0.5, 1),
            "wind_deg": RandomWalk(rng("wind_deg"), 180.0, 320.0, 6.0, 0),
        },
    )
    return lambda t: rest(t) | {"rain_mm": rain.at(t)}


def _solar() -> Measure:
    sun = NoisySine(source(SEED, "solar-inverter", "power_w"), 900.0, 2_600.0, DAY, 40.0, digits=0, floor=0.0)
    energy = Counter(source(SEED, "solar-inverter", "energy_wh"), _PerHour(sun), 1)
    grid = RandomWalk(source(SEED, "solar-inverter", "grid_v"), 226.0, 238.0, 0.3, 1)

    def measure(t: float) -> Values:
        total = energy.at(t)
        return {"power_w": float(energy.rate) * 60, "energy_wh": total, "grid_v": grid.at(t)}

    return measure


class _PerHour:
    """Watts as watt hours a minute."""

    def __init__(self, power: Generator) -> None:
        self._power = power

    def at(self, t: float) -> float:
        return float(self._power.at(t)) / 60


def _parking() -> Measure:
    rng = source(SEED, "parking-counter", "cars")
    state = {"entered": 412, "free_spaces": 23}

    def measure(_t: float) -> Values:
        arrivals, departures = rng.choice((0, 0, 1, 1, 2)), rng.choice((0, 0, 1, 1, 2))
        arrivals = min(arrivals, state["free_spaces"])
        state["entered"] += arrivals
        state["free_spaces"] = min(60, state["free_spaces"] - arrivals + departures)
        return dict(state)

    return measure


def _mailbox() -> Measure:
    battery = (round(4.08 - step * 0.0005, 4) for step in count())
    rest = _signals(
        "mailbox",
        lambda rng: {
            "rssi_dbm": RandomWalk(rng("rssi_dbm"), -88.0, -61.0, 2.0, 0),
            "lid_open": OnOff(rng("lid_open"), 10.0, 400.0),
        },
    )
    return lambda t: rest(t) | {"battery_v": next(battery)}


def _cellar() -> Measure:
    return _signals(
        "cellar-sensor",
        lambda rng: {
            "temperature_c": RandomWalk(rng("temperature_c"), 11.5, 13.5, 0.02),
            "humidity_pct": RandomWalk(rng("humidity_pct"), 74.0, 88.0, 0.2, 1),
        },
    )


def _workshop() -> Measure:
    return _signals(
        "workshop-logger",
        lambda rng: {
            "noise_db": RandomWalk(rng("noise_db"), 38.0, 92.0, 3.0, 1),
            "dust_ug_m3": RandomWalk(rng("dust_ug_m3"), 4.0, 120.0, 2.0, 1),
        },
    )


def _relays() -> Measure:
    return _signals("relay-board", lambda rng: {"supply_v": RandomWalk(rng("supply_v"), 11.7, 12.4, 0.02)})


def members() -> Iterator[Member]:
    """Everybody, in the order in which they come to life."""
    yield Member("greenhouse-climate", "Greenhouse climate", "climate", 2.0, _greenhouse())
    yield Member("office-air", "Office air", "air-quality", 3.0, _office())
    yield Member("freezer-2", "Freezer 2", "cold-chain", 4.0, _freezer())
    yield Member("HX2041", "Kitchen water meter", "water-meter", 2.0, _meter("HX2041", 7.5, 25.0, 50.0), "meter")
    yield Member("HX3077", "Garden water meter", "water-meter", 5.0, _meter("HX3077", 14.0, 120.0, 90.0), "stranger")
    yield Member("boiler", "Boiler", "heating", 3.0, _boiler(), settable={"setpoint_c": 60})
    yield Member("weather-station", "Weather station", "weather", 5.0, _weather())
    yield Member("solar-inverter", "Solar inverter", "energy", 2.0, _solar())
    yield Member("parking-counter", "Car park, entrance", "counter", 4.0, _parking())
    relays: Values = {"relay_1": True, "relay_2": False, "relay_3": False, "relay_4": False}
    yield Member("relay-board", "Relay board, workshop", "relay", 5.0, _relays(), settable=relays)
    yield Member("mailbox", "Mailbox sensor", "battery", 5.0, _mailbox(), "sleeper")
    yield Member("cellar-sensor", "Cellar sensor", "climate", 5.0, _cellar(), "clockless")
    yield Member("workshop-logger", "Workshop logger", "environment", 3.0, _workshop(), "clumsy")


def telemetry(ts: int, values: Values, boot: int, seq: int) -> dict[str, object]:
    """A reading in the native contract's words; ``ts`` in milliseconds."""
    return {"ts": ts, "values": values, "boot": boot, "seq": seq}


def words(document: object) -> bytes:
    """A message's JSON."""
    return json.dumps(document, separators=(",", ":")).encode()
