# Runs under MicroPython, with the firmware of firmware/micropython/hidrometro beside it. Prints one line of JSON.
import json
import sys

import meter
from flow import Flow

said = {"python": sys.implementation.name}

# 75 pulses in 1000 ms at factor 7.5 (contract hidrometro, section 10).
masks = []
one = Flow(7.5)
for _ in range(75):
    one.pulse()
flow, total = one.take(1000, lambda: masks.append("masked") or 7, lambda state: masks.append(state))
said["flow"], said["total"], said["masks"] = flow, total, masks
# What was counted is counted once.
said["then"] = one.take(1000, lambda: 0, lambda _: None)

refused = []
for factor in (0, -1, "x", None, float("nan"), float("inf")):
    try:
        one.calibrate(factor)
    except (ValueError, TypeError):
        refused.append(str(factor))
said["refused"], said["factor"] = refused, one.factor


class Storage:
    def __init__(self):
        self.kept = {"total": 815.25}
        self.puts = 0

    def get(self, name, default):
        return self.kept.get(name, default)

    def put(self, values):
        self.puts += 1
        self.kept.update(values)


time = [0]
storage = Storage()
board = meter.Meter(storage, " hx2041 ", lambda: time[0], lambda: 0, lambda _: None, lambda: 1767225600)
time[0] = 1000
for _ in range(75):
    board.flow.pulse()
said["reading"] = json.loads(board.reading())
said["commands"] = [
    board.command(text)
    for text in (
        '{"action": "setCalibration", "value": 15}',
        '{"action": "reset", "numeroSerie": "OTHER"}',
        '{"action": "setCalibration", "value": 0}',
        '{"action": "setCalibration"}',
        '{"action": "format"}',
        "[]",
        "{",
    )
]
said["kept"] = storage.kept.copy()
time[0] = 2000
for _ in range(75):
    board.flow.pulse()
said["recalibrated"] = json.loads(board.reading())["flowLmin"]
board.command('{"action": "simulate"}')
time[0] = 3000
said["simulated"] = json.loads(board.reading())["flowLmin"]
board.command('{"action": "simSetFlow", "value": 2.5}')
time[0] = 4000
said["changed"] = json.loads(board.reading())["flowLmin"]
board.command(b'{"action": "simOff", "numeroSerie": "hx2041"}')
time[0] = 5000
said["off"] = json.loads(board.reading())["flowLmin"]
said["reset"] = board.command('{"action": "reset"}')
said["after"] = json.loads(board.reading())["totalLiters"]
puts = storage.puts
for time[0] in range(6000, 70000, 1000):
    board.reading()
said["saves"] = storage.puts - puts
# A button that bounces does nothing, one that is held does it once.
for time[0], pressed in ((70000, True), (70020, False), (70030, True), (70079, True)):
    board.button(pressed)
said["bounced"] = board.flow.simulated
for time[0], pressed in ((70080, True), (70500, True), (71000, True)):
    board.button(pressed)
said["pressed"] = board.flow.simulated
said["topics"] = meter.topics({}), meter.topics({"topic_dados": "hidrometro/1/2/dados"})
anonymous = meter.Meter(Storage(), "", lambda: time[0], lambda: 0, lambda _: None)
said["anonymous"] = sorted(json.loads(anonymous.reading()))
print(json.dumps(said))
