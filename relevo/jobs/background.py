"""A task that goes on until it is ended."""

import asyncio
from collections.abc import Coroutine
from typing import Any


class Background:
    """One at a time, called ``name`` among the tasks of the event loop."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._task: asyncio.Task[None] | None = None

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Do ``work`` beside everything else."""
        self._task = asyncio.create_task(work, name=self._name)

    async def end(self) -> bool:
        """Leave off; false, and harmless, when it never began."""
        task, self._task = self._task, None
        if task is None:
            return False
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return True
