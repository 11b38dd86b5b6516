"""Runs a few lines as at a board's prompt: ``micropython prompt.py FLASH APP FILE``.

``app`` and ``board`` are there; ``say(value)`` prints JSON behind ``> ``.
"""

import json
import os
import sys

import host

sys.modules["hal"] = host
os.chdir(sys.argv[1])
sys.path.insert(0, sys.argv[2])

import app

board = app.prepare()


def say(value):
    print("> " + json.dumps(value))


with open(sys.argv[3]) as file:
    exec(file.read())
