from relevo.simulator.ledger import Ledger


def ledger(*entries: tuple[int, float, bool]) -> Ledger:
    made = Ledger()
    for ts, value, acknowledged in entries:
        made.sent([("t", ts, value)]).acknowledged = acknowledged
    return made


def test_an_acknowledged_reading_that_is_not_stored_is_missing() -> None:
    verdict = ledger((1, 5.0, True), (2, 6.0, True)).compare("t", [(1, 5.0)])
    assert verdict.missing == [(2, 6.0)]
    assert verdict.duplicated == []


def test_a_reading_stored_with_another_value_is_missing() -> None:
    assert ledger((1, 5.0, True)).compare("t", [(1, 5.1)]).missing == [(1, 5.0)]


def test_a_reading_without_acknowledgement_may_be_stored_or_not() -> None:
    for stored in ([], [(1, 5.0)]):
        verdict = ledger((1, 5.0, False)).compare("t", stored)
        assert (verdict.missing, verdict.duplicated) == ([], [])


def test_a_reading_stored_more_often_than_sent_is_a_duplicate() -> None:
    assert ledger((1, 5.0, True)).compare("t", [(1, 5.0), (1, 5.0)]).duplicated == [(1, 5.0)]


def test_a_repeated_message_without_a_number_may_be_stored_as_often_as_it_was_sent() -> None:
    made = ledger((1, 5.0, True))
    made.entries[0].copies = 2
    assert made.compare("t", [(1, 5.0)] * 2).duplicated == []
    assert made.compare("t", [(1, 5.0)] * 3).duplicated == [(1, 5.0)]


def test_what_this_device_never_said_is_foreign() -> None:
    verdict = ledger((1, 5.0, True)).compare("t", [(1, 5.0), (9, 1.0), (9, 1.0)])
    assert (verdict.missing, verdict.duplicated) == ([], [])
    assert verdict.foreign == [(9, 1.0)]


def test_without_a_time_of_their_own_readings_are_counted_by_value() -> None:
    made = Ledger(timed=False)
    for value in (5.0, 5.0, 6.0):
        made.sent([("t", 1, value)]).acknowledged = True
    assert made.compare("t", [(700, 5.0), (701, 6.0), (702, 5.0)]).missing == []
    assert made.compare("t", [(700, 5.0), (701, 6.0)]).missing == [(0, 5.0)]
    assert made.compare("t", [(700, 5.0), (701, 6.0), (702, 6.0), (703, 5.0)]).duplicated == [(0, 6.0)]


def test_what_was_sent_at_qos_0_and_is_not_there_is_told_apart() -> None:
    made = Ledger(timed=False)
    made.sent([("t", 1, 5.0)], assured=False)
    made.sent([("t", 2, 5.0)]).acknowledged = True
    verdict = made.compare("t", [(700, 5.0)])
    assert (verdict.missing, verdict.unstored) == ([], [(0, 5.0)])


def test_whole_numbers_and_switches_compare_by_value() -> None:
    made = Ledger()
    made.sent([("n", 1, 3.0), ("on", 1, True)]).acknowledged = True
    assert made.compare("n", [(1, 3)]).missing == []
    assert made.compare("on", [(1, True)]).missing == []


def test_span_and_keys_cover_everything_sent() -> None:
    made = ledger((5, 1.0, True), (2, 1.0, False))
    assert made.span() == (2, 5)
    assert made.keys() == ["t"]
    assert Ledger().span() is None
