"""What stands for the rest of a board in suites."""


class Clock:
    def __init__(self, ms=0, unix=0):
        self.now = ms
        self.day = unix

    def ms(self):
        return self.now

    def unix(self):
        return self.day


class Hal:
    """Pins that remember, a radio that says yes."""

    PAGE_PORT = 0
    DNS_PORT = 0

    def __init__(self):
        self.levels = {}
        self.resets = 0

    def mac(self):
        return b"\x02\x00\x0a\x0a\x1b\x2c"

    def outputs(self, numbers, low):
        def put(index, on):
            self.levels[numbers[index]] = on

        for index in range(len(numbers)):
            put(index, False)
        return put

    def reads(self, number):
        return lambda: 1

    def free(self):
        return 70000

    def reset(self):
        self.resets += 1

    def access_point(self, ssid, password):
        self.opened = ssid


class Station:
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

    def __len__(self):
        return 0


class App:
    """As much of a board as modules ask for; ``said`` is what was logged."""

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
