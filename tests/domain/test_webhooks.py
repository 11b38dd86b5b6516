"""What a webhook may be, what it fits, and the words in which events are told."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook as Verifier

from relevo.domain.devices import Device
from relevo.domain.webhooks import (
    Message,
    Webhook,
    body_of,
    check_webhook,
    header_problem,
    hexadecimal_signature,
    message_id,
    salts_of,
    secret_of,
)
from relevo.errors import Invalid

KINDS = frozenset({"telemetry", "alert"})
PLAIN = Webhook("w", "Mine", "https://example.org/", "ana", "ana", "salt", 0)


def made(**changes: object) -> Webhook:
    return msgspec.structs.replace(PLAIN, **changes)


@pytest.mark.parametrize(
    ("changes", "field", "limit"),
    [
        ({"name": ""}, "name", "1 to 64"),
        ({"name": "x" * 65}, "name", "1 to 64"),
        ({"name": "a\nb"}, "name", "printable"),
        ({"kinds": ["telemetry", "weather"]}, "kinds", "none of alert, telemetry"),
        ({"devices": ["d"] * 257}, "devices", "the limit is 256"),
        ({"format": "xml"}, "format", "one of standard, thingsnxt"),
        ({"headers": {f"X-{n}": "" for n in range(17)}}, "headers", "the limit is 16"),
        ({"headers": {"X-A": "", "x-a": ""}}, "headers", "twice"),
        ({"headers": {"X-A": "v" * 1_025}}, "headers", "the limit is 1024"),
    ],
)
def test_every_limit_is_named_with_its_field(changes: dict[str, object], field: str, limit: str) -> None:
    check_webhook(PLAIN, KINDS)
    with pytest.raises(Invalid) as found:
        check_webhook(made(**changes), KINDS)
    assert (found.value.reason, found.value.errors[0].field) == ("webhook_invalid", field)
    assert limit in found.value.errors[0].message


@pytest.mark.parametrize(
    "name",
    [
        "Host", "Content-Length", "transfer-encoding", "Connection", "TE", "Upgrade", "Cookie", "Authorization",
        "Proxy-Authorization", "Proxy-Anything", "webhook-id", "Webhook-Signature", "X-Webhook-Signature",
        "Sec-Fetch-Mode", "X-Forwarded-For", "Content-Type", "Expect", "", "a b", "a:b", "a\r\nHost", "ä", "x" * 65,
    ],
)  # fmt: skip
def test_headers_that_may_not_be_set(name: str) -> None:
    assert header_problem(name, "v")


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\0", "ä", " a", "a ", "a\tb"])
def test_values_that_would_become_something_else(value: str) -> None:
    assert header_problem("X-A", value)


def test_an_ordinary_header_is_fine() -> None:
    assert header_problem("X-Plant", "north; hall=2") == ""
    assert header_problem("X-Api-Version", "") == ""


def test_scope_is_narrowed_by_each_list_and_any_of_its_entries() -> None:
    device = Device("d1", "native", "d1", "One", "meter", 0, tags=["roof", "east"])
    for changes, fits in (
        ({}, True),
        ({"devices": ["d1", "d2"]}, True),
        ({"devices": ["d2"]}, False),
        ({"types": ["meter"], "tags": ["west", "roof"]}, True),
        ({"types": ["lamp"], "tags": ["roof"]}, False),
    ):
        assert made(**changes).fits(device) is fits
    assert made().fits(None)
    assert not made(tags=["roof"]).fits(None)


def test_secrets_follow_from_the_key_and_differ_for_each_webhook_and_salt() -> None:
    one = secret_of(b"key", "w", "a")
    assert one == secret_of(b"key", "w", "a")
    others = {secret_of(b"other", "w", "a"), secret_of(b"key", "v", "a"), secret_of(b"key", "w", "b")}
    assert len({one, *others}) == 4
    assert Verifier(one)._whsecret is not None
    assert len(Verifier(one)._whsecret) == 32


def test_the_former_secret_signs_until_its_time_is_over() -> None:
    rotated = made(salt="b", former_salt="a", former_until=100)
    assert salts_of(rotated, 99) == ["b", "a"]
    assert salts_of(rotated, 100) == ["b"]
    assert salts_of(PLAIN, 0) == ["salt"]


def test_ids_are_stable() -> None:
    assert message_id("w", 7) == "msg_w_7"


def test_the_signature_of_thingsnxt_by_hand() -> None:
    # printf '{}' | openssl dgst -sha256 -hmac key
    assert hexadecimal_signature("key", b"{}") == (
        "sha256=a777724d943eb48dc69bca8a4a6d57a04db3f9ec7e1de4e581e860265bdf3032"
    )


@pytest.mark.parametrize(
    ("message", "wanted"),
    [
        (
            Message("telemetry", "d", "T", {"values": {"t": 1.5}, "seq": 1}),
            {"type": "telemetry_update", "device_id": "d", "timestamp": "T", "data": {"t": 1.5}},
        ),
        (
            Message("presence", "d", "T", {"online": False}),
            {"type": "status_update", "device_id": "d", "timestamp": "T", "status": "offline"},
        ),
        (
            Message("alert", "d", "T", {"text": "hot"}),
            {"type": "alert", "device_id": "d", "timestamp": "T", "data": {"text": "hot"}},
        ),
    ],
)
def test_the_words_of_thingsnxt(message: Message, wanted: dict[str, object]) -> None:
    assert json.loads(body_of(message, "thingsnxt")) == wanted


@given(
    st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5) | st.booleans() | st.none(), max_size=4)
)
def test_every_object_survives_the_body(data: dict[str, object]) -> None:
    whole = json.loads(body_of(Message("event", "d", "T", data), "standard"))
    assert whole == {"type": "event", "timestamp": "T", "data": data}
