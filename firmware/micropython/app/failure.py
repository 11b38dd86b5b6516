"""How a failure that nobody expected is told."""

import sys


def tell(problem, log, text):
    """Say it, and where it happened."""
    log("failure:", text)
    if hasattr(sys, "print_exception"):
        sys.print_exception(problem)
    else:
        import traceback

        traceback.print_exception(problem)


async def beside(sup, make):
    """Run ``make()`` to its end; what it raises is counted and told."""
    try:
        await make()
    except Exception as problem:
        sup.failed("beside", problem)
