"""Starts a board as its flash says: ``micropython launch.py FLASH``.

``FLASH`` has ``boot.py``, ``main.py`` and the slots ``a`` and ``b``.
"""

import os
import sys

import host

sys.modules["hal"] = host
os.chdir(sys.argv[1])
sys.path.insert(0, "")

import main
