"""Everything a simulation can be told, and what of it makes no sense."""

from dataclasses import dataclass
from typing import Final

from relevo.errors import ConfigurationError
from relevo.simulator.contracts import Contract, contract_named
from relevo.simulator.faults import NO_FAULTS, Faults
from relevo.simulator.outcomes import Outcomes
from relevo.simulator.profiles import profile_named

_UPDATABLE: Final = ("native", "autocore")


@dataclass(frozen=True, slots=True)
class Options:
    """Everything a simulation can be told.

    ``rate`` is messages a second of all devices together, or of each when ``per_device``; ``None`` is the contract's
    own interval. The run ends after ``duration`` seconds or ``count`` messages in all, whichever is first; with neither
    it runs until interrupted. ``drain`` is how many seconds it then waits for outstanding acknowledgements. ``token``
    replaces ``username`` and ``password`` of the administrator. ``mqtt_username`` and ``mqtt_password`` are for
    contracts whose devices have no key of their own. ``qos`` of ``None`` is the contract's own. ``steer`` is seconds
    between two changes that an operator makes at devices picked at random, 0 for none. ``progress`` of ``None`` shows a
    bar on a terminal only. ``profile`` is a kind of device, and says the contract. ``ramp`` is how many seconds devices
    come up over, before ``duration`` begins. ``updates`` says what becomes of new firmware (``None``: nobody asks for
    it), ``trial`` for how many seconds it is on trial.
    """

    devices: int = 10
    contract: str = "native"
    rate: float | None = None
    per_device: bool = False
    duration: float | None = 60.0
    count: int | None = None
    mqtt_host: str = "127.0.0.1"
    mqtt_port: int = 1883
    mqtt_tls: bool = False
    ca_file: str = ""
    http: str = "http://127.0.0.1:8000"
    username: str = "admin"
    password: str = ""
    token: str = ""
    mqtt_username: str = ""
    mqtt_password: str = ""
    prefix: str = ""
    seed: int = 1
    qos: int | None = None
    window: int = 20
    drain: float = 15.0
    verify: bool = True
    remove: bool = False
    steer: float = 0.0
    progress: bool | None = None
    profile: str = ""
    faults: Faults = NO_FAULTS
    ramp: float = 0.0
    updates: Outcomes | None = None
    trial: float = 5.0

    @property
    def kind(self) -> Contract:
        """What is simulated. Raises :class:`ConfigurationError`."""
        if not self.profile:
            return contract_named(self.contract)
        found = profile_named(self.profile)
        if self.contract not in ("native", found.name):
            raise ConfigurationError(f"profile {self.profile} speaks {found.name}, not {self.contract}")
        return found

    @property
    def period(self) -> float:
        """Seconds between two messages of one device."""
        if self.rate is None:
            return self.kind.period_s
        return 1 / self.rate if self.per_device else self.devices / self.rate

    def check(self) -> Contract:
        """The contract meant. Raises :class:`ConfigurationError` naming the first option that makes no sense."""
        contract = self.kind
        rules = [
            (self.devices >= 1, "devices must be at least 1"),
            (self.rate is None or self.rate > 0, "rate must be above 0 messages a second"),
            (self.qos in (None, 0, 1), "qos must be 0 or 1"),
            (1 <= self.window <= 65_000, "window must be 1 to 65000 messages"),
            (self.duration is None or self.duration > 0, "duration must be above 0 seconds"),
            (self.count is None or self.count >= self.devices, "count must be at least one message for each device"),
            (self.steer >= 0, "steer must be 0 seconds or more"),
            (self.ramp >= 0, "ramp must be 0 seconds or more"),
            (self.trial >= 0, "trial must be 0 seconds or more"),
            (bool(self.token or self.password), "an administrator's password or token is needed to enrol devices"),
        ]
        for holds, text in rules:
            if not holds:
                raise ConfigurationError(text)
        for fault in self.faults.chosen:
            if fault in contract.device.immune or (fault == "stale-clock" and not contract.device.timed):
                raise ConfigurationError(f"{contract.name} devices cannot have the fault {fault}")
        if self.updates is not None and contract.name not in _UPDATABLE:
            raise ConfigurationError(f"new firmware is for devices of {' and '.join(_UPDATABLE)}, not {contract.name}")
        step = contract.device.resolution_ms
        if self.period * 1000 < step:
            raise ConfigurationError(
                f"a {contract.name} device tells time in steps of {step} ms and can send at most "
                f"{1000 / step:g} messages a second; use more devices or a lower rate"
            )
        return contract
