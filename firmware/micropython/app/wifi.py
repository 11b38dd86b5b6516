"""The board's network: joined when it is gone, and the radio begun anew only when joining itself failed."""

import asyncio

JOIN_MS = 15000


class Wifi:
    """``station`` as in ``hal``; ``access_point(ssid, password)`` opens the network for the set-up."""

    def __init__(self, station, access_point, ms, alive):
        self._station = station
        self._access_point = access_point
        self._ms = ms
        self._alive = alive
        self._failed = False
        self.ip = station.ip
        self.rssi = station.rssi
        self.joined = station.joined
        # The name of the network that is open for the set-up.
        self.open = ""

    async def join(self, ssid, password):
        """Whether the board is in the network within :data:`JOIN_MS`."""
        if self.joined():
            return True
        try:
            if self._failed:
                self._station.leave()
                await asyncio.sleep(0.2)
            self._station.join(ssid, password)
            until = self._ms() + JOIN_MS
            while self._ms() < until:
                if self.joined():
                    self._failed = False
                    return True
                self._alive()
                await asyncio.sleep(0.2)
        except OSError:
            pass
        self._failed = True
        return False

    def access_point(self, ssid, password=""):
        """Open the network for the set-up, or close it with an empty name."""
        if ssid != self.open:
            self.open = ssid
            self._access_point(ssid, password)
