"""The server says on the local network where it is, so that no address has to be typed into a board.

Multicast DNS and DNS-based service discovery (RFC 6762, RFC 6763): an instance of ``_relevo._tcp`` whose port is that
of HTTP and whose text says where the other doors are. Nothing is learned from what others announce: who is there
follows from their traffic alone.
"""

import asyncio
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from relevo.log import get_logger

if TYPE_CHECKING:
    from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

log = get_logger("relevo")

SERVICE: Final = "_relevo._tcp.local."
LOOK_S: Final = 60.0
_LABEL_MOST: Final = 63


def instance_name(host: str) -> str:
    """What people see in a browser of services: at most 63 bytes (RFC 6763, section 4.1.1)."""
    text = f"Relevo on {host.partition('.')[0] or 'this machine'}"
    return text.encode()[:_LABEL_MOST].decode(errors="ignore")


def addresses_of(host: str) -> list[str]:
    """IPv4 addresses at which ``host``, an address to listen on, can be reached; for ``0.0.0.0`` of every interface."""
    if host not in ("0.0.0.0", "::", ""):  # noqa: S104 - asked, not bound
        return [host] if host.count(".") == 3 else []
    import ifaddr

    found = [str(ip.ip) for adapter in ifaddr.get_adapters() for ip in adapter.ips if ip.is_IPv4]
    return sorted(one for one in found if not one.startswith("127."))


class Announcer:
    """Announces from :meth:`start` to :meth:`stop`; other addresses of the machine are taken up within a minute."""

    def __init__(self, host: str, port: int, told: Mapping[str, str]) -> None:
        """``told`` becomes the service's text: names of at most 9 letters, short values (RFC 6763, section 6)."""
        self._host = host
        self._port = port
        self._told = dict(told)
        self._task: asyncio.Task[None] | None = None
        self._zeroconf: AsyncZeroconf | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="announcing")

    async def stop(self) -> None:
        """Say good-bye to the network; harmless when it never began."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await self._close()
        log.info("announcing_ended")

    async def _close(self) -> None:
        held, self._zeroconf = self._zeroconf, None
        if held is not None:
            await held.async_unregister_all_services()
            await held.async_close()

    async def _run(self) -> None:
        announced: list[str] = []
        while True:
            addresses = addresses_of(self._host)
            if addresses != announced:
                try:
                    await self._close()
                    if addresses:
                        await self._announce(addresses)
                    announced = addresses
                except OSError as error:
                    # A machine without a network, or another program that does not share the port.
                    log.warning("announcing_failed", error=str(error))
            await asyncio.sleep(LOOK_S)

    async def _announce(self, addresses: list[str]) -> None:
        from zeroconf import IPVersion
        from zeroconf.asyncio import AsyncZeroconf

        self._zeroconf = AsyncZeroconf(interfaces=addresses, ip_version=IPVersion.V4Only)
        registering = await self._zeroconf.async_register_service(self._info(addresses), allow_name_change=True)
        await registering
        log.info("announcing_started", service=SERVICE, addresses=addresses)

    def _info(self, addresses: list[str]) -> "AsyncServiceInfo":
        from zeroconf.asyncio import AsyncServiceInfo

        host = socket.gethostname().partition(".")[0] or "relevo"
        return AsyncServiceInfo(
            SERVICE,
            f"{instance_name(host)}.{SERVICE}",
            addresses=[socket.inet_aton(one) for one in addresses],
            port=self._port,
            properties=self._told,
            server=f"{host}.local.",
        )
