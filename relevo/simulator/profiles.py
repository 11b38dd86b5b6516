"""What kinds of devices there are beside the bare contracts: a contract, and what such a device measures and does."""

from typing import Any

from relevo.errors import ConfigurationError
from relevo.simulator import autocore, hidrometro, native, thingsnxt
from relevo.simulator.climate import Climate
from relevo.simulator.contracts import Contract, alone, autocore_boards
from relevo.simulator.generators import RandomWalk, Value, source
from relevo.simulator.household import HouseMeter

_RELAY_A = 0.07


class RelayBoard(autocore.Board):
    """Sixteen relays, the contract's first words, and a current that follows from how many relays are on."""

    _noise: RandomWalk | None = None

    @property
    def speech(self) -> str:
        return "seed"

    def figures(self, t: float) -> dict[str, Value]:
        if self._noise is None:
            self._noise = RandomWalk(source(self.gear.seed, self.name, "supply_a"), 0.08, 0.12, 0.003, 4)
        on = sum(self.is_on(channel) for channel in range(1, autocore.CHANNELS + 1))
        return {**super().figures(t), "supply_a": round(self._noise.at(t) + on * _RELAY_A, 3)}


class LegacyPoller(thingsnxt.Thing):
    """An older sketch: it posts to the path without its id, and goes by ``led`` in the answer."""

    @property
    def path(self) -> str:
        return "/telemetry"

    def state_in(self, body: dict[str, Any]) -> dict[str, Any]:
        return {"led": body["led"]}


PROFILES: dict[str, Contract] = {
    "relay16": Contract(autocore.NAME, autocore.PERIOD_S, RelayBoard, autocore_boards(keyed=True), "relay"),
    "meter": Contract(hidrometro.NAME, hidrometro.PERIOD_S, HouseMeter, alone(hidrometro.enrol), "meter"),
    "climate": Contract(native.NAME, 10.0, Climate, alone(native.enrol), "climate"),
    "poller": Contract(thingsnxt.NAME, thingsnxt.PERIOD_S, LegacyPoller, alone(thingsnxt.enrol), "poller"),
}


def profile_named(name: str) -> Contract:
    """The profile of that name. Raises :class:`ConfigurationError` for any other."""
    try:
        return PROFILES[name]
    except KeyError:
        raise ConfigurationError(f"no profile {name[:40]!r}; there are {', '.join(sorted(PROFILES))}") from None
