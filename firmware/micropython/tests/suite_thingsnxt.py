"""A board of contract thingsnxt, with its hardware remembered and time in hand."""

import json

import pace
import thingsnxt
import thingsnxt_join
import thingsnxt_words
from doubles import App, raises
from late import late

ID, TOKEN = "6123456abcdef12345678901", "f0e1d2c3b4a5968778695a4b3c2d1e0f"
ANSWERS = (ID, TOKEN, "http://127.0.0.1:8000")


class Bench:
    """A board; ``answers`` are given in turn, the last one for ever."""

    def __init__(self, *answers):
        self.app = App("thingsnxt")
        self.app.reaching = thingsnxt_join.STATE
        self.app.contract = self.board = thingsnxt.Contract(self.app)
        thingsnxt_join.begin(self.board, {"climate": {"dht": 4}})
        self.board.paced.noise = lambda n: n // 2
        self.answers = list(answers)
        self.asked = []
        self.slept = []
        self.board.request, self.board.rest = self.request, self.rest
        self.app.hal.writes.clear()

    async def rest(self, app, ms):
        self.slept.append(ms)
        app.clock.now += ms

    async def request(self, app, method, path, body):
        self.asked.append((method, path, body))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        status, headers, said = answer
        return status, headers, said if isinstance(said, bytes) else json.dumps(said).encode()

    def type(self, *lines):
        return [late("provision").obey(self.app, line) for line in lines]

    def provision(self):
        return self.type("  PROVISION ", *ANSWERS)


def ok(**data):
    return 200, {}, {"data": data}


def test_provisioning_asks_in_turn_and_keeps_three_keys():
    bench = Bench(ok())
    assert not bench.board.provisioned()
    said = bench.type("  PROVISION ", " " + ID.upper() + " ", TOKEN, "https://relevo.example/")
    assert said == ["Device ID:", "Device Token:", "API URL:", "Stored. Token f0***; now type: wifi NAME PASSWORD"]
    assert bench.app.hal.nvs == {
        ("iot-config", "device_id"): ID,
        ("iot-config", "device_token"): TOKEN,
        ("iot-config", "api_url"): "https://relevo.example",
    }
    assert bench.board.provisioned() and bench.app.again
    told = " ".join(bench.type("status", "STATS", "show", "Help", "debug  on"))
    assert TOKEN not in told and "f0***" in told and "provision" in told
    assert bench.app.debug is True
    assert bench.type("wifi home secret") == ["ok"]
    assert bench.provision()[-1] == "Stored. Token f0***"
    bench.type("Reset")


def test_nothing_is_kept_of_a_bad_answer():
    for at, wrong in ((0, "xyz"), (0, "g" * 24), (1, ""), (1, "a b"), (1, "t" * 129), (2, "server"), (2, "ftp://x"), (2, "http://")):
        bench = Bench(ok())
        lines = list(ANSWERS)
        lines[at] = wrong
        assert "nothing was stored" in bench.type("provision", *lines[: at + 1])[-1], wrong
        assert bench.app.hal.nvs == {} and bench.app.get("device_id") == ""
        # The next line is a command again.
        assert bench.type("provision") == ["Device ID:"]


def test_what_is_in_the_non_volatile_storage_is_taken_when_nothing_else_is_there():
    app = App("thingsnxt")
    app.hal.nvs = {("iot-config", name): value for name, value in zip(thingsnxt_join.KEYS, ANSWERS)}
    board = thingsnxt.Contract(app)
    thingsnxt_join.begin(board, {})
    assert board.provisioned() and app.get("device_token") == TOKEN
    # Whoever forgets everything leaves nothing there either.
    late("config").clear(app)
    assert not any(app.hal.nvs.values())


def test_who_is_not_provisioned_says_so_every_half_minute():
    bench = Bench(ok())
    for now in range(0, 90000, 50):
        bench.app.clock.now = now
        bench.board.tick()
    assert bench.app.said == ["not provisioned: type provision"] * 3


async def test_retries_wait_one_two_and_four_seconds():
    for trouble in (OSError("no route"), (500, {}, {}), (200, {}, b"{"), (200, {}, []), (503, {}, b"")):
        bench = Bench(trouble)
        bench.provision()
        bench.app.again = False
        assert await bench.board.step("poll") is False
        assert bench.slept == [1000, 2000, 4000]
        assert (len(bench.asked), bench.board.failed) == (4, 4)
        # Failed cycles lie further and further apart, up to a minute.
        waits = []
        for _ in range(8):
            waits.append(bench.board.paced.interval("poll", bench.app.clock.now))
            bench.board.paced.failed("poll")
        assert waits == sorted(waits)
        assert waits[0] > 4000 and waits[-1] == 60000
        bench.answers = [ok()]
        assert await bench.board.step("poll") is True
        assert bench.board.paced.interval("poll", bench.app.clock.now) == 4000


