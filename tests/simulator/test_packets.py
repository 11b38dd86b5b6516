import pytest

from relevo.simulator import packets


def test_connect_is_what_the_standard_says_byte_for_byte() -> None:
    assert packets.connect("ab", "u", "p", 30, clean=True) == (
        b"\x10\x14" + b"\x00\x04MQTT\x04\xc2\x00\x1e" + b"\x00\x02ab" + b"\x00\x01u" + b"\x00\x01p"
    )
    assert packets.connect("ab", "", "", 30, clean=True, will=packets.Will("t", b"x")) == (
        b"\x10\x14\x00\x04MQTT\x04\x2e\x00\x1e\x00\x02ab\x00\x01t\x00\x01x"
    )
    assert packets.connect("ab", "", "", 30, clean=False) == b"\x10\x0e\x00\x04MQTT\x04\x00\x00\x1e\x00\x02ab"


def test_publish_has_a_packet_id_at_qos_1_only() -> None:
    assert packets.publish("a/b", b"hi", 0, 7) == b"\x30\x07\x00\x03a/bhi"
    assert packets.publish("a/b", b"hi", 1, 7) == b"\x32\x09\x00\x03a/b\x00\x07hi"


def test_a_repetition_differs_in_the_dup_bit_alone() -> None:
    sent = packets.publish("a", b"x", 1, 1)
    assert packets.again(sent) == bytes([sent[0] | 8]) + sent[1:]


@pytest.mark.parametrize("size", [0, 1, 121, 122, 123, 16_377, 16_378, 2_097_145, 2_097_146])
def test_lengths_of_one_to_four_bytes_survive_the_reader(size: int) -> None:
    whole = packets.publish("abc", bytes(size), 0, 0)
    (found,) = packets.Reader().feed(whole)
    assert packets.message(found) == packets.Message("abc", bytes(size), 0, 0)


def test_the_reader_does_not_care_where_the_stream_is_cut() -> None:
    stream = packets.publish("a/b", b"x" * 200, 1, 9) + packets.PINGREQ + packets.puback(300)
    reader, found = packets.Reader(), []
    for at in range(len(stream)):
        found += list(reader.feed(stream[at : at + 1]))
    assert [one.kind for one in found] == [packets.PUBLISH, 12, packets.PUBACK]
    assert packets.message(found[0]).packet_id == 9
    assert found[2].body == b"\x01\x2c"


def test_a_length_of_five_bytes_is_refused() -> None:
    with pytest.raises(ValueError, match="remaining length"):
        list(packets.Reader().feed(b"\x30\xff\xff\xff\xff\x01"))


def test_a_publish_shorter_than_its_topic_is_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        packets.message(packets.Packet(packets.PUBLISH, 2, b"\x00\x09abc"))
