"""The contracts that can be simulated, each worded from its text and from nothing else."""

from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple

from relevo.errors import ConfigurationError
from relevo.simulator import alchemy, autocore, emqx, hidrometro, native, thingsnxt
from relevo.simulator.device import SimulatedDevice
from relevo.simulator.gear import Enrolled, Gear
from relevo.simulator.http_client import HttpClient

Account = tuple[str, str]
Enrol = Callable[[HttpClient, Iterable[str], Account, Gear], Awaitable[list[Enrolled]]]


class Contract(NamedTuple):
    """One contract: how its devices become known, what they are, and how often they send (seconds).

    ``board`` is what they call themselves when they ask for firmware.
    """

    name: str
    period_s: float
    device: type[SimulatedDevice]
    enrol: Enrol
    board: str = "simulated"


def alone(enrol: Callable[[HttpClient, Iterable[str], Account], Awaitable[list[Enrolled]]]) -> Enrol:
    """An enrolment over HTTP alone."""
    return lambda http, names, account, _gear: enrol(http, names, account)


def autocore_boards(keyed: bool = False) -> Enrol:
    """How relay boards become known; those that ask for firmware have a key whether or not they are ``keyed``."""
    return lambda http, names, account, gear: autocore.enrol(http, names, account, keyed=keyed or bool(gear.fates))


CONTRACTS: dict[str, Contract] = {
    one.name: one
    for one in (
        Contract(native.NAME, native.PERIOD_S, native.Device, alone(native.enrol)),
        Contract(autocore.NAME, autocore.PERIOD_S, autocore.Board, autocore_boards(), "relay"),
        Contract(hidrometro.NAME, hidrometro.PERIOD_S, hidrometro.Meter, alone(hidrometro.enrol)),
        Contract(emqx.NAME, emqx.PERIOD_S, emqx.Sensor, alone(emqx.enrol)),
        Contract(thingsnxt.NAME, thingsnxt.PERIOD_S, thingsnxt.Thing, alone(thingsnxt.enrol)),
        Contract(alchemy.NAME, alchemy.PERIOD_S, alchemy.Lamp, alchemy.enrol),
    )
}


def contract_named(name: str) -> Contract:
    """The contract of that name. Raises :class:`ConfigurationError` for any other."""
    try:
        return CONTRACTS[name]
    except KeyError:
        raise ConfigurationError(f"no simulated contract {name!r}; there are {', '.join(sorted(CONTRACTS))}") from None
