"""Where requests of this server may go, and that they go nowhere else, whatever a name means a moment later."""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from relevo.errors import Invalid
from relevo.outbound import ANSWER_MOST, Guard, Outbound, Unreachable, resolve, target_of
from tests.authority import Authority, needs_openssl
from tests.receiver import Receiver

PUBLIC = ("93.184.216.34", "8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8")
# What is open to whoever may use private addresses.
PRIVATE = (
    "127.0.0.1",
    "127.255.255.254",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "100.64.0.1",
    "100.127.255.255",
    "::1",
    "fc00::1",
    "fd12:3456::1",
    "::ffff:127.0.0.1",
    "::ffff:10.1.2.3",
    "64:ff9b::7f00:1",
    "64:ff9b::a00:1",
)
NEVER = (
    "0.0.0.0",
    "0.1.2.3",
    "::",
    "169.254.169.254",
    "169.254.1.1",
    "169.254.170.2",
    "100.100.100.200",
    "168.63.129.16",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::7f00:1",
    "2002:7f00:1::1",
    "2002:a00:1::",
    "2001::1",
    "2001:0:7f00:1::",
    "::127.0.0.1",
    "224.0.0.1",
    "239.255.255.250",
    "ff02::1",
    "192.0.0.1",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "240.0.0.1",
    "255.255.255.255",
    "2001:db8::1",
    "3fff::1",
    "100::1",
    "5f00::1",
    "4000::1",
)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_open(address: str) -> None:
    assert Guard([]).problem(address) == ""


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_open_only_to_whoever_was_allowed(address: str) -> None:
    assert Guard([]).problem(address) != ""
    assert Guard([]).problem(address, allow_private=True) == ""
    assert Guard(["hub.local"]).problem(address, "HUB.local.") == ""
    assert Guard(["hub.local"]).problem(address, "other.local") != ""
    assert Guard(["0.0.0.0/0", "::/0"]).problem(address) == ""


@pytest.mark.parametrize("address", NEVER)
def test_what_nobody_may_reach(address: str) -> None:
    assert Guard([]).problem(address) != ""
    assert Guard([]).problem(address, allow_private=True) != ""
    assert Guard(["hub.local"]).problem(address, "hub.local") != ""


def test_link_local_is_open_where_the_settings_name_it_and_metadata_never() -> None:
    guard = Guard(["169.254.0.0/16"])
    assert guard.problem("169.254.1.1") == ""
    assert guard.problem("169.254.169.254") == "a metadata service"
    assert guard.problem("::ffff:169.254.169.254") == "a metadata service"


@given(st.ip_addresses())
def test_whatever_is_open_is_global_by_the_library_too(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    if not Guard([]).problem(str(address)):
        inner = address if address.version == 4 else address.ipv4_mapped
        if inner is None and address in ipaddress.ip_network("64:ff9b::/96"):
            inner = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
        judged = inner or address
        assert judged.is_global
        assert not judged.is_multicast


@pytest.mark.parametrize(
    "host",
    [
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "017700000001",
        "127.1",
        "127.0.1",
        "0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[0:0:0:0:0:ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::1]",
        "[fe80::1]",
        "3232235777",
        "100.64.0.1",
        "１２７.０.０.１",
        "①②⑦.0.0.1",
    ],
)
def test_every_way_to_write_an_address_is_judged_as_the_address(host: str) -> None:
    with pytest.raises(Invalid, match="not allowed") as found:
        Guard([]).check(f"http://{host}/")
    assert found.value.errors[0].field == "url"


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/",
        "file:///etc/passwd",
        "gopher://example.org/",
        "//example.org/",
        "example.org",
        "javascript:alert(1)",
        "http:///path",
        "http://",
        "https://user@example.org/",
        "https://user:word@example.org/",
        "https://example.org@127.0.0.1/",
        "http://example.org:0/",
        "http://example.org:65536/",
        "http://example.org:99999999/",
        "http://example.org:-1/",
        "http://example.org:x/",
        "http://example.org:/",
        "http://example.org\\@127.0.0.1/",
        "http://127.0.0.1\t/",
        "http://example.org/\r\nHost: x",
        "http://exa mple.org/",
        "http://[::1",
        "http://[fe80::1%25eth0]/",
        "http://%31%32%37.0.0.1/",
        "http://" + "a" * 64 + ".org/",
        "",
    ],
)
def test_a_url_that_can_be_read_in_two_ways_is_refused(url: str) -> None:
    with pytest.raises(Invalid) as found:
        target_of(url)
    assert found.value.reason == "target_refused"


def test_a_url_is_taken_apart_as_it_is_sent() -> None:
    assert target_of("https://Example.org") == ("https", "example.org", 443, "/")
    assert target_of("http://bücher.example:8080/a b".replace(" ", "%20") + "?q=ä#part") == (
        "http",
        "xn--bcher-kva.example",
        8080,
        "/a%20b?q=%C3%A4",
    )
    assert target_of("http://[2606:4700::1]:81/x?y").host == "2606:4700::1"


@given(st.text(max_size=60))
def test_no_text_gets_past_as_something_else(text: str) -> None:
    try:
        found = target_of(f"http://{text}")
    except Invalid:
        return
    assert found.host.isascii()
    assert not set(found.host) & set("/@ \\%\r\n\t")
    assert 1 <= found.port <= 65_535
    assert found.path.isascii()
    assert not set(found.path) & set(" \r\n\t")


