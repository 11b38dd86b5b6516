"""Updates: what is taken, what is not, what survives a reset in the middle."""

import asyncio
import hashlib
import json
import os
from binascii import hexlify

import boot
import ota

KEY = "secret-of-the-board"
ME = {"device": "board-1", "board": "relay", "boot": 1, "mpy": 6, "version": "1.0.0"}
FILES = (("release.json", b'{"version":"2.0.0"}'), ("app.py", b"x" * 1500), ("words.json", b"{}"))


def tar(files):
    """An image as the server gives it: POSIX.1-1988 ustar."""
    out = b""
    for name, data in files:
        head = name.encode() + bytes(100 - len(name)) + b"0000644\0" + b"0000000\0" * 2
        head += b"%011o\0" % len(data) + b"%011o\0" % 0 + b" " * 8 + b"0" + bytes(100) + b"ustar\00000"
        head += bytes(512 - len(head))
        head = head[:148] + b"%06o\0 " % sum(head) + head[156:]
        out += head + data + bytes(-len(data) % 512)
    return out + bytes(1024)


def signed(image, key=KEY, **changes):
    manifest = {
        "release": "relay-2.0.0",
        "device": "board-1",
        "version": "2.0.0",
        "board": "relay",
        "boot": 1,
        "mpy": 6,
    }
    manifest["size"] = len(image)
    manifest["sha256"] = hexlify(hashlib.sha256(image).digest()).decode()
    manifest["issued"] = 1767225600
    manifest.update(changes)
    raw = json.dumps(manifest).encode()
    mac = hexlify(ota._hmac(ota._hmac(key.encode(), b"relevo-update-1"), raw))
    return b"relevo-update-1 hmac-sha256=" + mac + b"\n" + raw


class Server:
    """What the other end gives; ``breaks`` are numbers of bytes after which the line goes."""

    def __init__(self, image, offer=None, breaks=()):
        self.image_bytes = image
        self.offer = signed(image) if offer is None else offer
        self.breaks = list(breaks)
        self.told = []
        self.asked = []
        self.key = KEY

    async def manifest(self, query):
        self.asked.append(query)
        return self.offer

    async def image(self, release, offset, put):
        self.asked.append(offset)
        most = self.breaks.pop(0) if self.breaks else len(self.image_bytes)
        for at in range(offset, min(offset + most, len(self.image_bytes)), 300):
            put(self.image_bytes[at : min(at + 300, offset + most)])
        if most < len(self.image_bytes) - offset:
            raise OSError("gone")

    async def tell(self, report):
        self.told.append(report)

    def states(self):
        return [one["state"] for one in self.told]


async def _sleep(ms):
    await asyncio.sleep(0)


def update(server, slot="a", public=None):
    return ota.Update(server, boot, ME, public, slot, _sleep, log=lambda *_: None)


def look(server, slot="a", **more):
    return asyncio.run(update(server, slot, **more).look())


def content(name):
    with open(name, "rb") as file:
        return file.read()


def test_a_good_offer_is_put_into_the_other_slot_and_goes_on_trial():
    server = Server(tar(FILES))
    assert look(server) is True
    assert server.states()[0] == "accepted" and set(server.states()[1:]) == {"downloading"}
    assert content("b/app.py") == b"x" * 1500 and content("b/release.json") == b'{"version":"2.0.0"}'
    state = boot.read()
    assert (state["active"], state["trial"], state["tries"]) == ("a", "b", 0)
    assert state["former"] == ["", "1.0.0"] and state["version"] == "2.0.0"
    assert "image" not in os.listdir("update")


def test_nothing_on_offer_does_nothing():
    server = Server(b"", offer=b"")
    assert look(server) is False
    assert server.told == [] and server.asked == [{"version": "1.0.0", "board": "relay", "boot": 1, "mpy": 6}]


