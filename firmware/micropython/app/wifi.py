"""The board's network: joined when it is gone, and the radio begun anew only when joining itself failed."""

import asyncio

JOIN_MS = 15000


async def join(app):
    """Whether the board is in its network within :data:`JOIN_MS`."""
    station = app.station
    try:
        station.join(app.get("wifi_ssid"), app.get("wifi_password"))
        until = app.clock.ms() + JOIN_MS
        while app.clock.ms() < until:
            if station.joined():
                return True
            app.sup.beat("life")
            await asyncio.sleep(0.2)
        # The driver may hang: next time it begins anew.
        station.leave()
    except OSError as problem:
        app.log("wifi:", problem)
    return False
