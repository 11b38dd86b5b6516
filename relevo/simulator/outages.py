"""Connections that break on purpose, and devices that show a wrong key."""

import asyncio
from collections.abc import Sequence
from typing import Final

from relevo.simulator.device import SimulatedDevice
from relevo.simulator.gear import Tally
from relevo.simulator.http_client import HttpFailed

_STEADY_S: Final = (1.0, 5.0)
_AWAY_S: Final = (0.0, 2.0)
_KNOCKS_EVERY_S: Final = (0.5, 2.0)


async def flapping(device: SimulatedDevice, tally: Tally) -> None:
    """Lose its connection every few seconds, until cancelled."""
    while True:
        await device.mqtt.online.wait()
        await asyncio.sleep(device.luck.uniform(*_STEADY_S))
        tally.faults["flap"] += device.mqtt.cut(device.luck.uniform(*_AWAY_S))


async def storms(fleet: Sequence[SimulatedDevice], every_s: float, tally: Tally) -> None:
    """All of them lose their connection in one moment and come back in the next, until cancelled."""
    while True:
        await asyncio.sleep(every_s)
        lost = sum(one.mqtt.cut(0.0) for one in fleet)
        tally.faults["storm"] += lost > 0


async def knocking(device: SimulatedDevice, tally: Tally) -> None:
    """Show a wrong key again and again, until cancelled."""
    while True:
        try:
            inside = await device.knock()
        except HttpFailed as error:
            tally.problems.append(f"{device.name}: {error}")
            inside = False
        tally.faults["wrong-key"] += not inside
        if inside:
            tally.let_in += 1
            tally.problems.append(f"{device.name}: was let in with a wrong key")
        await asyncio.sleep(device.luck.uniform(*_KNOCKS_EVERY_S))
