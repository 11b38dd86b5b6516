"""How boards that are told where the broker is, or find it beside the server, come to it. Loaded when it is needed."""

from late import late


def named(app, ident, name):
    """Give a board that has none its identity and its name; both end as its address does."""
    if not app.get("device_uuid"):
        app.put(device_uuid=ident)
    if not app.get("device_name"):
        app.put(device_name="%s %s" % (name, late("about").tail(app)))


async def prepare(app):
    """Know the broker, and count time of day from here. Nothing of it has to work."""
    clock = app.clock
    if clock.zero is None and clock.unix():
        # From now on both clocks go together: readings are told to the millisecond.
        clock.put(clock.unix())
    if app.get("mqtt_broker") or app.get("backend_ip"):
        return
    app.enter("config")
    try:
        host, port = await late("discovery").find()
    except OSError as problem:
        app.log("discovery:", problem)
        return
    app.log("found a server at", host, port)
    app.put(backend_ip=host, backend_port=port)


def broker(app, user):
    """Host, port, user name, password, whether it is secure; ``user`` is the device's name at the server.

    Who is not told where the broker is takes the server's address.
    """
    get = app.get
    password = get("mqtt_password") or get("device_token") or None
    user = get("mqtt_username") or (user if password else None)
    return get("mqtt_broker") or get("backend_ip"), get("mqtt_port"), user, password, get("mqtt_tls")


def taken(app, entry):
    """Milliseconds since 1970 when an entry of the outbox was taken, 0 when nobody knows."""
    boot, _, ms, unix, _, _ = entry
    zero = app.clock.zero
    if boot == app.outbox.boot and zero is not None:
        return zero * 1000 + ms
    return unix * 1000
