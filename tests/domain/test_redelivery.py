from relevo.domain.redelivery import WINDOW_MS, Redeliveries

NOW = 1_795_270_000_000


def test_the_same_message_within_a_minute_came_before() -> None:
    one = Redeliveries()
    assert not one.again("d1", 7, 99, NOW)
    assert one.again("d1", 7, 99, NOW + WINDOW_MS)
    assert not one.again("d1", 7, 99, NOW + WINDOW_MS + 1)


def test_another_device_number_or_content_is_another_message() -> None:
    one = Redeliveries()
    assert not one.again("d1", 7, 99, NOW)
    assert not one.again("d2", 7, 99, NOW)
    assert not one.again("d1", 8, 99, NOW)
    assert not one.again("d1", 7, 98, NOW)


def test_what_an_earlier_run_stored_is_known() -> None:
    one = Redeliveries()
    one.load([("d1", 8, 99, NOW - 1), ("d1", 7, 99, NOW - 30_000)])
    assert one.again("d1", 7, 99, NOW)
    assert not one.again("d1", 7, 99, NOW + 31_000)
