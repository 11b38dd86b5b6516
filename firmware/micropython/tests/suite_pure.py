"""Back-off, clock, relays, outbox, settings, done commands."""

import json
import os

import backoff
import clock
import commands
import doubles
import outbox
import relays
import spill
import config
from doubles import App, Clock, raises


def test_waits_are_drawn_from_a_bound_that_doubles_to_a_minute():
    asked = []

    def rand(n):
        asked.append(n)
        return n - 1

    bound = 0
    for _ in range(9):
        wait, bound = backoff.after(bound, rand)
        assert wait == asked[-1]
    assert asked == [1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000, 60000]
    assert backoff.slow(lambda n: 0) == 30000
    assert 30000 <= backoff.slow() < 60000
    assert len(set(backoff.noise(1000000) for _ in range(20))) > 10


def test_milliseconds_go_on_when_the_counter_wraps():
    ticks = [0x3FFFFFF0]
    diff = lambda a, b: ((a - b + 0x20000000) & 0x3FFFFFFF) - 0x20000000
    one = clock.Clock(lambda: ticks[0], diff, lambda: 5)
    assert one.ms() == 0
    ticks[0] = 0x10
    assert one.ms() == 32
    for _ in range(10):
        ticks[0] = (ticks[0] + 300000000) & 0x3FFFFFFF
        one.ms()
    assert one.ms() == 32 + 3000000000


def test_the_time_of_day_is_unknown_until_somebody_says_it():
    ticks = [0]
    one = clock.Clock(lambda: ticks[0], lambda a, b: a - b, lambda: 5)
    assert one.unix() == 0
    raises(ValueError, one.put, 1000)
    one.put(1800000000)
    ticks[0] = 2500
    assert one.unix() == 1800000002
    assert clock.Clock(lambda: 0, lambda a, b: 0, lambda: 1800000000).unix() == 1800000000


def _relays(count=4, wired=3):
    levels = {}
    now = Clock()
    return relays.Relays(lambda index, on: levels.update({index: on}), wired, count, now.ms), levels, now


def test_relays_beyond_the_pins_only_remember():
    one, levels, _ = _relays()
    one.switch(3, True)
    one.switch(4, True)
    assert (levels, list(one.states)) == ({2: True}, [0, 0, 1, 1])


def test_a_pulse_ends_and_a_later_command_replaces_it():
    one, levels, now = _relays()
    one.switch(1, True, 500)
    now.now = 499
    assert not one.tick()
    now.now = 500
    assert one.tick()
    assert (levels[0], list(one.states)) == (False, [0, 0, 0, 0])
    one.switch(1, True, 500)
    one.switch(1, True)
    now.now = 9999
    assert not one.tick()
    assert levels[0] is True


def test_a_held_key_is_let_go_a_second_after_its_last_sign():
    one, levels, now = _relays()
    one.switch(2, True, 0, True)
    for at in (900, 1800, 2700):
        now.now = at
        one.beat(2)
        assert not one.tick()
    now.now = 3699
    assert not one.tick()
    now.now = 3700
    assert one.tick()
    assert levels[1] is False
    # A beat alone switches nothing.
    one.beat(2)
    one.beat(1)
    assert list(one.states) == [0, 0, 0, 0]


def test_readings_leave_in_their_order_and_go_when_they_are_acknowledged():
    box = outbox.Outbox(Clock())
    for n in range(5):
        box.add({"n": n})
    for pid in (11, 12, 13):
        entry = box.next()
        assert json.loads(entry[4]) == {"n": pid - 11}
        entry[5] = pid
    box.acked(12)
    box.acked(99)
    # The connection is lost: what was not acknowledged leaves again, before everything newer.
    for entry in box.head:
        entry[5] = 0
    seen = []
    while box.next():
        entry = box.next()
        entry[5] = 50 + len(seen)
        seen.append(entry[1])
    assert seen == [1, 3, 4, 5]
    for pid in range(50, 54):
        box.acked(pid)
    assert (len(box), box.next(), box.dropped) == (0, None, 0)


def test_what_no_receiver_could_take_is_left_out_and_counted():
    box = outbox.Outbox(Clock())
    box.add({"a": float("nan"), "b": float("inf"), "c": 1.5, "d": True, "e": -float("inf")})
    assert json.loads(box.next()[4]) == {"c": 1.5, "d": True}
    box.add({"a": float("nan")})
    box.add({})
    assert (len(box), box.dropped) == (1, 4)


def test_what_is_too_much_for_memory_waits_on_the_flash_also_over_a_start():
    box = outbox.Outbox(Clock())
    for n in range(100):
        box.add({"n": n})
    assert len(box.ring) <= 16
    spill.spill(box)
    again = outbox.Outbox(Clock())
    assert again.boot == box.boot + 1
    seen = []
    pid = 0
    while again.next():
        entry = again.next()
        pid += 1
        seen.append((entry[0], entry[1], json.loads(entry[4])["n"]))
        entry[5] = pid
        again.acked(pid)
    assert seen == [(box.boot, n + 1, n) for n in range(100)]
    assert os.listdir("out") == []
    assert again.dropped == 0


def test_the_flash_holds_so_much_and_what_goes_is_counted():
    box = outbox.Outbox(Clock())
    for n in range(1000):
        box.add({"n": n})
    assert len(os.listdir("out")) <= spill.SEGMENTS
    left = 0
    first = None
    while box.next():
        entry = box.next()
        first = first or entry[1]
        left += 1
        entry[5] = left
        box.acked(left)
    assert left + box.dropped == 1000
    # The oldest went.
    assert first == box.dropped + 1


