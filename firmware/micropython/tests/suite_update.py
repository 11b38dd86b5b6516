"""When a board looks for updates."""

import os

import update
from doubles import App


class Board(App):
    """Counts how often it looked."""

    def __init__(self):
        App.__init__(self)
        self.looks = 0

    def later(self, make):
        self.looks += 1


def _launcher(starts=3):
    with open("boot.py", "w") as file:
        file.write("")
    with open("starts.json", "w") as file:
        file.write('{"starts": %d}' % starts)


def _starts():
    with open("starts.json") as file:
        return file.read()


def test_a_board_without_a_launcher_never_looks():
    app = Board()
    update.begin(app)
    assert app.due == 0


def test_a_board_looks_within_a_minute_and_then_every_six_hours():
    _launcher()
    app = Board()
    app.state = "online"
    update.begin(app)
    assert 5000 <= app.due <= 60000
    app.clock.now = app.due
    update.due(app)
    assert app.looks == 1 and app.due == 60000 and not app.updates[update.LASTED]
    app.clock.now = 60000
    update.due(app)
    assert app.looks == 1 and app.updates[update.LASTED] and app.due == app.updates[update.LOOKED] + 21600000
    app.clock.now = app.due
    update.due(app)
    assert app.looks == 2 and app.due == app.clock.now + 21600000


def test_a_board_that_is_not_online_looks_when_it_is():
    _launcher()
    app = Board()
    update.begin(app)
    for now in (30000, 60000, 120000):
        app.clock.now = now
        update.due(app)
    assert app.looks == 0 and app.due == 180000
    app.state = "online"
    app.clock.now = 180000
    update.due(app)
    assert app.looks == 1


def test_a_start_that_lasted_a_minute_is_counted_no_more():
    _launcher(4)
    app = Board()
    update.begin(app)
    app.clock.now = 59000
    update.due(app)
    assert "4" in _starts()
    app.clock.now = 60000
    update.due(app)
    assert "0" in _starts()
    os.remove("boot.py")


def test_what_a_board_says_of_its_byte_code_is_one_number():
    assert 0 <= update.MPY < 256


def test_updates_travel_as_the_contract_can():
    from late import late

    ota = late("ota")

    def ways(name, contract, **settings):
        app = App(name)
        app.updates = [0, False, False, None]
        app.contract = contract(app)
        app.put(**settings)
        return [(type(one).__name__, one.key) for one in update.Way(app, ota)._ways]

    import hidrometro
    import native
    import thingsnxt

    web = {"device_token": "key", "backend_ip": "10.0.0.2"}
    assert ways("native", native.Contract, **web) == [("OverHttp", "key"), ("OverMqtt", "key")]
    assert ways("native", native.Contract, device_token="key", backend_ip="") == [("OverMqtt", "key")]
    # A meter's contract has no topics for it.
    assert ways("hidrometro", hidrometro.Contract, **web) == [("OverHttp", "key")]
    assert ways("hidrometro", hidrometro.Contract, device_token="") == []
    for url, count in (("http://10.0.0.2:8000", 1), ("http://example.org", 0), ("https://example.org", 1)):
        assert len(ways("thingsnxt", thingsnxt.Contract, device_token="key", api_url=url)) == count
