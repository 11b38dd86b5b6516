"""MQTT and HTTP over sockets of this machine: the other side is played by hand."""

import asyncio
import os
import time

import httpc
import httpd
import mq
import mqopen
import net
import rise
import supervisor
import wifi
from doubles import App, Clock

PORT = int((os.getenv if hasattr(os, "getenv") else os.environ.get)("BOARD_TEST_PORT") or 18999)


class Peer:
    """Takes one connection: sends ``script`` as ``(wait_for_bytes, answer)`` and keeps what it read."""

    def __init__(self, *script, hold=False):
        self.script = script
        self.hold = hold
        self.got = b""
        self.streams = None

    async def play(self, reader, writer):
        self.streams = reader, writer
        for least, answer in self.script:
            had = len(self.got)
            while len(self.got) - had < least:
                part = await reader.read(512)
                if not part:
                    return
                self.got += part
            writer.write(answer)
            await writer.drain()
        if self.hold:
            while True:
                part = await reader.read(512)
                if not part:
                    break
                self.got += part
        await net.close(writer)


class Listening:
    """A peer behind a port."""

    def __init__(self, peer):
        self.peer = peer
        self.sock = net.listen(PORT)
        self.task = asyncio.create_task(self.take())

    async def take(self):
        while True:
            try:
                sock = self.sock.accept()[0]
            except OSError:
                await asyncio.sleep(0.01)
                continue
            sock.setblocking(False)
            try:
                await self.peer.play(*await net.streams(sock))
            except OSError:
                pass

    def end(self):
        self.task.cancel()
        self.sock.close()


async def failing(coroutine, kind=OSError):
    """The text of what it raises."""
    try:
        await coroutine
    except kind as problem:
        return str(problem)
    raise AssertionError("nothing was raised")


def client(heard=None, acked=None):
    return mq.Client(heard or (lambda topic, payload: None), acked or (lambda pid: None))


CONNACK = b"\x20\x02\x00\x00"


async def test_a_connection_is_asked_for_as_the_standard_says():
    listening = Listening(Peer((10, CONNACK), (5, b"\x90\x03\x00\x01\x01"), hold=True))
    try:
        one = client()
        await mqopen.connect(one, "id", "127.0.0.1", PORT, "user", "pass", ("w/t", "gone"), ("a/b",))
        assert one.up
        got = listening.peer.got
        assert got[:12] == b"\x10\x25\x00\x04MQTT\x04\xee\x00\x3c", got
        assert got[12:39] == b"\x00\x02id\x00\x03w/t\x00\x04gone\x00\x04user\x00\x04pass"
        assert got[39:] == b"\x82\x08\x00\x01\x00\x03a/b\x01"
        await mqopen.close(one, True)
        await asyncio.sleep(0.1)
        assert listening.peer.got.endswith(b"\xe0\x00")
    finally:
        listening.end()


async def test_a_broker_that_says_no_is_told_by_its_code():
    for code in (1, 2, 3, 4, 5):
        listening = Listening(Peer((10, b"\x20\x02\x00" + bytes([code]))))
        try:
            assert await failing(mqopen.connect(client(), "id", "127.0.0.1", PORT), mq.Refused) == str(code)
        finally:
            listening.end()
    listening = Listening(Peer((10, CONNACK), (5, b"\x90\x03\x00\x01\x80")))
    try:
        told = await failing(mqopen.connect(client(), "id", "127.0.0.1", PORT, topics=("a",)), mq.Refused)
        assert told == "128"
    finally:
        listening.end()


async def test_what_is_no_broker_is_an_error_and_leaves_nothing_open():
    for answer in (b"HTTP/1.1 400 Bad\r\n\r\n", b"", b"\x20\x02\x00"):
        listening = Listening(Peer((10, answer)))
        try:
            one = client()
            await failing(mqopen.connect(one, "id", "127.0.0.1", PORT, timeout=2))
            assert one.writer is None and not one.up
        finally:
            listening.end()
    began = time.ticks_ms()
    assert await failing(mqopen.connect(client(), "id", "127.0.0.1", PORT, timeout=2))
    assert time.ticks_diff(time.ticks_ms(), began) < 2000


