"""The serial line, the board's page, names in its own network, discovery, time."""

import json

import autocore
import autocore_join
import captive
import discovery
import httpc
import ntp
import page
import provision
from doubles import App, raises
from late import late


def _app():
    app = App()
    app.contract = autocore.Contract(app)
    autocore_join.begin(app.contract, {})
    app.put(page_password="let-me-in")
    return app


def test_settings_are_taken_from_words_an_object_and_a_link():
    app = _app()
    assert provision.obey(app, 'provision backend_ip=10.0.0.5 backend_port=9000 device_name="The pump"') == "ok"
    assert (app.get("backend_ip"), app.get("backend_port"), app.get("device_name")) == ("10.0.0.5", 9000, "The pump")
    assert app.again
    assert provision.obey(app, 'provision {"mqtt_broker": "b", "mqtt_tls": true}') == "ok"
    assert (app.get("mqtt_broker"), app.get("mqtt_tls")) == ("b", True)
    assert provision.obey(app, "provision https://hub.local/ui/claim#AB-12") == "ok"
    assert (app.get("backend_ip"), app.get("backend_port"), app.get("backend_tls")) == ("hub.local", 443, True)
    assert provision.obey(app, 'wifi "my net" "pass word"') == "ok"
    assert (app.get("wifi_ssid"), app.get("wifi_password"), app.get("configured")) == ("my net", "pass word", True)


def test_lines_that_cannot_be_are_told_and_change_nothing():
    app = _app()
    before = dict(app.values)
    for line in (
        "provision", "provision nonsense=1", "provision backend_port=x", "provision backend_port=70000",
        "provision mqtt_tls=maybe", "provision {", "provision []", "provision ftp://x", "wifi", "wifi a b c", "debug",
        "debug loud", "trust 12", "trust " + "g" * 64, "sudo", 'provision {"relay_channels": 1.5}',
    ):
        assert provision.obey(app, line).startswith("error: "), line
    assert app.values == before
    assert "factory-reset" in provision.obey(app, "help")
    assert provision.obey(app, "debug on") == "ok" and app.debug
    assert provision.obey(app, "trust " + "AB:" * 31 + "cd") == "ok"
    with open("pin.txt") as file:
        assert file.read() == "ab" * 31 + "cd"


def test_secrets_are_shown_as_there_or_not():
    app = _app()
    app.put(wifi_password="secret")
    shown = json.loads(provision.obey(app, "show"))
    assert (shown["wifi_password"], shown["mqtt_password"], shown["backend_port"]) == (True, False, 8081)


def _post(app, path, **fields):
    body = "&".join("%s=%s" % (name, fields[name]) for name in fields)
    return page.handle(app, "POST", path, {}, body.encode())


def test_a_form_needs_its_token_and_the_boards_password():
    app = _app()
    token = page.token(app)
    assert _post(app, "/config", device_name="x", password="let-me-in")[0] == 403
    assert _post(app, "/config", device_name="x", password="let-me-in", token="other")[0] == 403
    assert _post(app, "/config", device_name="x", password="wrong", token=token)[0] == 403
    assert _post(app, "/reset", password="wrong", token=token)[0] == 403
    assert app.get("device_name") != "x"
    assert _post(app, "/config", device_name="a+b%21", password="let-me-in", token=token)[0] == 200
    assert app.get("device_name") == "a b!"
    status, _, parts, _ = _post(app, "/config", backend_port="70000", password="let-me-in", token=token)
    assert status == 400 and "backend_port" in "".join(parts)
    # An empty password leaves the one that is there.
    app.put(wifi_password="kept")
    assert _post(app, "/config", wifi_ssid="n", wifi_password="", password="let-me-in", token=token)[0] == 200
    assert app.get("wifi_password") == "kept"
    for path in ("/restart", "/reboot", "/reset"):
        status, _, _, after = _post(app, path, password="let-me-in", token=token)
        assert (status, after is not None) == (200, True)


def test_guessing_the_password_is_slow():
    app = _app()
    token = page.token(app)
    for _ in range(5):
        assert _post(app, "/config", password="wrong", token=token)[0] == 403
    assert _post(app, "/config", password="let-me-in", token=token)[0] == 429
    app.clock.now += 60000
    assert _post(app, "/config", password="let-me-in", token=token)[0] == 200


def test_the_page_speaks_three_languages_and_escapes_what_it_shows():
    app = _app()
    app.put(device_name="<b>'Pump'</b>", wifi_password="hidden-away")
    for headers, path, word in (
        ({}, "/", "Settings"), ({"accept-language": "es-ES,es;q=0.9"}, "/", "Ajustes"),
        ({"accept-language": "fr,pt-BR"}, "/", "Salvar"), ({"accept-language": "es"}, "/?lang=en", "Settings"),
    ):
        status, kind, parts, after = page.handle(app, "GET", path, headers, b"")
        text = "".join(parts)
        assert status == 200 and word in text and after is None, (headers, path)
        assert "&lt;b&gt;&#39;Pump&#39;&lt;/b&gt;" in text and "<b>'Pump" not in text
        assert "hidden-away" not in text and "let-me-in" not in text
        assert "value='8081'" in text and app.get("device_uuid") in text
    first = None
    for code in page.LANGUAGES:
        words = set(late("texts_" + code).TEXTS)
        first = first or words
        assert words == first