def test_offers_that_are_not_for_this_board_are_refused_with_the_reason():
    image = tar(FILES)
    boot.write({"active": "a", "issued": 1767225000})
    for reason, offer in (
        ("signature", signed(image, key="another")),
        ("signature", signed(image).replace(b"2.0.0", b"2.0.1")),
        ("signature", b"no line"),
        ("signature", b"relevo-update-2" + signed(image)[15:]),
        ("device", signed(image, device="board-2")),
        ("board", signed(image, board="meter")),
        ("boot", signed(image, boot=2)),
        ("boot", signed(image, boot=True)),
        ("mpy", signed(image, mpy=5)),
        ("issued", signed(image, issued=1767225000)),
        ("issued", signed(image, issued=1767225600.5)),
        ("space", signed(image, size=1048577)),
        ("signature", signed(image, sha256=7)),
    ):
        server = Server(image, offer)
        assert look(server) is False
        assert [(one["state"], one["reason"]) for one in server.told] == [("refused", reason)], (reason, server.told)
    assert "b" not in os.listdir()


def test_a_line_that_breaks_goes_on_where_it_was():
    image = tar(FILES)
    server = Server(image, breaks=[700, 0, 1000])
    assert look(server) is True
    assert [one for one in server.asked if isinstance(one, int)] == [0, 700, 700, 1700]
    assert content("b/app.py") == b"x" * 1500


def test_a_reset_in_the_middle_goes_on_where_it_was():
    image = tar(FILES)
    server = Server(image, breaks=[1024])

    async def gone(ms):
        raise KeyboardInterrupt

    one = ota.Update(server, boot, ME, None, "a", gone, log=lambda *_: None)
    server.image_bytes, rest = image[:1024], image
    try:
        asyncio.run(one.look())
        raise AssertionError("it ended")
    except KeyboardInterrupt:
        pass
    assert os.stat("update/image")[6] == 1024
    server = Server(rest)
    assert look(server) is True
    assert server.asked[1] == 1024


def test_what_was_begun_of_another_image_is_not_gone_on_with():
    os.mkdir("update")
    with open("update/image", "wb") as file:
        file.write(b"y" * 600)
    with open("update/sha256", "w") as file:
        file.write("0" * 64)
    server = Server(tar(FILES))
    assert look(server) is True
    assert server.asked[1] == 0


def test_an_image_with_another_hash_is_not_unpacked():
    image = tar(FILES)
    server = Server(image, offer=signed(image, sha256="0" * 64))
    assert look(server) is False
    assert server.told[-1]["state"] == "failed" and server.told[-1]["reason"] == "hash"
    assert "b" not in os.listdir() and "trial" not in boot.read()


def test_a_server_that_never_sends_ends_it():
    server = Server(tar(FILES), breaks=[0] * 9)
    assert look(server) is False
    assert server.told[-1] == {"release": "relay-2.0.0", "state": "failed", "reason": "network"}


def test_more_than_the_image_is_not_written():
    image = tar(FILES)
    server = Server(image)
    server.image_bytes = image + b"z" * 600
    assert look(server) is False
    assert server.told[-1]["reason"] in ("network", "hash")


def test_images_that_are_none_do_not_leave_anything_that_starts():
    os.mkdir("b")
    with open("b/app.py", "w") as file:
        file.write("former")
    whole = tar((("app.py", b"x" * 300),))
    for image in (
        tar((("../boot.py", b"x"), ("app.py", b"x"))),
        tar((("a/b.py", b"x"), ("app.py", b"x"))),
        tar((("UPPER.py", b"x"), ("app.py", b"x"))),
        tar((("run.exe", b"x"), ("app.py", b"x"))),
        tar((("release.json", b"x"),)),
        whole[:600],
        whole[:148] + b"000000\0 " + whole[156:],
        whole[:156] + b"2" + whole[157:],
        b"PK" + whole[2:],
    ):
        server = Server(image, offer=signed(image))
        assert look(server) is False
        assert server.told[-1]["reason"] == "image", server.told
        assert not boot.complete("b")
        assert "trial" not in boot.read()


def test_more_files_than_a_slot_holds_are_no_image():
    with open("image", "wb") as file:
        for n in range(65):
            file.write(tar((("a%d.py" % n, b""),))[:512])
        file.write(tar((("app.py", b"x"),)))
    try:
        asyncio.run(ota.unpack("image", "b"))
        raise AssertionError("unpacked")
    except ota.Failed as problem:
        assert str(problem) == "image"
    assert not boot.complete("b")