async def test_too_many_requests_lengthen_both_intervals():
    bench = Bench((429, {}, {"detail": "Too many requests. Please try again later."}))
    bench.provision()
    paced, clock = bench.board.paced, bench.app.clock
    assert [paced.interval(what, 0) for what in (pace.POLL, pace.TELEMETRY, pace.HEALTH)] == [4000, 10000, 60000]
    assert await bench.board.step("poll") is False
    assert (bench.slept, len(bench.asked)) == ([], 1)
    assert [paced.interval(what, clock.now) for what in (pace.POLL, pace.TELEMETRY)] == [5000, 15000]
    assert paced.interval("poll", clock.now + 299999) == 5000
    assert paced.interval("poll", clock.now + 300000) == 4000
    bench.answers = [(429, {"retry-after": "20"}, {})]
    await bench.board.step("telemetry")
    assert paced.interval("telemetry", clock.now + 19999) == 15000
    assert paced.interval("telemetry", clock.now + 20000) == 10000
    assert bench.board.too_many == 2


async def test_who_is_not_known_is_not_asked_again_at_once():
    for status in (401, 403, 404):
        bench = Bench((status, {}, {"detail": "no"}))
        bench.provision()
        try:
            await bench.board.connect()
        except thingsnxt.Refused as problem:
            assert problem.args == (status,)
        else:
            raise AssertionError("it was let in")
        assert (len(bench.asked), bench.slept) == (1, [])
    bench = Bench((422, {}, {"detail": "no"}))
    bench.provision()
    try:
        await bench.board.connect()
    except OSError:
        return
    raise AssertionError("it was let in")


async def test_only_changes_write_pins_and_no_nan_leaves():
    bench = Bench(ok(v0=1, v3=True), ok(v0=1, v1="on", v2=2, v4=0.5, v9=1), ok(led=0), OSError("gone"))
    bench.provision()
    bench.app.again = False
    await bench.board.step("poll")
    await bench.board.step("poll")
    assert bench.app.hal.writes == [(2, True), (18, True)]
    await bench.board.step("poll")
    assert bench.app.hal.writes[2:] == [(2, False)]
    await bench.board.step("poll")
    assert bench.board.states == [0, 0, 0, 1, 0]
    for answer in ((200, {}, b"{"), (200, {}, {"data": 5}), (200, {}, []), (500, {}, {"data": {"v3": 0}})):
        bench.answers = [answer]
        await bench.board.step("poll")
    assert bench.board.states == [0, 0, 0, 1, 0]
    bench.app.hal.measured = {"temperature": 20.5, "humidity": float("nan")}
    bench.answers = [ok(v1=1)]
    await bench.board.step("telemetry")
    data = {"v0": 0, "v1": 0, "v2": 0, "v3": 1, "v4": 0, "temperature": 20.5}
    assert bench.asked[-1] == ("POST", "/devices/%s/telemetry" % ID, {"data": data})
    # An answer to telemetry is one like a poll's.
    assert bench.board.states[1] == 1


async def test_it_counts_what_it_asks():
    bench = Bench(ok())
    bench.provision()
    for what in pace.KINDS:
        assert await bench.board.step(what) is True
    assert [path.rpartition("/")[2] for _, path, _ in bench.asked] == ["latest", "telemetry", "health"]
    bench.app.clock.now += 7000
    stats = json.loads(bench.type("stats")[0])
    assert (stats["sent"], stats["failed"], stats["too_many"]) == (3, 0, 0)
    assert (stats["since_success"], stats["lowest_memory"], stats["uptime"]) == (7, 70000, 7)


def test_after_a_long_outage_it_restarts():
    bench = Bench(ok())
    bench.provision()
    bench.app.next = None
    bench.app.clock.now = 900000
    bench.board.tick()
    assert bench.app.next is None
    bench.app.clock.now += 1
    bench.board.tick()
    assert bench.app.next is not None
    bench.app.next = None
    bench.board.tick()
    assert bench.app.next is None
    patient = Bench(ok())
    patient.provision()
    patient.app.put(restart_after_s=86400)
    patient.app.next, patient.app.clock.now = None, 86400000
    patient.board.tick()
    assert patient.app.next is None


async def test_plain_http_is_for_private_addresses():
    for host in ("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.4.1", "169.254.1.1"):
        assert thingsnxt_words.is_private(host)
    for host in ("8.8.8.8", "172.32.0.1", "example.org", "10.1.2.999", "10.1", "10.1.2.3.4", "10.1.2.x", ""):
        assert not thingsnxt_words.is_private(host)
    bench = Bench(ok())
    bench.provision()
    bench.app.put(api_url="http://example.org")
    try:
        await thingsnxt_words.request(bench.app, "GET", "/health", None)
    except OSError as problem:
        assert "private" in str(problem)
    else:
        raise AssertionError("it was asked")


def test_its_page_asks_for_its_server_and_shows_no_token():
    bench = Bench(ok())
    bench.provision()
    page = late("page")
    shown = "".join(page.shown(bench.app, late("texts_es").TEXTS))
    assert "name=api_url" in shown and "name=backend_ip" not in shown and "MQTT" not in shown
    assert TOKEN not in shown + json.dumps(page.standing(bench.app))
    raises(ValueError, lambda: bench.app.put(**page.changes({"backend_ip": "x"})))
