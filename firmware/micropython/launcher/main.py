"""Starts the application that the launcher chooses. The launcher's own code leaves the heap meanwhile."""

import sys

import boot

safe = boot.prepare()
sys.modules.pop("boot")
del boot
problem = None
try:
    import app

    app.main(safe)
except (KeyboardInterrupt, SystemExit):
    raise
except BaseException as found:
    problem = found

import boot

boot.ended(problem)
