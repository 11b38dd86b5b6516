"""Programs that people really use, each over every transport and in every version that it speaks.

They are of different hands: paho-mqtt in C's tradition, aiomqtt on top of it, gmqtt and MQTT.js with decoders of their
own, mosquitto's commands. What one of them forgives, another does not.
"""

import asyncio
import itertools
import shutil
from typing import Any

import pytest

from tests.authority import OPENSSL
from tests.clients.conftest import Make
from tests.clients.mosquitto import Mosquitto
from tests.clients.node import MqttJs
from tests.clients.pythonic import Aiomqtt, Gmqtt, Paho
from tests.clients.speaking import V5, V31, V311, Client, Message

pytestmark = pytest.mark.asyncio(loop_scope="module")

KINDS: tuple[type[Client], ...] = (Paho, Aiomqtt, Gmqtt, MqttJs, Mosquitto)
_VERSIONS = {V31: "3.1", V311: "3.1.1", V5: "5"}
_numbers = itertools.count(1)
Case = tuple[type[Client], str, int]


def _cases(*versions: int) -> list[Any]:
    return [
        pytest.param((kind, transport, version), id=f"{kind.name}-{transport}-{_VERSIONS[version]}")
        for kind in KINDS
        for transport in kind.transports
        for version in kind.versions
        if version in versions
    ]


every_case = pytest.mark.parametrize("case", _cases(V31, V311, V5))
every_case_of_version_5 = pytest.mark.parametrize("case", _cases(V5))
# For what takes seconds and does not depend on the transport.
every_client_of_version_5 = pytest.mark.parametrize(
    "case", [pytest.param((kind, "tcp", V5), id=f"{kind.name}-tcp-5") for kind in KINDS]
)


@pytest.fixture(autouse=True)
def _available(request: pytest.FixtureRequest) -> None:
    case = request.node.callspec.params.get("case") if hasattr(request.node, "callspec") else None
    kinds = KINDS if case is None else (case[0],)
    if Mosquitto in kinds and any(shutil.which(one) is None for one in ("mosquitto_sub", "stdbuf")):
        pytest.skip("Debian's mosquitto-clients is not installed")
    if OPENSSL is None and (case is None or case[1] == "tls"):
        pytest.skip("openssl is not installed")
    if MqttJs in kinds:
        request.getfixturevalue("node")


@pytest.fixture
def name() -> str:
    """A name that no other test uses; short, because version 3.1 allows 23 characters for an identifier."""
    return f"c{next(_numbers)}"


@every_case
async def test_messages_of_every_quality_arrive_once_and_in_order(make: Make, case: Case, name: str) -> None:
    client = make(*case, name)
    await client.connect()
    await client.subscribe(f"{name}/#", 2)
    sent = []
    for qos in (0, 1, 2):
        for n, payload in enumerate((b"short", "ñ 温度".encode(), b"x" * 200_000)):
            sent.append(Message(f"{name}/q{qos}/{n}", payload, qos))
            await client.publish(f"{name}/q{qos}/{n}", payload, qos)
    assert await client.several(len(sent)) == sent
    await client.publish(f"{name}/last", b"last", 2)
    assert (await client.next()).topic == f"{name}/last"


@every_case
async def test_a_retained_message_waits_for_who_comes_later_until_it_is_cleared(
    make: Make, case: Case, name: str
) -> None:
    sender, early, late, last = (make(*case, f"{name}-{n}") for n in range(4))
    await sender.connect()
    await early.connect()
    await early.subscribe(f"{name}/state", 1)
    await sender.publish(f"{name}/state", b"on", 1, retain=True)
    # The flag says that the message is an old one [MQTT-3.3.1-9].
    assert await early.next() == Message(f"{name}/state", b"on", 1, False)
    await late.connect()
    await late.subscribe(f"{name}/+", 1)
    assert await late.next() == Message(f"{name}/state", b"on", 1, True)
    await sender.publish(f"{name}/state", b"", 1, retain=True)
    await last.connect()
    await last.subscribe(f"{name}/#", 1)
    await sender.publish(f"{name}/other", b"marker", 1)
    assert await last.next() == Message(f"{name}/other", b"marker", 1)