class Names:
    """A name server that says something else each time."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked += 1
        return list(self.answers[min(self.asked, len(self.answers)) - 1])


async def test_a_name_with_any_forbidden_address_is_refused_whole() -> None:
    async with Receiver() as receiver:
        for addresses in (["8.8.8.8", "127.0.0.1"], ["127.0.0.1", "8.8.8.8"], ["::1"], ["10.0.0.1"]):
            outbound = Outbound(Guard([]), 2, resolve=Names(addresses))
            with pytest.raises(Invalid, match="not allowed"):
                await outbound.post(f"http://hook.example:{receiver.port}/", [], b"{}")
            await outbound.close()
        assert receiver.all == []


async def test_a_name_that_changes_its_meaning_is_judged_by_the_address_that_is_used() -> None:
    """Rebinding: harmless when it is looked at, this machine when it is used. It is asked for once."""
    async with Receiver() as receiver:
        names = Names(["127.0.0.1"], ["169.254.169.254"])
        outbound = Outbound(Guard(["hook.example"]), 2, resolve=names)
        url = f"http://hook.example:{receiver.port}/in?x=1"
        answer = await outbound.post(url, [("X-A", "b")], b"{}")
        assert answer.status == 204
        assert names.asked == 1
        assert receiver.all[0].headers["host"] == f"hook.example:{receiver.port}"
        await outbound.close()
        with pytest.raises(Invalid, match="metadata"):
            await outbound.post(url, [], b"{}")
        assert len(receiver.all) == 1
        await outbound.close()


async def test_a_connection_opened_with_leave_is_not_used_without() -> None:
    async with Receiver() as receiver:
        outbound = Outbound(Guard([]), 2, resolve=Names(["127.0.0.1"]))
        url = f"http://hook.example:{receiver.port}/"
        assert (await outbound.post(url, [], b"{}", allow_private=True)).status == 204
        with pytest.raises(Invalid, match="loopback"):
            await outbound.post(url, [], b"{}")
        await outbound.close()
        assert len(receiver.all) == 1


async def test_proxies_of_the_environment_and_redirects_are_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Receiver() as proxy, Receiver() as receiver:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        receiver.reply = lambda _: web.Response(status=307, headers={"Location": proxy.url})
        outbound = Outbound(Guard(["127.0.0.1"]), 2)
        answer = await outbound.post(receiver.url, [], b"{}")
        await outbound.close()
        assert (answer.status, len(receiver.all), proxy.all) == (307, 1, [])


async def test_of_an_answer_only_its_beginning_is_read() -> None:
    async with Receiver(lambda _: web.Response(status=200, text="x" * 5_000_000)) as receiver:
        outbound = Outbound(Guard(["127.0.0.1"]), 5)
        answer = await outbound.post(receiver.url, [], b"{}")
        await outbound.close()
        assert answer.body == b"x" * ANSWER_MOST


async def test_a_packed_answer_is_not_unpacked() -> None:
    packed = {"Content-Encoding": "gzip"}
    async with Receiver(lambda _: web.Response(status=200, body=b"\x1f\x8b" + bytes(50), headers=packed)) as receiver:
        outbound = Outbound(Guard(["127.0.0.1"]), 5)
        answer = await outbound.post(receiver.url, [], b"{}")
        await outbound.close()
        assert answer.body.startswith(b"\x1f\x8b")


async def test_whoever_answers_slowly_or_not_at_all_is_given_up() -> None:
    async with Receiver() as receiver:
        receiver.pause = asyncio.Event()
        outbound = Outbound(Guard(["127.0.0.1"]), 0.2)
        with pytest.raises(Unreachable, match=r"no answer within 0\.2 s"):
            await outbound.post(receiver.url, [], b"{}")
        receiver.pause.set()
        await outbound.close()
    outbound = Outbound(Guard(["127.0.0.1"]), 5)
    with pytest.raises(Unreachable, match="no connection"):
        await outbound.post(receiver.url, [], b"{}")
    await outbound.close()


async def test_a_name_that_does_not_exist_is_said_to() -> None:
    with pytest.raises(Unreachable, match="has no address"):
        await resolve("nothing.invalid", 80)
    outbound = Outbound(Guard([]), 5, resolve=Names([]))
    with pytest.raises(Unreachable, match="has no address"):
        await outbound.post("http://nothing.invalid/", [], b"{}")


async def test_something_that_speaks_no_http() -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n" * 3)
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 0, family=socket.AF_INET)
    async with server:
        outbound = Outbound(Guard(["127.0.0.1"]), 5)
        with pytest.raises(Unreachable):
            await outbound.post(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", [], b"{}")
        await outbound.close()


@needs_openssl
async def test_tls_asks_for_and_checks_the_name_although_the_connection_goes_to_the_address(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    certificate, key = authority.issue("hook", "hook")
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(certificate, key)
    asked: list[str | None] = []
    server.sni_callback = lambda _, name, __: asked.append(name)
    trusting = ssl.create_default_context(cafile=str(authority.file))
    names = Names(["127.0.0.1"])
    async with Receiver(tls=server) as receiver:
        outbound = Outbound(Guard(["localhost", "other.example"]), 5, resolve=names, tls=trusting)
        assert (await outbound.post(f"https://localhost:{receiver.port}/", [], b"{}")).status == 204
        with pytest.raises(Unreachable, match="certificate"):
            await outbound.post(f"https://other.example:{receiver.port}/", [], b"{}")
        await outbound.close()
        assert asked == ["localhost", "other.example"]
        assert len(receiver.all) == 1
        # An authority that nobody here trusts.
        outbound = Outbound(Guard(["localhost"]), 5, resolve=names)
        with pytest.raises(Unreachable, match="certificate"):
            await outbound.post(f"https://localhost:{receiver.port}/", [], b"{}")
        await outbound.close()