async def test_a_broker_that_says_nothing_is_given_up():
    listening = Listening(Peer(hold=True))
    try:
        told = await failing(mqopen.connect(client(), "id", "127.0.0.1", PORT, timeout=1))
        assert told == "the broker does not answer"
    finally:
        listening.end()


class Reader:
    """What is read, without a socket."""

    def __init__(self, data):
        self.data = data

    async def exactly(self, n):
        if len(self.data) < n:
            raise EOFError
        part, self.data = self.data[:n], self.data[n:]
        return part


def reading(data, heard=None, acked=None):
    one = client(heard, acked)
    one.read = Reader(data).exactly
    one.up = True
    return one


async def test_messages_are_heard_before_they_are_acknowledged():
    heard = []
    one = reading(b"\x32\x09\x00\x03a/b\x00\x07hi" + b"\x30\x05\x00\x03a/b", lambda t, p: heard.append((t, p, one.out)))
    await one.one()
    assert heard == [("a/b", b"hi", b"")] and one.out == b"\x40\x02\x00\x07"
    await one.one()
    assert heard[1][:2] == ("a/b", b"")


async def test_a_message_that_is_too_long_is_skipped_and_acknowledged():
    heard = []
    body = b"\x00\x03a/b\x00\x09" + bytes(5000)
    one = reading(b"\x32" + bytes([len(body) & 127 | 128, len(body) >> 7]) + body + b"\x30\x06\x00\x03a/bx", lambda t, p: heard.append(p))
    await one.one()
    assert (heard, one.skipped, one.out) == ([], 1, b"\x40\x02\x00\x09")
    await one.one()
    assert heard == [b"x"]


async def test_malformed_packets_end_the_connection():
    for data in (
        b"\x30\xff\xff\xff\xff\x01", b"\x36\x07\x00\x03a/b\x00\x01", b"\x30\x03\x00\x05ab", b"\x30\x04\xff\xffab",
        b"\x10\x00", b"\x50\x02\x00\x01", b"\xf0\x00", b"\xd0\x80\x01" + bytes(128),
    ):
        await failing(reading(data).one())
    await failing(reading(b"\x30\x05\x00").one(), EOFError)


async def test_so_much_is_in_flight_and_acknowledgements_free_it():
    acked = []
    one = reading(b"\x40\x02\x00\x03" + b"\x40\x02\x00\x03" + b"\x40\x02\x00\x01", None, acked.append)
    assert [one.publish("t", "x", 1) for _ in range(8)] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert not one.room()
    try:
        one.publish("t", "x", 1)
        raise AssertionError
    except OSError:
        pass
    assert one.publish("t", "x") == 0
    for _ in range(3):
        await one.one()
    # One that comes twice is told once.
    assert acked == [3, 1] and one.room()
    one.pid = 65534
    assert [one.publish("t", "x", 1), one.publish("t", "x", 1)] == [65535, 1]
    one.up = False
    try:
        one.publish("t", "x")
        raise AssertionError
    except OSError:
        pass


def test_silence_is_noticed():
    one = reading(b"")
    now = [time.ticks_ms()]
    usual = time.ticks_ms
    # Modules are shared: the module's clock is replaced as a whole.
    class Time:
        ticks_ms = staticmethod(lambda: now[0])
        ticks_diff = staticmethod(time.ticks_diff)

    mq.time = Time
    try:
        one.sent = now[0]
        now[0] += 29999
        one.tick()
        assert one.out == b""
        now[0] += 1
        one.tick()
        assert one.out == b"\xc0\x00"
        now[0] += 15000
        one.tick()
        now[0] += 1
        try:
            one.tick()
            raise AssertionError
        except OSError:
            pass
        one = reading(b"")
        one.publish("t", "x", 1)
        now[0] += 15001
        try:
            one.tick()
            raise AssertionError
        except OSError:
            pass
    finally:
        mq.time = time
    assert usual is time.ticks_ms