def test_a_trial_that_is_online_for_a_minute_stays():
    boot.write(
        {"active": "a", "trial": "b", "tries": 1, "release": "relay-2.0.0", "version": "2.0.0", "former": ["", "1"]}
    )
    server = Server(b"")
    now = [0]

    async def sleep(ms):
        now[0] += ms

    one = ota.Update(server, boot, ME, None, "b", sleep, log=lambda *_: None)
    # Gone once in between: the minute begins anew.
    ended = asyncio.run(one.after_start(lambda: now[0] > 5000 and now[0] != 30000, lambda: now[0]))
    assert ended is False and 90000 <= now[0] < 92000
    assert server.states() == ["trial", "healthy"] and server.told[-1]["version"] == "2.0.0"
    state = boot.read()
    assert state["active"] == "b" and "trial" not in state and "tries" not in state


def test_a_trial_that_is_never_online_starts_again():
    boot.write({"active": "a", "trial": "b", "tries": 1, "release": "relay-2.0.0"})
    now = [0]

    async def sleep(ms):
        now[0] += ms

    one = ota.Update(Server(b""), boot, ME, None, "b", sleep, log=lambda *_: None)
    assert asyncio.run(one.after_start(lambda: False, lambda: now[0])) is True
    assert boot.read()["why"] == "not_healthy"


def test_what_the_launcher_did_is_told_until_it_is_heard():
    outcome = {"release": "relay-2.0.0", "state": "rolled_back", "reason": "tries"}
    boot.write({"active": "a", "outcome": outcome})

    class Deaf(Server):
        async def tell(self, report):
            await Server.tell(self, report)
            if len(self.told) < 3:
                raise OSError("gone")

    server = Deaf(b"")
    assert asyncio.run(update(server).after_start(lambda: True, lambda: 0)) is False
    assert server.told == [outcome] * 3
    assert "outcome" not in boot.read()


def test_over_mqtt_a_lost_piece_is_asked_for_again():
    image = tar(FILES)
    asked = []

    async def publish(channel, payload, qos):
        question = json.loads(payload)
        asked.append((channel, question, qos))
        if channel != "update/get":
            return
        if question["want"] == "manifest":
            over.heard("manifest", signed(image))
        elif len(asked) != 5:
            at = question["offset"]
            over.heard("image", at.to_bytes(4, "big") + image[at : at + question["length"]])

    over = ota.OverMqtt(publish, KEY, 512, 20)
    assert asyncio.run(ota.Update(over, boot, ME, None, "a", _sleep, log=lambda *_: None).look()) is True
    offsets = [one["offset"] for _, one, _ in asked if one.get("want") == "image"]
    assert len(offsets) == len(set(offsets)) + 1
    assert content("b/app.py") == b"x" * 1500


def test_over_http_a_piece_is_a_range():
    image = tar(FILES)
    whole = len(image) + 16384
    offer = signed(image, size=whole, sha256="0" * 64)
    asked = []

    async def request(method, url, body, headers, timeout, sink, limit):
        asked.append((method, url, headers.get("Range"), body))
        assert headers["Authorization"] == "Bearer " + KEY
        if "/image?" in url:
            at, end = [int(one) for one in headers["Range"][6:].split("-")]
            for _ in range(at, min(end + 1, whole), 512):
                sink(bytes(512))
            return 206, {}, b""
        return (200, {}, offer) if method == "GET" else (204, {}, b"")

    over = ota.OverHttp(request, "http://h:1", KEY)
    assert asyncio.run(ota.Update(over, boot, ME, None, "a", _sleep, log=lambda *_: None).look()) is False
    assert asked[-1][0] == "POST" and asked[-1][3]["reason"] == "hash"
    assert asked[0][1] == "http://h:1/api/v1/update?board=relay&boot=1&mpy=6&version=1.0.0"
    ranges = [one[2] for one in asked if one[2]]
    assert ranges == ["bytes=0-16383", "bytes=16384-32767"], ranges
