"""Errors that cross rooms. Each protocol turns them into its own wire errors in one place."""

from dataclasses import dataclass, field


class RelevoError(Exception):
    """Everything Relevo raises on purpose."""


class ConfigurationError(RelevoError):
    """A setting, file or directory makes it impossible to start; the text says what to do about it."""


class StoreUnavailable(RelevoError):
    """The store cannot take events now (disk full, locked, damaged). Nothing was acknowledged."""


class Damaged(RelevoError):
    """Stored bytes that are not what this version, or any, wrote; the text says how."""


class Unbuildable(RelevoError):
    """What is to go onto a board cannot be made; the text says why and what helps."""


class QueueFull(RelevoError):
    """A bounded queue has no room; the sender should slow down and try again."""


class NotFound(RelevoError):
    """The named thing does not exist, or the asker may not know that it does."""


class Conflict(RelevoError):
    """The thing exists already."""


class Excluded(Conflict):
    """Something else is on that may not be on at the same time."""


class PreconditionFailed(RelevoError):
    """The thing is not in the state that the asker expects, see ``If-Match``."""


class Unauthenticated(RelevoError):
    """No credential, or one that proves nothing."""


class TooMany(RelevoError):
    """Somebody does too much of something; ``retry_after`` in seconds says when it may go on."""

    def __init__(self, message: str, retry_after: int, limit: int = 0) -> None:
        """``limit`` is how often it may be within the time that is looked at, 0 where nobody asks for that."""
        super().__init__(message)
        self.retry_after = retry_after
        self.limit = limit


class Forbidden(RelevoError):
    """A good credential that does not allow this."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """One field that was refused: where it is, what is wrong and which limit it broke."""

    field: str
    message: str
    reason: str = "invalid"


@dataclass(eq=False)
class Invalid(RelevoError):
    """Input that breaks a rule.

    ``reason`` is a stable code for counters and the timeline (``json_malformed``, ``value_not_finite`` …),
    ``message`` is for people and names the field and the limit.
    """

    reason: str
    message: str
    errors: list[FieldError] = field(default_factory=list)

    def __str__(self) -> str:
        return self.message