async def asked(answer, sink=None, limit=4096, timeout=3, body=None, method="GET"):
    """What the client makes of an answer, and what it asked."""
    peer = Peer((10, answer))
    listening = Listening(peer)
    try:
        url = "http://127.0.0.1:%d/p?q=1" % PORT
        found = await httpc.request(method, url, body, {"X-A": "b"}, timeout, sink, limit)
        return found, peer.got
    finally:
        listening.end()


async def test_an_answer_is_read_by_its_length_in_chunks_and_to_its_end():
    for answer in (
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Y: z\r\n\r\nhelloandmore",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Y: z\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nX-Y: z\r\n\r\nhello",
    ):
        (status, headers, body), got = await asked(answer)
        assert (status, headers["x-y"], body) == (200, "z", b"hello"), answer
        assert got.startswith(b"GET /p?q=1 HTTP/1.1\r\nHost: 127.0.0.1:") and b"\r\nX-A: b\r\n" in got
    (status, _, body), got = await asked(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n", body={"a": 1}, method="POST")
    assert (status, body) == (201, b"") and got.endswith(b'\r\nContent-Length: 8\r\n\r\n{"a": 1}')
    assert (await asked(b"HTTP/1.1 204 No Content\r\n\r\n"))[0][0] == 204


async def test_a_long_answer_goes_to_the_sink_in_pieces():
    pieces = []
    data = bytes(range(256)) * 6
    head = b"HTTP/1.1 206 Part\r\nContent-Length: 1536\r\n\r\n"
    (status, _, body), _ = await asked(head + data, pieces.append)
    assert (status, body, b"".join(pieces)) == (206, b"", data) and max(len(one) for one in pieces) <= 512
    pieces.clear()
    # What is no success is no part of the file.
    (status, _, body), _ = await asked(b"HTTP/1.1 409 No\r\nContent-Length: 3\r\n\r\nwhy", pieces.append)
    assert (status, body, pieces) == (409, b"why", [])


async def test_bad_answers_are_errors():
    for answer in (
        b"", b"nonsense\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 600 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + bytes(5000),
    ):
        await failing(asked(answer))
    listening = Listening(Peer(hold=True))
    try:
        assert await failing(httpc.request("GET", "http://127.0.0.1:%d/" % PORT, timeout=1)) == "timed out"
    finally:
        listening.end()
    assert await failing(httpc.request("GET", "http://127.0.0.1:%d/" % PORT, timeout=1))
    assert await failing(httpc.request("GET", "http://127.0.0.1:1/a b"))


class Given:
    def __init__(self, *parts):
        self.parts = list(parts)

    async def read(self, n):
        return self.parts.pop(0) if self.parts else b""

    async def readexactly(self, n):
        data = b"".join(self.parts)
        if len(data) < n:
            raise EOFError
        return data[:n]


async def test_a_request_is_read_within_bounds():
    method, path, headers, body = await httpd.request(Given(b"POST /con", b"fig HTTP/1.1\r\nContent-Length: 3\r\nA: b\r\n\r\nx", b"yz"))
    assert (method, path, headers["a"], body) == ("POST", "/config", "b", b"xyz")
    for parts in ((b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 300,) * 3, (b"POST / HTTP/1.1\r\nContent-Length: 1025\r\n\r\n",)):
        await failing(httpd.request(Given(*parts)), OverflowError)
    for parts in ((b"GET\r\n\r\n",), (b"GET x HTTP/1.1\r\n\r\n",), (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",), (b"POST / HTTP/1.1\r\nContent-Length: a\r\n\r\n",)):
        await failing(httpd.request(Given(*parts)), ValueError)
    await failing(httpd.request(Given(b"GET / HT")), EOFError)


async def test_whoever_says_nothing_holds_nobody_up():
    app = App()
    app.visitors = 0
    tasks = []
    app.later = lambda make: tasks.append(asyncio.create_task(make()))
    app.door = net.listen(PORT)
    try:
        opened = []
        for _ in range(5):
            opened.append(await net.connect("127.0.0.1", PORT))
        await asyncio.sleep(0.1)
        for _ in range(5):
            httpd.admit(app)
        assert app.visitors == httpd.VISITORS_MOST
        for _, writer in opened:
            await net.close(writer)
        for _ in range(50):
            await asyncio.sleep(0.1)
            if not app.visitors:
                break
        assert app.visitors == 0
    finally:
        app.door.close()


async def test_the_watchdog_is_fed_while_every_task_is_alive():
    now = Clock()
    fed = []
    one = supervisor.Supervisor(now.ms, lambda: fed.append(now.now), lambda *said: None)
    one.beat("a", 1000)
    one.beat("b", 5000)
    now.now = 1000
    assert one.look() and fed == [1000]
    now.now = 1001
    assert not one.look() and fed == [1000]
    one.beat("a")
    assert one.look()
    now.now = 5001
    one.beat("a")
    assert not one.look()


async def test_a_task_that_fails_is_counted_and_begins_again():
    now = Clock()
    one = supervisor.Supervisor(now.ms, now.ms, lambda *said: None)
    runs = []

    async def make():
        runs.append(len(runs))
        if len(runs) == 1:
            # Long enough to have been alive.
            now.now += 6000
            raise ValueError("first")

    await one.keep("a", make, 1000)
    # The second run ended because there was nothing to do any more: it is not waited for.
    assert (len(runs), one.failures, one.tasks) == (2, 1, {}) and "first" in one.last


class Radio:
    """Joins with the second attempt at a network."""

    def __init__(self, clock, after):
        self.clock = clock
        self.after = after
        self.did = []

    def join(self, ssid, password):
        self.did.append((ssid, password))

    def leave(self):
        self.did.append("leave")

    def joined(self):
        self.clock.now += 5000
        return self.did.count(("net", "pass")) >= self.after


async def test_the_radio_begins_anew_only_when_joining_failed():
    app = App()
    app.put(wifi_ssid="net", wifi_password="pass")
    app.station = Radio(app.clock, 1)
    assert await wifi.join(app) and app.station.did == [("net", "pass")]
    app.station = Radio(app.clock, 2)
    assert not await wifi.join(app)
    assert await wifi.join(app) and app.station.did == [("net", "pass"), "leave", ("net", "pass")]

    def broken(ssid, password):
        raise OSError("radio")

    app.station.join = broken
    assert not await wifi.join(app)


async def test_an_attempt_waits_longer_each_time_and_credentials_that_are_refused_longest():
    app = App()
    app.bound = 0
    app.timed = 0
    app.safe = False
    app.searching = 0
    app.clock.day = 1800000000
    app.put(wifi_ssid="net")
    app.station.joined = lambda: True

    class Contract:
        Refused = mq.Refused
        problem = OSError("nobody")

        async def connect(self):
            raise self.problem

    app.contract = Contract()

    class Join:
        @staticmethod
        async def prepare(contract):
            pass

        @staticmethod
        async def refused(contract):
            return False

    taken = rise.late
    rise.late = lambda name: Join if name == "autocore_join" else taken(name)
    try:
        bounds = []
        for _ in range(3):
            wait = await rise.attempt(app)
            assert 0 < wait <= app.bound // 2
            bounds.append(app.bound)
        assert bounds == [2000, 4000, 8000]
        Contract.problem = mq.Refused(4)
        assert 30000 <= await rise.attempt(app) < 60000
    finally:
        rise.late = taken
