"""Topic names and filters, MQTT 3.1.1 section 4.7, and the trees that match one against many."""

from collections.abc import Iterator
from itertools import zip_longest
from typing import Generic, TypeVar

T = TypeVar("T")


def valid_filter(text: str) -> bool:
    """[MQTT-4.7.1-2] and [MQTT-4.7.1-3]: wildcards stand alone in their level, ``#`` only last."""
    if not text:
        return False
    if "+" not in text and "#" not in text:
        return True
    levels = text.split("/")
    last = len(levels) - 1
    return all(
        (level in ("+", "#") and (level == "+" or n == last)) or ("+" not in level and "#" not in level)
        for n, level in enumerate(levels)
    )


def matches(filter_: str, topic: str) -> bool:
    """Whether ``topic`` falls under ``filter_``; [MQTT-4.7.2-1] keeps ``$`` topics from leading wildcards."""
    if topic.startswith("$") and filter_[:1] in ("+", "#"):
        return False
    wanted = filter_.split("/")
    given = topic.split("/")
    for n, level in enumerate(wanted):
        if level == "#":
            return True
        if n >= len(given) or (level != "+" and level != given[n]):
            return False
    return len(wanted) == len(given)


def covers(allowed: str, requested: str) -> bool:
    """Whether every topic that ``requested`` (a filter) can match also falls under ``allowed`` (a filter)."""
    if requested.startswith("$") and allowed[:1] in ("+", "#"):
        return False
    wide = allowed.split("/")
    narrow = requested.split("/")
    for n, level in enumerate(wide):
        if level == "#":
            return True
        if n >= len(narrow) or narrow[n] == "#":
            return False
        if level != "+" and level != narrow[n]:
            return False
    return len(wide) == len(narrow)


def meeting(one: str, other: str) -> str | None:
    """A topic that falls under both filters, ``None`` when there is none."""
    if (one.startswith("$") and other[:1] in ("+", "#")) or (other.startswith("$") and one[:1] in ("+", "#")):
        return None
    topic: list[str] = []
    left, right = one.split("/"), other.split("/")
    for a, b in zip_longest(left, right):
        if a == "#" or b == "#":
            rest = (left if b == "#" else right)[len(topic) :]
            topic += ["x" if level == "+" else level for level in rest if level != "#"]
            break
        if a is None or b is None or (a != b and "+" not in (a, b)):
            return None
        topic.append(("x" if b == "+" else b) if a == "+" else a)
    # No topic is empty: [MQTT-4.7.3-1].
    found = "/".join(topic) or ("/" if topic else "x")
    return found if matches(one, found) and matches(other, found) else None


class _Node(Generic[T]):
    __slots__ = ("children", "values")

    def __init__(self) -> None:
        self.children: dict[str, _Node[T]] = {}
        self.values: dict[str, T] = {}


class SubscriptionTree(Generic[T]):
    """Filters with a value per holder; :meth:`match` gives all values whose filter fits a topic name."""

    # Devices repeat themselves: the answer for a topic stands until any subscription changes.
    _ANSWERS_KEPT = 20_000

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()
        self._answers: dict[str, tuple[T, ...]] = {}
        self.count = 0

    def add(self, filter_: str, holder: str, value: T) -> bool:
        """Set ``holder``'s value under ``filter_``; true when it is new and not a replacement."""
        node = self._root
        for level in filter_.split("/"):
            node = node.children.setdefault(level, _Node())
        new = holder not in node.values
        node.values[holder] = value
        self.count += new
        self._answers.clear()
        return new

    def discard(self, filter_: str, holder: str) -> bool:
        """Remove ``holder`` from ``filter_``; false when it was not there."""
        path = [self._root]
        levels = filter_.split("/")
        for level in levels:
            node = path[-1].children.get(level)
            if node is None:
                return False
            path.append(node)
        if path[-1].values.pop(holder, None) is None:
            return False
        self.count -= 1
        self._answers.clear()
        for n in range(len(levels) - 1, -1, -1):
            node = path[n + 1]
            if node.children or node.values:
                break
            del path[n].children[levels[n]]
        return True

    def match(self, topic: str) -> tuple[T, ...]:
        """The values of all filters that ``topic`` falls under; one per filter and holder."""
        answer = self._answers.get(topic)
        if answer is None:
            if len(self._answers) >= self._ANSWERS_KEPT:
                self._answers.clear()
            answer = self._answers[topic] = tuple(self._walk(topic))
        return answer

    def _walk(self, topic: str) -> Iterator[T]:
        levels = topic.split("/")
        nodes = [self._root]
        hidden = topic.startswith("$")
        for n, level in enumerate(levels):
            following: list[_Node[T]] = []
            wild = not (hidden and n == 0)
            for node in nodes:
                if wild and (rest := node.children.get("#")) is not None:
                    yield from rest.values.values()
                if (same := node.children.get(level)) is not None:
                    following.append(same)
                if wild and (one := node.children.get("+")) is not None:
                    following.append(one)
            nodes = following
            if not nodes:
                return
        for node in nodes:
            yield from node.values.values()
            if (rest := node.children.get("#")) is not None:
                yield from rest.values.values()


class TopicTree(Generic[T]):
    """Topic names with one value each; :meth:`select` gives those that fall under a filter (retained messages)."""

    _KEY = ""

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()
        self.count = 0

    def get(self, topic: str) -> T | None:
        node = self._root
        for level in topic.split("/"):
            found = node.children.get(level)
            if found is None:
                return None
            node = found
        return node.values.get(self._KEY)

    def set(self, topic: str, value: T) -> None:
        node = self._root
        for level in topic.split("/"):
            node = node.children.setdefault(level, _Node())
        self.count += self._KEY not in node.values
        node.values[self._KEY] = value

    def remove(self, topic: str) -> T | None:
        """Take the value of ``topic`` out and return it."""
        path = [self._root]
        levels = topic.split("/")
        for level in levels:
            node = path[-1].children.get(level)
            if node is None:
                return None
            path.append(node)
        value = path[-1].values.pop(self._KEY, None)
        if value is None:
            return None
        self.count -= 1
        for n in range(len(levels) - 1, -1, -1):
            if path[n + 1].children or path[n + 1].values:
                break
            del path[n].children[levels[n]]
        return value

    def select(self, filter_: str) -> list[tuple[str, T]]:
        """All ``(topic, value)`` under ``filter_``."""
        found: list[tuple[str, T]] = []
        pending: list[tuple[_Node[T], list[str], int]] = [(self._root, [], 0)]
        levels = filter_.split("/")
        while pending:
            node, path, n = pending.pop()
            if n == len(levels):
                if self._KEY in node.values:
                    found.append(("/".join(path), node.values[self._KEY]))
                continue
            level = levels[n]
            if level == "#":
                stack = [(node, path)]
                while stack:
                    below, at = stack.pop()
                    if self._KEY in below.values:
                        found.append(("/".join(at), below.values[self._KEY]))
                    stack.extend(
                        (child, [*at, name]) for name, child in below.children.items() if at or not name.startswith("$")
                    )
            elif level == "+":
                pending.extend(
                    (child, [*path, name], n + 1)
                    for name, child in node.children.items()
                    if path or not name.startswith("$")
                )
            elif (child_ := node.children.get(level)) is not None:
                pending.append((child_, [*path, level], n + 1))
        return found