@every_case
async def test_the_will_is_told_of_who_breaks_off_and_not_of_who_says_goodbye(
    make: Make, case: Case, name: str
) -> None:
    watcher = make(*case, f"{name}-w")
    await watcher.connect()
    await watcher.subscribe(f"{name}/will", 1)
    for ends_well in (True, False):
        mortal = make(*case, f"{name}-m{ends_well:d}")
        await mortal.connect(will=Message(f"{name}/will", b"well" if ends_well else b"broke off", 1))
        await mortal.subscribe(f"{name}/own", 0)
        await (mortal.disconnect() if ends_well else mortal.drop())
    if mortal.asks_for_its_will:
        assert await watcher.next() == Message(f"{name}/will", b"well", 1)
    assert await watcher.next() == Message(f"{name}/will", b"broke off", 1)


@every_case
async def test_a_kept_session_gets_what_was_sent_while_it_was_away(make: Make, case: Case, name: str) -> None:
    sender, sleeper = make(*case, f"{name}-s"), make(*case, f"{name}-k")
    await sender.connect()
    assert await sleeper.connect(clean=False) in (False, None)
    await sleeper.subscribe(f"{name}/#", 2)
    await sleeper.disconnect()
    sent = [Message(f"{name}/{n}", b"while away", 1 + n % 2) for n in range(6)]
    for one in sent:
        await sender.publish(one.topic, one.payload, one.qos)
    assert await sleeper.connect(clean=False) in (True, None)
    # A message of QoS 2 is handed over one exchange later, so there is an order for each QoS.
    assert sorted(await sleeper.several(len(sent)), key=lambda one: one.qos) == sorted(sent, key=lambda one: one.qos)
    # What was acknowledged does not come again, not even after breaking off.
    await sender.publish(f"{name}/there", b"there", 2)
    assert (await sleeper.next()).topic == f"{name}/there"
    await sleeper.drop()
    await sleeper.connect(clean=False)
    await sender.publish(f"{name}/marker", b"marker", 1)
    assert (await sleeper.next()).topic == f"{name}/marker"


@every_case_of_version_5
async def test_properties_of_a_message_reach_its_subscriber(make: Make, case: Case, name: str) -> None:
    asking, answering = make(*case, f"{name}-q"), make(*case, f"{name}-a")
    await asking.connect()
    await answering.connect()
    await asking.subscribe(f"{name}/answers", 1)
    await answering.subscribe(f"{name}/questions", 1)
    said = {
        "user_property": [("unit", "°C"), ("unit", "K"), ("empty", "")],
        "content_type": "text/plain",
        "response_topic": f"{name}/answers",
        "correlation_data": asking.correlation,
        "message_expiry_interval": 600,
    }
    await asking.publish(f"{name}/questions", b"how warm?", 1, **said)
    question = await answering.next()
    found = dict(question.properties)
    assert 590 <= found.pop("message_expiry_interval") <= 600
    del said["message_expiry_interval"]
    assert found == said
    await answering.publish(found["response_topic"], b"21", 1, correlation_data=found["correlation_data"])
    assert (await asking.next()).properties == {"correlation_data": asking.correlation}


@every_client_of_version_5
async def test_an_expired_message_is_not_delivered_and_a_lasting_one_says_what_is_left(
    make: Make, case: Case, name: str
) -> None:
    sender, sleeper = make(*case, f"{name}-s"), make(*case, f"{name}-k")
    await sender.connect()
    await sleeper.connect(clean=False)
    await sleeper.subscribe(f"{name}/#", 1)
    await sleeper.disconnect()
    await sender.publish(f"{name}/short", b"too old", 1, message_expiry_interval=1)
    await sender.publish(f"{name}/long", b"good", 1, message_expiry_interval=600)
    await asyncio.sleep(1.1)
    await sleeper.connect(clean=False)
    found = await sleeper.next()
    assert found.topic == f"{name}/long"
    assert 500 < found.properties["message_expiry_interval"] < 600


async def test_everybody_hears_everybody(make: Make, name: str) -> None:
    """All at the same time on one topic: every client over every transport, in all versions."""
    everyone = [
        make(kind, transport, version, f"{name}-{n}")
        for n, (kind, transport, version) in enumerate(
            (kind, transport, version) for kind in KINDS for transport in kind.transports for version in kind.versions
        )
    ]
    for one in everyone:
        await one.connect()
        await one.subscribe(f"{name}/all", 1)
    for one in everyone:
        await one.publish(f"{name}/all", one.client_id.encode(), 1)
    wanted = [Message(f"{name}/all", one.client_id.encode(), 1) for one in everyone]
    for one in everyone:
        assert await one.several(len(everyone)) == wanted, f"{one.name} over {one.transport}, {one.version}"
