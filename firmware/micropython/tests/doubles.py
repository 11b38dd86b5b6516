"""What stands for the rest of a board in suites."""


class Clock:
    def __init__(self, ms=0, unix=0):
        self.now = ms
        self.day = unix
        self.zero = None

    def ms(self):
        return self.now

    def unix(self):
        return self.day

    def put(self, unix):
        self.zero = unix - self.now // 1000


class Hal:
    """Pins that remember, a radio that says yes."""

    PAGE_PORT = 0
    DNS_PORT = 0

    def __init__(self):
        self.levels = {}
        self.resets = 0
        # Levels of inputs, pulses since they were taken, what is measured, what is kept.
        self.inputs = {}
        self.pulses = 0
        self.measured = {}
        self.volts = 0
        self.nvs = {}
        self.writes = []
        self.MORE = self

    def mac(self):
        return b"\x02\x00\x0a\x0a\x1b\x2c"

    def outputs(self, numbers, low):
        def put(index, on):
            self.levels[numbers[index]] = on
            self.writes.append((numbers[index], on))

        for index in range(len(numbers)):
            put(index, False)
        return put

    def reads(self, number):
        return lambda: self.inputs.get(number, 1)

    def counter(self, number):
        def take():
            pulses, self.pulses = self.pulses, 0
            return pulses

        return take

    def dht22(self, number):
        def read():
            if self.measured is None:
                raise OSError("no answer")
            return self.measured

        return read

    def millivolts(self, number):
        return lambda: self.volts

    def nvs_read(self, namespace, key):
        return self.nvs.get((namespace, key), "")

    def nvs_write(self, namespace, values):
        for key in values:
            self.nvs[(namespace, key)] = values[key]

    def free(self):
        return 70000

    def reset(self):
        self.resets += 1

    def access_point(self, ssid, password):
        self.opened = ssid


class Station:
    def joined(self):
        return True

    def ip(self):
        return "10.0.0.21"

    def rssi(self):
        return -60


class Supervisor:
    failures = 0
    last = ""

    def failed(self, name, problem):
        raise problem

    def beat(self, name):
        pass


class Outbox:
    dropped = 0
    boot = 3

    def __len__(self):
        return 0


class App:
    """As much of a board as modules ask for; ``said`` is what was logged."""

    debug = False
    telemetry = 60000
    reaching = "mqtt"
    updates = None

    def __init__(self, name="autocore"):
        from late import late

        self.name = name
        self.written = 0
        self.said = []
        self.due = 0
        self.again = False
        self.open = ""
        self.state = "boot"
        self.cause = "power"
        self.version = "1.2.3"
        self.clock = Clock()
        self.hal = Hal()
        self.station = Station()
        self.sup = Supervisor()
        self.outbox = Outbox()
        self.values = late("config").load(self, {})

    def get(self, name):
        return self.values[name]

    def put(self, **values):
        from late import late

        late("config").put(self, values)

    def log(self, *said):
        self.said.append(" ".join(str(one) for one in said))

    def enter(self, state):
        self.state = state

    def changed(self):
        self.again = True

    def later(self, make):
        self.next = make


def raises(kind, make, *given):
    """What ``make(*given)`` raises, which must be of ``kind``."""
    try:
        make(*given)
    except kind as problem:
        return problem
    raise AssertionError("nothing was raised")
