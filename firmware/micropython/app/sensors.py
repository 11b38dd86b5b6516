"""What a board measures beside its contract: temperature, humidity, its battery. What is not there is left out."""

from late import late


def begin(app, pins):
    """Functions that measure. ``pins`` has ``climate``: ``{"dht": 4}`` for a DHT22, or ``{"sda": 21, "scl": 22}`` for an
    SHT31, perhaps with its ``address``; and ``battery`` with ``pin`` and ``times``, by how much the divider divides.
    """
    hal = late("about").hardware(app)
    climate, battery = pins.get("climate"), pins.get("battery")
    found = []
    if climate and "dht" in climate:
        found.append(hal.dht22(climate["dht"]))
    elif climate:
        found.append(late("sht31").Sht31(hal.bus(climate["sda"], climate["scl"]), climate.get("address", 0x44)).read)
    if battery:
        measure, times = hal.millivolts(battery["pin"]), battery.get("times", 1)
        found.append(lambda: {"battery_v": measure() * times / 1000})
    return found


def read(sensors, log):
    """Numbers by name; a sensor that does not answer, or no number, leaves its own out."""
    values = {}
    for sensor in sensors:
        try:
            found = sensor()
        except OSError as problem:
            log("sensor:", problem)
            continue
        for name in found:
            value = found[name]
            if value is not None and value - value == 0:
                values[name] = round(value, 2)
    return values
