"""When a board looks for updates, and which way they travel. Loaded when something is to be done; see :mod:`ota`.

Only a board with a launcher has slots, and so something to update.
"""

import asyncio
import os
import sys
from binascii import a2b_base64

from late import late

EVERY_MS = 21600000
SOON_MS = 5000
SPREAD_MS = 55000
AGAIN_MS = 60000
LASTED_MS = 60000
# The version of byte code that this interpreter reads; 0 where it reads none.
MPY = getattr(sys.implementation, "_mpy", 0) & 0xFF


# What an application keeps in ``updates``, as it is on its heap all the time: when it looked last, whether this start
# lasted, whether an update is under way, where what comes for it goes.
LOOKED, LASTED, BUSY, HEARD = 0, 1, 2, 3


class Way:
    """Over HTTP where the board has a key for it, otherwise, and where that fails, over MQTT."""

    def __init__(self, app, ota):
        get = app.get
        self._app = app
        self._ways = []
        words = late(app.name + "_join")
        if hasattr(words, "api"):
            base = words.api(app)
        else:
            scheme = "https" if get("backend_tls") else "http"
            base = get("backend_ip") and "%s://%s:%d" % (scheme, get("backend_ip"), get("backend_port"))
        if base and get("device_token"):
            self._ways.append(ota.OverHttp(_request, base, get("device_token")))
        # Not every contract has topics for it.
        if hasattr(app.contract, "topic"):
            over = ota.OverMqtt(_publisher(app), words.broker(app.contract)[3])
            app.updates[HEARD] = over.heard
            self._ways.append(over)

    @property
    def key(self):
        return self._ways[0].key if self._ways else ""

    async def _do(self, what, *given):
        problem = OSError("no way to the server")
        for way in list(self._ways):
            try:
                return await getattr(way, what)(*given)
            except OSError as found:
                problem = found
            # What it failed on goes the next way, and so does what follows: a signature is of the key that was shown.
            if len(self._ways) > 1:
                self._ways.append(self._ways.pop(0))
        raise problem

    async def manifest(self, query):
        return await self._do("manifest", query)

    async def image(self, release, offset, put):
        await self._do("image", release, offset, put)

    async def tell(self, report):
        await self._do("tell", report)

    def close(self):
        self._app.updates[HEARD] = None


async def _request(*given):
    return await late("httpc").request(*given)


def _publisher(app):
    async def publish(channel, payload, qos):
        if not app.contract.say(app.contract.topic(channel), payload, qos):
            raise OSError("not connected")

    return publish


def begin(app):
    """At the start: see a trial through, tell what became of the last update, look from time to time."""
    try:
        os.stat("boot.py")
    except OSError:
        return
    app.updates = [0, False, False, None]
    app.due = app.clock.ms() + SOON_MS + late("backoff").noise(SPREAD_MS)
    state = late("boot").read()
    if state.get("trial") or state.get("outcome"):
        app.later(lambda: late("update").after_start(app))


def due(app):
    """It is time: to look, and to say that this start lasted, so that it is none of those that end badly."""
    now = app.clock.ms()
    kept = app.updates
    if now >= LASTED_MS and not kept[LASTED]:
        kept[LASTED] = True
        late("boot").starts(0)
    if app.state == "online" and (not kept[LOOKED] or now - kept[LOOKED] >= EVERY_MS):
        kept[LOOKED] = now
        soon(app)
    app.due = kept[LOOKED] + EVERY_MS if kept[LOOKED] else now + AGAIN_MS
    if not kept[LASTED]:
        app.due = min(app.due, LASTED_MS)


def heard(app, channel, payload):
    """What the server says below ``update/``; nobody asked for it unless something is under way."""
    if app.updates and app.updates[HEARD]:
        app.updates[HEARD](channel, payload)


def _update(app):
    boot, ota, make = late("boot"), late("ota"), late("make")
    me = {
        "device": app.values.get("device_uuid", app.values.get("device_id")),
        "board": make.load("profile.json", {}).get("board", ""),
        "boot": boot.GENERATION,
        "mpy": MPY,
        "version": app.version,
    }
    public = a2b_base64(app.get("update_key")) if app.get("update_key") else None
    way = Way(app, ota)
    return way, ota.Update(way, boot, me, public, make.place().rpartition("/")[2], asyncio.sleep_ms, app.log)


def soon(app):
    """Look beside everything else."""
    app.later(lambda: look(app))


async def look(app):
    """Look for an update, unless that is under way; starts the board again when one waits."""
    if app.updates[BUSY]:
        return
    app.updates[BUSY] = True
    way, update = _update(app)
    try:
        again = await update.look()
    except OSError as problem:
        app.log("update:", problem)
        again = False
    finally:
        app.updates[BUSY] = False
        way.close()
    if again:
        await late("make").restart(app)


async def after_start(app):
    """See :meth:`ota.Update.after_start`."""
    app.updates[BUSY] = True
    way, update = _update(app)
    try:
        again = await update.after_start(lambda: app.state == "online" and app.sup.look(), app.clock.ms)
    finally:
        app.updates[BUSY] = False
        way.close()
    if again:
        await late("make").restart(app)
