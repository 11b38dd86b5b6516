"""Having something done to a device for a schedule or a rule."""

from relevo.dispatch import Dispatch, Wish
from relevo.domain.actions import Order
from relevo.twins import Twins


class Acting:
    """Commands and desired state behind one question."""

    def __init__(self, dispatch: Dispatch, twins: Twins) -> None:
        self._dispatch = dispatch
        self._twins = twins

    async def ask(self, device: str, order: Order, by: str, origin: str, key: str) -> str:
        """Ask ``device`` for what ``order`` says; the id of the command, or the version of what is desired.

        Raises what :meth:`Dispatch.ask` and :meth:`Twins.set` raise.
        """
        if order.values is not None:
            twin = await self._twins.set(device, order.values, origin)
            return f"desired:{twin.desired_version}"
        wish = Wish(device, order.name, order.params, by, origin, order.ttl_s, key)
        return (await self._dispatch.ask(wish)).id

    def was_asked(self, device: str, by: str, key: str, now_ms: int) -> bool:
        """Whether this key began a command within a day."""
        return bool(self._dispatch.ledger.by_key(by, device, key, now_ms))
