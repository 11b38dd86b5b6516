from relevo.jobs.pace import SPARE_S, Pace


def test_a_slow_transaction_makes_the_next_one_shorter_and_quick_ones_longer() -> None:
    pace = Pace(20, 1_000)
    grown = []
    for _ in range(20):
        pace.took(pace.rows, 0.001 * pace.rows / 100)
        grown.append(pace.rows)
    assert grown == sorted(grown)
    # Eight milliseconds are 800 rows here.
    assert 700 <= grown[-1] <= 800
    pace.took(800, SPARE_S * 4)
    assert pace.rows == 200
    pace.took(1, 10.0)
    assert pace.rows == 1


def test_there_is_a_most() -> None:
    pace = Pace(20, 30)
    for _ in range(5):
        pace.took(pace.rows, 0.0)
    assert pace.rows == 30
