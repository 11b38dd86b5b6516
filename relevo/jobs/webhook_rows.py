"""The rows of webhooks' deliveries, read beside the writer."""

from relevo.domain.deliveries import Delivery
from relevo.store import webhooks
from relevo.store.readers import Readers


class WebhookRows:
    """What :class:`relevo.jobs.webhooks.Webhooks` asks the database."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers

    async def waiting(self, webhook: str) -> list[Delivery]:
        """What waits for another attempt, in the order of the events."""
        return await self._readers.run_core(webhooks.load_waiting, webhook)

    async def one(self, webhook: str, seq: int) -> Delivery | None:
        return await self._readers.run_core(webhooks.load, webhook, seq)

    async def oldest_dead(self, webhook: str, limit: int) -> list[Delivery]:
        """Dead letters in the order of their events."""
        return await self._readers.run_core(webhooks.oldest_dead, webhook, limit)

    async def counts(self) -> dict[tuple[str, str], int]:
        """Rows by webhook and state."""
        return await self._readers.run_core(webhooks.counts)
