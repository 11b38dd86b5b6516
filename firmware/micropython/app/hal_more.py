"""What boards of some contracts ask of an ESP32 beside :mod:`hal`; ``host/host.py`` has the same names."""

import machine


def counter(number):
    """A function that gives the pulses (falling edges) of pin ``number`` since it was asked last."""
    counted = [0]

    def pulse(pin):
        counted[0] += 1

    machine.Pin(number, machine.Pin.IN, machine.Pin.PULL_UP).irq(pulse, machine.Pin.IRQ_FALLING)

    def take():
        # A pulse between reading and clearing would be lost.
        masked = machine.disable_irq()
        pulses, counted[0] = counted[0], 0
        machine.enable_irq(masked)
        return pulses

    return take


def bus(sda, scl):
    """I2C: ``writeto(address, data)`` and ``readfrom(address, length)``, which raise OSError."""
    return machine.SoftI2C(scl=machine.Pin(scl), sda=machine.Pin(sda))


def dht22(number):
    """A function that gives ``temperature`` (°C) and ``humidity`` (%) of a DHT22 at pin ``number``, or raises OSError."""
    import dht

    sensor = dht.DHT22(machine.Pin(number))

    def read():
        sensor.measure()
        return {"temperature": sensor.temperature(), "humidity": sensor.humidity()}

    return read


def millivolts(number):
    """A function that gives the voltage at pin ``number`` in mV."""
    pin = machine.ADC(machine.Pin(number), atten=machine.ADC.ATTN_11DB)
    return lambda: pin.read_uv() // 1000


def nvs_read(namespace, key):
    """A text of the non-volatile storage, empty where there is none."""
    import esp32

    room = bytearray(256)
    try:
        return bytes(room[: esp32.NVS(namespace).get_blob(key, room)]).decode()
    except (OSError, UnicodeError):
        return ""


def nvs_write(namespace, values):
    """Keep texts by key; an empty one is taken away."""
    import esp32

    storage = esp32.NVS(namespace)
    for key in values:
        if values[key]:
            storage.set_blob(key, values[key].encode())
        else:
            try:
                storage.erase_key(key)
            except OSError:
                pass
    storage.commit()
