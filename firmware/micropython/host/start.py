"""Runs an application on this computer: ``micropython start.py FLASH APP [safe]``.

``FLASH`` is the folder where settings and everything else live, ``APP`` the one with the application.
"""

import os
import sys

import host

sys.modules["hal"] = host
os.chdir(sys.argv[1])
sys.path.insert(0, sys.argv[2])

import app

app.main("safe" in sys.argv[3:])
