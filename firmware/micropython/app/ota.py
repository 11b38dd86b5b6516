"""Updates over the air, the board's side of docs/updates.md. Loaded to look, and given up again when there is nothing.

look -> refused
     -> accepted -> downloading -> (restart) trial -> healthy
                 -> failed                        -> rolled_back (by the launcher)
"""

import asyncio
import hashlib
import json
import os
from binascii import a2b_base64, hexlify

_MANIFEST_MOST = 1024
_IMAGE_MOST = 1048576
_FILES_MOST = 64
_PIECE = 512
_BLOCK = 512
# Room that has to stay free beside the image and what is in it, bytes.
_MARGIN = 8192
_HEALTHY_MS = 60000
# A trial that is not healthy by then starts again; after three starts the launcher goes back.
_PATIENCE_MS = 300000
_ATTEMPTS = 5
_FOLDER = "update"
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789_"
_ENDINGS = ("mpy", "py", "json", "html", "txt", "der")


class Refused(Exception):
    """The offer is none for this board; the text is the reason on the wire."""


class Failed(Exception):
    """It came to nothing; the text is the reason on the wire."""


def _hmac(key, message):
    """HMAC-SHA-256 (RFC 2104); boards have no ``hmac``."""
    if len(key) > 64:
        key = hashlib.sha256(key).digest()
    key = key + bytes(64 - len(key))
    inner = hashlib.sha256(bytes(b ^ 0x36 for b in key))
    inner.update(message)
    outer = hashlib.sha256(bytes(b ^ 0x5C for b in key))
    outer.update(inner.digest())
    return outer.digest()


def _same(a, b):
    """Compare in a time that does not tell where they differ."""
    if len(a) != len(b):
        return False
    found = 0
    for x, y in zip(a, b):  # noqa: B905 - MicroPython knows no strict=
        found |= x ^ y
    return found == 0


def verified(signed, key, public):
    """The manifest's object when its signature is good.

    ``key`` is the board's key as text or ``None``, ``public`` the 32 bytes of the update key that it was given or
    ``None``; whoever has the latter insists on it. Raises :class:`Refused` (``signature``).
    """
    end = signed.find(b"\n")
    if not 0 < end < 512 or len(signed) - end - 1 > _MANIFEST_MOST:
        raise Refused("signature")
    words = signed[:end].split(b" ")
    raw = signed[end + 1 :]
    given = {}
    for word in words[1:]:
        at = word.find(b"=")
        given[bytes(word[:at])] = bytes(word[at + 1 :])
    good = False
    if words[0] == b"relevo-update-1":
        if public is not None:
            import ed25519

            try:
                good = ed25519.verify(public, a2b_base64(given.get(b"ed25519", b"")), raw)
            except ValueError:
                good = False
        elif key:
            derived = _hmac(key.encode(), b"relevo-update-1")
            good = _same(hexlify(_hmac(derived, raw)), given.get(b"hmac-sha256", b""))
    if not good:
        raise Refused("signature")
    try:
        found = json.loads(raw)
    except ValueError:
        raise Refused("signature") from None
    if not isinstance(found, dict):
        raise Refused("signature")
    return found


def named(signed):
    """What an offer calls its release, good or not: a refusal has to say of what."""
    try:
        release = json.loads(signed[signed.find(b"\n") + 1 :]).get("release")
    except (ValueError, AttributeError):
        return ""
    return release if isinstance(release, str) and len(release) <= 64 else ""


def _whole(value, least, most):
    return type(value) is int and least <= value <= most