def test_a_damaged_segment_costs_its_damaged_lines_alone():
    box = outbox.Outbox(Clock())
    for n in range(16):
        box.add({"n": n})
    spill.spill(box)
    name = "out/%d" % box.files[0]
    with open(name) as file:
        text = file.read()
    lines = text.split("\n")
    lines[3] = lines[3][:10]
    lines[5] = '[1, 2, 3]'
    with open(name, "w") as file:
        file.write("\n".join(lines))
    again = outbox.Outbox(Clock())
    seen = 0
    while again.next():
        seen += 1
        again.next()[5] = seen
        again.acked(seen)
    assert (seen, again.dropped) == (14, 2)


def test_a_reading_says_how_old_it_is_where_that_is_known():
    now = Clock(5000, 0)
    box = outbox.Outbox(now)
    box.add({"n": 1})
    now.now = 7500
    entry = box.next()
    assert json.loads(spill.numbered(box, entry)) == {"n": 1, "boot": box.boot, "seq": 1, "age_ms": 2500}
    entry[0] = box.boot - 1
    assert json.loads(spill.numbered(box, entry)) == {"n": 1, "boot": box.boot - 1, "seq": 1}
    entry[3] = 1800000000
    now.day = 1800000060
    assert json.loads(spill.numbered(box, entry))["age_ms"] == 60000


def test_settings_are_written_when_they_change_and_only_then():
    app = App()
    app.put(device_name="Pump", backend_port=9000)
    written = app.written
    app.put(device_name="Pump", backend_port=9000)
    app.put(mqtt_connected=True, last_mqtt_config_check=5)
    assert app.written == written
    app.put(wifi_password="secret1")
    assert app.written == written + 1
    with open("config.json") as file:
        assert "secret1" not in file.read()
    again = App()
    assert (again.get("device_name"), again.get("backend_port"), again.get("wifi_password")) == ("Pump", 9000, "secret1")


def test_a_setting_that_cannot_be_changes_nothing_and_is_named_with_its_limit():
    app = App()
    for name, value in (
        ("backend_port", 0), ("backend_port", 65536), ("backend_port", True), ("backend_port", "80"),
        ("relay_channels", 33), ("relay_channels", 0), ("mqtt_tls", 1), ("device_name", 5), ("device_name", None),
        ("wifi_ssid", "x" * 33), ("wifi_ssid", "a\nb"), ("mqtt_username", 7), ("nothing", 1),
    ):
        problem = raises(ValueError, lambda: app.put(mqtt_broker="other", **{name: value}))
        assert name in str(problem), (name, value, problem)
    assert app.get("mqtt_broker") == ""
    app.put(mqtt_username=None, last_mqtt_config_check=0)


def test_a_damaged_file_is_replaced_by_its_copy_and_without_one_all_is_as_usual():
    app = App()
    app.put(device_name="Pump", wifi_password="secret1")
    with open("config.json") as file:
        text = file.read()
    for damaged in ("", "{", text[:60], text[:-1], "[]", "null", text[:-9], text.replace("Pump", "Lump"), '{"a":}', "\x00" * 50):
        with open("config.json", "w") as file:
            file.write(damaged)
        again = App()
        assert (again.get("device_name"), again.get("wifi_password")) == ("Pump", "secret1"), damaged
        with open("config.json") as file:
            assert file.read() == text
    for name in ("config.json", "config.bak"):
        with open(name, "w") as file:
            file.write("{")
    again = App()
    assert (again.get("device_name"), again.get("backend_port"), again.get("wifi_password")) == ("", 8081, "secret1")


def test_older_names_are_taken_over_and_secrets_move_to_their_file():
    with open("config.json", "w") as file:
        json.dump({"mqtt_user": "u", "mqtt_registered": True, "wifi_password": "w", "backend_port": "x", "extra": 1}, file)
    app = App()
    assert (app.get("mqtt_username"), app.get("backend_registered"), app.get("backend_port")) == ("u", True, 8081)
    assert app.get("wifi_password") == "w"
    with open("config.json") as file:
        text = file.read()
    assert "wifi_password" not in text and "mqtt_user\"" not in text and "extra" not in text
    assert [one for one in app.said if "backend_port" in one]


def test_everything_is_forgotten_but_who_the_board_is():
    app = App()
    app.put(device_uuid="u-1", wifi_ssid="net", wifi_password="w", page_password="p", relay_channels=8)
    config.clear(app)
    again = App()
    assert (again.get("device_uuid"), again.get("page_password"), again.get("relay_channels")) == ("u-1", "p", 8)
    assert (again.get("wifi_ssid"), again.get("wifi_password")) == ("", "")


def test_answers_are_remembered_by_identifier_over_a_start_when_something_moved():
    done = commands.load()
    commands.note(done, "a", "moved", True)
    commands.note(done, "b", "asked", False)
    assert (commands.answer(done, "a"), commands.answer(done, "b"), commands.answer(done, "c")) == ("moved", "asked", None)
    again = commands.load()
    assert (commands.answer(again, "a"), commands.answer(again, "b")) == ("moved", None)
    with open("done", "a") as file:
        # The power went while a line was written.
        file.write('["c", "hal')
    again = commands.load()
    commands.note(again, "d", "moved", True)
    again = commands.load()
    assert (commands.answer(again, "c"), commands.answer(again, "d")) == (None, "moved")
    for n in range(200):
        commands.note(again, "n%d" % n, "x" * 100, True)
    assert len(again) == 16
    assert os.stat("done")[6] < 8192
    assert [name for name, _ in commands.load()] == ["n%d" % n for n in range(184, 200)]


def test_identifiers_are_texts_or_whole_numbers():
    assert (commands.ident("a"), commands.ident(7)) == ("a", "7")
    for bad in (None, True, 1.5, "", "x" * 65, [], {}):
        assert commands.ident(bad) is None
