"""Killed while webhooks are delivered: everything arrives, in order for each device, under ids that stay the same."""

import asyncio
import random
from collections import defaultdict
from pathlib import Path

import httpx
import pytest
from aiohttp import web
from standardwebhooks import Webhook as Verifier

from tests.receiver import Received, Receiver
from tests.running import RunningServer

pytestmark = [pytest.mark.fault, pytest.mark.timeout(180)]
KILLS, DEVICES, ROUNDS = 4, 5, 12


async def test_killed_again_and_again_while_the_receiver_comes_and_goes(tmp_path: Path) -> None:
    rng = random.Random(7)
    env = {
        "RELEVO_WEBHOOKS__ALLOW_PRIVATE": "127.0.0.1",
        "RELEVO_WEBHOOKS__RETRY_FIRST_S": "0.2",
    }

    def moody(one: Received) -> web.Response:
        return web.Response(status=rng.choice([200, 200, 200, 500, 503]))

    async with Receiver(moody) as receiver:
        with RunningServer(tmp_path / "data", env=env) as server:
            devices = [f"m{n}" for n in range(DEVICES)]
            for device in devices:
                server.register(device)
            body = {"name": "Mine", "url": receiver.url, "kinds": ["telemetry"]}
            made = server.api.post("/api/v1/webhooks", json=body).json()
            secret = server.canaries.plant(made["secret"])
            sent = 0
            before_kills: list[int] = []
            for _ in range(KILLS):
                for _ in range(ROUNDS):
                    batch = [{"device": device, "values": {"n": sent + 1}} for device in devices]
                    answer = await asyncio.to_thread(server.api.post, "/api/v1/telemetry", json=batch)
                    assert answer.json()["stored"] == DEVICES, answer.text
                    sent += 1
                await asyncio.sleep(rng.uniform(0, 0.8))
                before_kills.append(len(receiver.confirmed))
                server.kill()
                await asyncio.to_thread(server.start)
            receiver.reply = lambda _: web.Response(status=204)
            async with asyncio.timeout(60):
                while len({one.id for one in receiver.confirmed}) < sent * DEVICES:
                    await asyncio.sleep(0.05)
                while await asyncio.to_thread(_left, server, made["id"]):
                    await asyncio.sleep(0.05)
            assert await asyncio.to_thread(server.stop) == 0
            told_before = len(receiver.all)
            await asyncio.to_thread(server.start)
            await asyncio.sleep(1.0)
            # All of it is settled: a restart sends nothing again.
            assert len(receiver.all) == told_before
    first: dict[str, Received] = {}
    for one in receiver.confirmed:
        same = first.setdefault(one.id, one)
        assert same.body == one.body
    order: dict[str, list[int]] = defaultdict(list)
    for one in first.values():
        order[one.data["device"]].append(one.data["values"]["n"])
    assert dict(order) == {device: list(range(1, sent + 1)) for device in devices}
    repeated = len(receiver.confirmed) - len(first)
    print(f"{before_kills} before the kills")
    print(f"{len(first)} deliveries, {len(receiver.all)} attempts, {repeated} repeated after {KILLS} kills")
    assert before_kills[-1] > 0, "nothing had arrived before any kill: it proves nothing"
    # At most what was underway with each kill.
    assert repeated <= KILLS * 300
    Verifier(secret).verify(receiver.all[-1].body, receiver.all[-1].headers)


def _left(server: RunningServer, webhook: str) -> int:
    try:
        shown = server.api.get(f"/api/v1/webhooks/{webhook}").json()
    except httpx.TransportError:
        return 1
    return int(shown["waiting"])