def fits(manifest, me, issued, free):
    """Raise :class:`Refused` unless the offer is for this board, is new, and there is room for it.

    ``me`` has ``device``, ``board``, ``boot`` and ``mpy``; ``issued`` is that of the last offer installed, ``free`` the
    room on the flash in bytes.
    """
    if manifest.get("device") != me["device"]:
        raise Refused("device")
    if manifest.get("board") != me["board"]:
        raise Refused("board")
    if not _whole(manifest.get("boot"), 0, me["boot"]):
        raise Refused("boot")
    if manifest.get("mpy") not in (0, me["mpy"]):
        raise Refused("mpy")
    if not _whole(manifest.get("issued"), issued + 1, 1 << 40):
        raise Refused("issued")
    digest = manifest.get("sha256")
    if not isinstance(digest, str) or len(digest) != 64 or not isinstance(manifest.get("release"), str):
        raise Refused("signature")
    if not _whole(manifest.get("size"), 1, _IMAGE_MOST) or 2 * manifest["size"] + _MARGIN > free:
        raise Refused("space")


def _size(name):
    try:
        return os.stat(name)[6]
    except OSError:
        return 0


def _remove(name):
    try:
        os.remove(name)
    except OSError:
        pass


def _folder(name):
    try:
        os.mkdir(name)
    except OSError:
        pass


def room():
    """Free bytes of the file system."""
    found = os.statvfs(".")
    return found[0] * found[3]


def _name(header):
    """The file's name in a tar header. Raises :class:`Failed` when it is none that belongs in a slot."""
    name = bytes(header[:100]).rstrip(b"\0")
    try:
        name = name.decode()
    except UnicodeError:
        raise Failed("image") from None
    at = name.find(".")
    if header[156:157] not in (b"0", b"\0") or not 0 < at < 60 or name[at + 1 :] not in _ENDINGS:
        raise Failed("image")
    for letter in name[:at]:
        if letter not in _LETTERS:
            raise Failed("image")
    return name


def _checked(header):
    """Whether the header's own sum is right (POSIX.1-1988, ustar)."""
    try:
        told = int(bytes(header[148:156]).rstrip(b"\0 "), 8)
    except ValueError:
        return False
    return sum(header) - sum(header[148:156]) + 8 * 32 == told


async def unpack(image, slot):
    """Put the files of ``image`` into ``slot``; the application's own comes to its place last.

    Raises :class:`Failed` (``image``, ``flash``).
    """
    _folder(slot)
    for name in ("app.mpy", "app.py"):
        _remove(slot + "/" + name)
    for name in os.listdir(slot):
        _remove(slot + "/" + name)
    last = None
    try:
        with open(image, "rb") as source:
            for _ in range(_FILES_MOST + 1):
                header = source.read(_BLOCK)
                if len(header) == _BLOCK and not any(header):
                    break
                if len(header) != _BLOCK or not _checked(header):
                    raise Failed("image")
                name = _name(header)
                try:
                    left = int(bytes(header[124:136]).rstrip(b"\0 ") or b"0", 8)
                except ValueError:
                    raise Failed("image") from None
                place = slot + "/" + name
                if name in ("app.mpy", "app.py"):
                    last = (place + ".new", place)
                    place = last[0]
                with open(place, "wb") as file:
                    while left > 0:
                        piece = source.read(_BLOCK)
                        if len(piece) != _BLOCK:
                            raise Failed("image")
                        file.write(piece if left >= _BLOCK else piece[:left])
                        left -= _BLOCK
                        await asyncio.sleep(0)
            else:
                raise Failed("image")
    except OSError:
        raise Failed("flash") from None
    if last is None:
        raise Failed("image")
    os.rename(*last)