def test_the_state_of_mqtt_is_told_in_words():
    app = _app()
    words = late("texts_en").TEXTS
    assert page.connection(app, words) == "disconnected"
    app.put(mqtt_connected=True, mqtt_broker="10.0.0.2")
    assert page.connection(app, words) == "connected (10.0.0.2:1883)"


def test_whoever_looks_for_the_internet_in_the_set_up_is_sent_to_the_page():
    app = _app()
    assert page.handle(app, "GET", "/generate_204", {}, b"")[0] == 404
    app.open = "ESP32-Relay-0a1b2c"
    status, _, where, _ = page.handle(app, "GET", "/generate_204", {}, b"")
    assert (status, where[0]) == (302, "http://192.168.4.1/")
    assert page.handle(app, "POST", "/generate_204", {}, b"")[0] == 404


def test_every_name_is_the_boards_address():
    query = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07example\x03com\x00\x00\x01\x00\x01"
    answer = captive.reply(query)
    assert answer[:2] == b"\x12\x34" and answer[2:12] == b"\x85\x80\x00\x01\x00\x01\x00\x00\x00\x00"
    assert answer[12 : len(query)] == query[12:] and answer[-4:] == b"\xc0\xa8\x04\x01"
    # Of other kinds there is nothing.
    other = query[:-3] + b"\x1c\x00\x01"
    assert captive.reply(other)[6:8] == b"\x00\x00" and len(captive.reply(other)) == len(other)
    for bad in (b"", query[:12], query[:20], query[:12] + b"\xc0\x0c" + query[14:], query[:2] + b"\x81" + query[3:], query + bytes(500)):
        raises((ValueError, IndexError), captive.reply, bad)


def _name(text):
    return b"".join(bytes([len(part)]) + part.encode() for part in text.split(".")) + b"\x00"


def _record(name, kind, data):
    return name + kind.to_bytes(2, "big") + b"\x80\x01\x00\x00\x00\x78" + len(data).to_bytes(2, "big") + data


def test_a_server_is_found_in_an_answer():
    service = _name("_relevo._tcp.local")
    here = b"\x04Here\xc0\x0c"
    head = b"ab\x84\x00\x00\x00\x00\x01\x00\x00\x00\x02"
    first = _record(service, 12, here)
    at = 12 + len(service) + 10
    pointer = bytes([0xC0, at])
    srv = _record(pointer, 33, b"\x00\x00\x00\x00\x1f\x40" + _name("Hub.local"))
    a = _record(_name("hub.local"), 1, b"\x0a\x00\x00\x02")
    assert discovery.found(head + first + srv + a, b"ab") == ("10.0.0.2", 8000)
    assert discovery.found(b"\x00\x00" + (head + first + srv + a)[2:], b"ab") == ("10.0.0.2", 8000)
    assert discovery.found(b"cd" + (head + first + srv + a)[2:], b"ab") is None
    assert discovery.found(head[:10] + b"\x00\x00" + first, b"ab") is None
    # A name that leads to itself, and packets that end early.
    raises(ValueError, discovery.found, head + b"\xc0\x0c" + bytes(20), b"ab")
    whole = head + first + srv + a
    for size in range(12, len(whole)):
        try:
            assert discovery.found(whole[:size], b"ab") is None
        except (ValueError, IndexError):
            pass
    asked = discovery.question(b"ab")
    assert asked[:6] == b"ab\x00\x00\x00\x01" and asked.endswith(b"\x05local\x00\x00\x0c\x80\x01")


def test_the_time_is_taken_from_a_servers_answer_alone():
    packet = b"\x24\x02" + bytes(38) + (1800000000 + 2208988800).to_bytes(4, "big") + bytes(4)
    assert ntp.seconds(packet) == 1800000000
    # After 2036 the count begins anew.
    late_packet = packet[:40] + (2100000000 + 2208988800 - 4294967296).to_bytes(4, "big") + bytes(4)
    assert ntp.seconds(late_packet) == 2100000000
    for bad in (b"", packet[:47], b"\x23" + packet[1:], packet[:1] + b"\x00" + packet[2:], packet[:1] + b"\x10" + packet[2:]):
        raises(ValueError, ntp.seconds, bad)


def test_addresses_are_taken_apart():
    assert httpc.split("http://h/a/b?c=1") == (False, "h", 80, "/a/b?c=1")
    assert httpc.split("https://h:8443") == (True, "h", 8443, "/")
    for bad in ("h", "ftp://h/", "http://h:x/"):
        raises(OSError, httpc.split, bad)
