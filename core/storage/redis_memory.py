"""A process's one memory of Redis being away: whoever asks next is told at once, and one caller a second tries again.

It never hides a failure: while Redis is away each call raises what the driver raises.
"""

import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from redis import ConnectionPool, Redis
from redis.client import Pipeline
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from core.backends.absence_log import AbsenceLog
from core.backends.backend import Backend

Answer = TypeVar("Answer")

_AWAY_SECONDS = 1.0
"""How long a failure is remembered before one caller tries again."""


class RedisMemory:
    """Runs calls to Redis and remembers that it is away. Safe to use from several threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, absences: AbsenceLog | None = None) -> None:
        self._clock = clock
        self._absences = absences or AbsenceLog()
        self._lock = threading.Lock()
        self._try_again_at: float | None = None

    @property
    def is_away(self) -> bool:
        """Whether the last call that was made failed."""
        return self._try_again_at is not None

    @property
    def refuses(self) -> bool:
        """Whether a call would be told at once that Redis is away: for a second after each one that failed."""
        try_again_at = self._try_again_at
        return try_again_at is not None and self._clock() < try_again_at

    def call(self, ask: Callable[[], Answer]) -> Answer:
        """What `ask` returns. Raises redis-py's ConnectionError at once while Redis is known to be away."""
        if not self._may_try():
            raise RedisConnectionError("Redis was away a moment ago.")
        try:
            answer = ask()
        except (RedisConnectionError, RedisTimeoutError) as error:
            self._note(away=True, why=type(error).__name__)
            raise
        except RedisError:
            # an error that it answers with is an answer
            self._note(away=False)
            raise
        self._note(away=False)
        return answer

    def _may_try(self) -> bool:
        if self._try_again_at is None:
            return True
        with self._lock:
            if self._try_again_at is None:
                return True
            if self._clock() < self._try_again_at:
                return False
            # the one that tries keeps the others away while it waits
            self._try_again_at = self._clock() + _AWAY_SECONDS
            return True

    def _note(self, away: bool, why: str = "") -> None:
        if not away and self._try_again_at is None:
            return
        with self._lock:
            self._try_again_at = self._clock() + _AWAY_SECONDS if away else None
            self._absences.note(Backend.REDIS, self, away=away, why=why)


class RememberingRedis(Redis):
    """A client all of whose commands go through a memory, which several clients may share."""

    memory: RedisMemory

    @classmethod
    def over(cls, pool: ConnectionPool, memory: RedisMemory) -> "RememberingRedis":
        """A client that owns the pool."""
        client = cls(connection_pool=pool)
        client.auto_close_connection_pool = True
        client.memory = memory
        return client

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """One command."""
        # a script's commands come this way too
        return self.memory.call(lambda: super(RememberingRedis, self).execute_command(*args, **options))  # type: ignore[no-untyped-call]

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        """Several commands in one round trip."""
        made = _RememberingPipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)
        made.memory = self.memory
        return made


class _RememberingPipeline(Pipeline):
    memory: RedisMemory

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Send them."""
        return self.memory.call(lambda: super(_RememberingPipeline, self).execute(raise_on_error))


def unless_away(ask: Callable[[], Answer]) -> Answer | None:
    """What `ask` of Redis returns, or None when Redis is away or does not do it."""
    try:
        return ask()
    except RedisError:
        return None


def is_known_away(redis: Redis) -> bool:
    """Whether a call would find, or at best find out anew, that Redis is away: what can be left out, need not ask."""
    return isinstance(redis, RememberingRedis) and redis.memory.is_away