class Update:
    """One look, or what is left of one.

    ``fetch`` is how it travels: ``manifest(query)`` gives the signed manifest or ``b""``, ``image(release, offset, put)``
    calls ``put(piece)`` for what comes from ``offset`` on, ``tell(report)`` says how it goes; all are awaited and raise
    ``OSError``; ``key`` is the board's key that was shown there. ``boot`` is the launcher, ``me`` what the board is,
    ``public`` the update key it was given or ``None``, ``slot`` where it runs, ``sleep(ms)`` is awaited.
    """

    def __init__(self, fetch, boot, me, public, slot, sleep, log=print):
        self._fetch = fetch
        self._boot = boot
        self._me = me
        self._public = public
        self._slot = slot
        self._sleep = sleep
        self._log = log

    async def _tell(self, release, state, **more):
        report = dict(more, release=release, state=state)
        self._log("update", report)
        try:
            await self._fetch.tell(report)
        except OSError:
            return False
        return True

    def _put(self, **changes):
        state = self._boot.read()
        for name, value in changes.items():
            if value is None:
                state.pop(name, None)
            else:
                state[name] = value
        self._boot.write(state)

    async def look(self):
        """Whether another application waits in the other slot: the board is to start again then."""
        state = self._boot.read()
        if state.get("trial"):
            await self._tell(state.get("release", ""), "refused", reason="busy")
            return False
        query = {"version": state.get("version", self._me.get("version", ""))}
        for name in ("board", "boot", "mpy"):
            query[name] = self._me[name]
        signed = await self._fetch.manifest(query)
        if not signed:
            self._clear()
            return False
        release = named(signed)
        try:
            manifest = verified(signed, self._fetch.key, self._public)
            issued = state.get("issued")
            # What is half here already need not be free again.
            free = room() + _size(_FOLDER + "/image") + self._held()
            fits(manifest, self._me, issued if type(issued) is int else 0, free)
        except Refused as problem:
            await self._tell(release, "refused", reason=str(problem))
            return False
        await self._tell(release, "accepted")
        try:
            await self._download(manifest)
            await unpack(_FOLDER + "/image", self._boot.other(self._slot))
        except Failed as problem:
            self._clear()
            await self._tell(release, "failed", reason=str(problem))
            return False
        self._clear()
        self._put(
            active=self._slot,
            trial=self._boot.other(self._slot),
            tries=0,
            why=None,
            former=[state.get("release", ""), query["version"]],
            release=release,
            version=manifest.get("version", ""),
            issued=manifest["issued"],
        )
        return True

    def _held(self):
        """What the other slot's files take now."""
        slot = self._boot.other(self._slot)
        try:
            return sum(_size(slot + "/" + name) for name in os.listdir(slot))
        except OSError:
            return 0

    def _clear(self):
        _remove(_FOLDER + "/image")
        _remove(_FOLDER + "/sha256")

    async def _download(self, manifest):
        """The whole image in its file. Raises :class:`Failed`."""
        size, digest, release = manifest["size"], manifest["sha256"], manifest["release"]
        place, mark = _FOLDER + "/image", _FOLDER + "/sha256"
        _folder(_FOLDER)
        try:
            with open(mark) as file:
                begun = file.read()
        except OSError:
            begun = ""
        if begun != digest or _size(place) > size:
            self._clear()
            with open(mark, "w") as file:
                file.write(digest)
        told = -10
        failures = 0
        while True:
            have = _size(place)
            if have >= size:
                break
            before = have
            try:
                with open(place, "ab") as file:
                    # One that sends more than was asked for is not listened to.
                    left = size - have

                    def put(piece):
                        nonlocal left
                        if len(piece) > left:
                            raise OSError("more than the image")
                        if file.write(piece) != len(piece):
                            raise Failed("flash")
                        left -= len(piece)

                    await self._fetch.image(release, have, put)
            except OSError as problem:
                self._log("update", problem)
                if room() < _BLOCK:
                    raise Failed("flash") from None
            have = _size(place)
            failures = 0 if have > before else failures + 1
            if failures >= _ATTEMPTS:
                raise Failed("network")
            if failures:
                await self._sleep(1000 << failures)
            percent = have * 100 // size
            if percent >= told + 10:
                told = percent
                await self._tell(release, "downloading", percent=percent)
        found = hashlib.sha256()
        with open(place, "rb") as file:
            while True:
                piece = file.read(_PIECE)
                if not piece:
                    break
                found.update(piece)
                await asyncio.sleep(0)
        if hexlify(found.digest()).decode() != digest:
            raise Failed("hash")

    async def after_start(self, online, now):
        """Tell what became of the last update, and see a trial through. True when the board is to start again.

        ``online()`` says whether the board is online and all its tasks are alive, ``now()`` gives milliseconds since the
        start that never fall.
        """
        state = self._boot.read()
        outcome = state.get("outcome")
        if isinstance(outcome, dict):
            while not await self._tell(
                outcome.get("release", ""), outcome.get("state", ""), reason=outcome.get("reason", "")
            ):
                await self._sleep(10000)
            self._put(outcome=None)
        if state.get("trial") != self._slot:
            return False
        release, version = state.get("release", ""), state.get("version", "")
        told, since = False, None
        while True:
            if online():
                if not told:
                    told = await self._tell(release, "trial", version=version)
                if since is None:
                    since = now()
                elif now() - since >= _HEALTHY_MS:
                    break
            else:
                since = None
                if now() > _PATIENCE_MS:
                    self._put(why="not_healthy")
                    return True
            await self._sleep(1000)
        self._put(active=self._slot, trial=None, tries=None, why=None, former=None)
        while not await self._tell(release, "healthy", version=version):
            await self._sleep(10000)
        return False


