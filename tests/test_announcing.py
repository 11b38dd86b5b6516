"""Who looks for a server on the local network finds it: asked with the library's own client, over multicast."""

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest
from zeroconf import ServiceListener, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncZeroconf

from relevo.announcing import SERVICE, addresses_of, instance_name
from tests.running import RunningServer


class Seen(ServiceListener):
    """What is there, with its port, addresses and text; who leaves goes out again."""

    def __init__(self) -> None:
        self.there: set[str] = set()

    def add_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        self.there.add(name)

    def update_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        self.there.add(name)

    def remove_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        self.there.discard(name)


async def _until(probe: Any) -> Any:
    async with asyncio.timeout(20):
        while not (found := await probe()):
            await asyncio.sleep(0.05)
        return found


async def test_a_server_is_found_with_its_doors_and_says_good_bye(tmp_path: Path) -> None:
    seen = Seen()
    looking = AsyncZeroconf(interfaces=["127.0.0.1"])
    browser = AsyncServiceBrowser(looking.zeroconf, SERVICE, listener=seen)
    server = await asyncio.to_thread(RunningServer, tmp_path / "data", env={"RELEVO_ANNOUNCE": "on"})
    stopped = False
    try:

        async def ours() -> Any:
            for name in list(seen.there):
                info = await looking.async_get_service_info(SERVICE, name)
                if info is not None and info.port == server.http_port:
                    return info
            return None

        info = await _until(ours)
        assert info.parsed_addresses() == ["127.0.0.1"]
        assert info.properties == {b"mqtt": str(server.mqtt_port).encode()}
        assert info.name.startswith("Relevo on ")
        stopped = True
        await asyncio.to_thread(server.stop)

        async def gone() -> bool:
            return info.name not in seen.there

        await _until(gone)
    finally:
        if not stopped:
            await asyncio.to_thread(server.stop)
        await browser.async_cancel()
        await looking.async_close()


async def test_a_server_that_only_this_machine_reaches_announces_nothing(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "data") as server:
        assert "announcing_started" not in server.log.read_text()


@pytest.mark.parametrize("host", ["relay-hub", "relay-hub.local", "ü" * 80, ""])
def test_the_name_fits_its_label(host: str) -> None:
    name = instance_name(host)
    assert name.startswith("Relevo on ") and len(name.encode()) <= 63


def test_a_server_on_every_address_says_each_but_loopback() -> None:
    found = addresses_of("0.0.0.0")
    assert all(socket.inet_aton(one) and not one.startswith("127.") for one in found)
    assert addresses_of("192.168.7.9") == ["192.168.7.9"]
    assert addresses_of("::1") == []
