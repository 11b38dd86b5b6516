"""How a board comes online: network, time, what the contract wants, broker. Loaded for each attempt."""

from late import late

TIME_AGAIN_MS = 600000
# A network that is not found for so long may have another name now: the set-up opens beside the attempts.
SETUP_MS = 300000
SAFE_MS = 60000


async def attempt(app):
    """Milliseconds until the next one, or ``None``: the board is online."""
    app.sup.beat("life")
    if not app.get("wifi_ssid"):
        app.enter("provision")
        late("captive").open(app)
        return 1000
    ready = getattr(app.contract, "provisioned", None)
    if ready is not None and not ready():
        # Nothing is said in any network.
        app.enter("provision")
        return 1000
    if not app.station.joined():
        app.enter("wifi")
        if not await late("wifi").join(app):
            if app.clock.ms() - app.searching > SETUP_MS:
                late("captive").open(app)
            return pause(app)
    app.searching = app.clock.ms()
    if app.open:
        app.open = ""
        app.hal.access_point("", "")
    await _time(app)
    if app.safe:
        app.enter("safe")
        if app.due:
            await late("update").look(app)
        return SAFE_MS
    contract = app.contract
    try:
        await late(app.name + "_join").prepare(contract)
        app.enter(app.reaching)
        await contract.connect()
        app.enter("online")
        return None
    except OSError as problem:
        app.log("connection:", problem)
    except contract.Refused as problem:
        app.log("refused:", problem)
        # Asking again does not change it; other settings may.
        if not await late(app.name + "_join").refused(contract):
            return late("backoff").slow()
    return pause(app)


def pause(app):
    """Milliseconds until the next attempt after one that failed."""
    wait, app.bound = late("backoff").after(app.bound)
    return wait


async def _time(app):
    if app.clock.unix() or (app.timed is not None and app.clock.ms() - app.timed < TIME_AGAIN_MS):
        return
    app.timed = app.clock.ms()
    app.enter("time")
    try:
        now = await late("ntp").ask()
        app.clock.put(now)
        app.hal.set_clock(now)
    except (OSError, ValueError) as problem:
        app.log("time:", problem)