class OverHttp:
    """Updates over HTTP: ``request`` is that of ``httpc``, ``base`` the server's URL, ``token`` the board's key."""

    def __init__(self, request, base, token):
        self._request = request
        self._base = base
        self.key = token
        self._headers = {"Authorization": "Bearer " + token}

    async def manifest(self, query):
        asked = "&".join("%s=%s" % (name, query[name]) for name in sorted(query))
        status, _, body = await self._request(
            "GET", self._base + "/api/v1/update?" + asked, None, self._headers, 10, None, 2048
        )
        if status == 204:
            return b""
        if status != 200:
            raise OSError("update %d" % status)
        return body

    async def image(self, release, offset, put):
        headers = dict(self._headers)
        # In pieces that a bad line gets through, each of which stays when the next is lost.
        headers["Range"] = "bytes=%d-%d" % (offset, offset + 16383)
        url = self._base + "/api/v1/update/image?release=" + release
        status, _, _ = await self._request("GET", url, None, headers, 30, put, 0)
        if status != 206 and not (status == 200 and offset == 0):
            raise OSError("image %d" % status)

    async def tell(self, report):
        url = self._base + "/api/v1/update"
        status, _, _ = await self._request("POST", url, report, self._headers, 10, None, 2048)
        # What the server does not take it would not take again.
        if status >= 500 or status == 429:
            raise OSError("report %d" % status)


class OverMqtt:
    """Updates over MQTT: ``publish(suffix, payload, qos)`` is awaited, ``key`` is the password of the connection.

    :meth:`heard` gets what comes below ``update/``.
    """

    def __init__(self, publish, key, length=1024, wait_ms=10000):
        self._publish = publish
        self.key = key
        self._length = length
        self._wait_s = wait_ms / 1000
        self._came = asyncio.Event()
        self._wanted = ""
        self._found = None

    def heard(self, channel, payload):
        """A message of the server: ``channel`` is ``manifest`` or ``image``."""
        if channel == self._wanted:
            self._found = bytes(payload)
            self._came.set()

    async def _ask(self, channel, question):
        self._came.clear()
        self._wanted, self._found = channel, None
        await self._publish("update/get", json.dumps(question), 0)
        try:
            await asyncio.wait_for(self._came.wait(), self._wait_s)
        except asyncio.TimeoutError:
            raise OSError("no answer") from None
        finally:
            self._wanted = ""
        return self._found

    async def manifest(self, query):
        for _ in range(3):
            try:
                return await self._ask("manifest", dict(query, want="manifest"))
            except OSError:
                pass
        raise OSError("no answer")

    async def image(self, release, offset, put):
        question = {"want": "image", "release": release, "offset": offset, "length": self._length}
        found = await self._ask("image", question)
        if len(found) <= 4:
            raise OSError("no image")
        if int.from_bytes(found[:4], "big") == offset:
            put(found[4:])

    async def tell(self, report):
        await self._publish("update/state", json.dumps(report), 1)
