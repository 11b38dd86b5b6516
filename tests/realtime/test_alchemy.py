"""The queue of one client of ``/stream/dispositivos``."""

import json

from relevo.domain.devices import Device, Registry
from relevo.domain.events import StateReported
from relevo.domain.twins import Twin
from relevo.realtime.alchemy import QUEUE, Stream, Updates


class Everybody:
    def sees(self, device: Device) -> bool:
        return True

    def good(self) -> bool:
        return True


def test_the_oldest_update_goes_when_a_client_is_slow() -> None:
    registry = Registry()
    registry.load([Device("lamp", "alchemy", "LMP1", "Lamp", "luz", 1, owner="ana")])
    updates = Updates(registry, lambda device: Twin())
    stream = Stream(Everybody(), "", None)
    updates.streams.add(stream)
    for n in range(QUEUE + 7):
        updates.follow(n, [StateReported("lamp", n, {"estado": f"s{n}"})])
    told = [json.loads(one)["estado"] for one in stream.waiting]
    assert told == [f"s{n}" for n in range(7, QUEUE + 7)]
