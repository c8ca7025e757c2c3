"""What is asked of each backend, within a bound. The watch decides when; nothing here decides what follows."""

from pymongo.database import Database
from redis import Redis

from config.beside import Shared
from core.backends.backend import Backend
from core.backends.watch import Probe
from core.errors import BackendAwayError
from core.health import Heartbeat, Heartbeats
from core.jobs.doorbell import Doorbell
from core.storage.blobs import BlobStore
from core.storage.failures import failed_backend
from core.storage.mongo import Document, within
from core.storage.probe import ask_mongo
from core.vault.kek import KeyEncryption

_HEARTBEATS_SECONDS = 1.0
"""How long MongoDB is asked for heartbeats: less than the watch waits, so that it is told in time that nobody knows."""


class BackendProbes:
    """What is asked, and what the answers said besides. Each probe raises when there is none."""

    def __init__(
        self,
        database: Database[Document],
        redis: Redis,
        broker: Doorbell,
        blobs: BlobStore,
        key_service: KeyEncryption,
        heartbeats: Heartbeats,
    ) -> None:
        """`broker` is the probes' own: one that hangs must not hold up who rings."""
        self._database = database
        self._redis = redis
        self._broker = broker
        self._blobs = blobs
        self._key_service = key_service
        self._heartbeats = heartbeats
        # once for all three that are told of in them
        self._heard = Shared(self._hear, "probe-heartbeats")
        self.beats: list[Heartbeat] = []
        """the living processes, as heard last"""
        self.doorbells: int | None = None
        """how many doorbells nobody had taken; None when the broker did not answer"""

    def told(self) -> dict[Backend, Probe]:
        """One for each that only workers reach, of which their heartbeats tell."""
        return {each: self._hearsay(each) for each in (Backend.VECTORS, Backend.EMBEDDER, Backend.RAY)}

    def direct(self) -> dict[Backend, Probe]:
        """One for each that every process of ours reaches by itself."""
        return {
            Backend.MONGO: lambda: ask_mongo(self._database),
            Backend.REDIS: self._redis.ping,
            Backend.BROKER: self._ask_broker,
            Backend.BLOBS: self._blobs.probe,
            Backend.KEY_SERVICE: self._key_service.probe,
        }

    def close(self) -> None:
        """Close what is the probes' own."""
        self._broker.close()

    def _ask_broker(self) -> None:
        self.doorbells = None
        self.doorbells = self._broker.waiting()
        if self.doorbells is None:
            raise BackendAwayError(Backend.BROKER)

    def _hearsay(self, backend: Backend) -> Probe:
        def hear() -> None:
            workers = [beat for beat in self._heard.ask().result() if beat.role == "worker"]
            if workers and all(backend.value in worker.facts.get("away", ()) for worker in workers):
                raise BackendAwayError(backend, "does not answer the workers")

        return hear

    def _hear(self) -> list[Heartbeat]:
        try:
            with within(_HEARTBEATS_SECONDS):
                self.beats = self._heartbeats.fresh()
        except Exception as error:
            if failed_backend(error) is None:
                raise
            # away, or it refuses: nobody can tell
            raise BackendAwayError(Backend.MONGO) from error
        return self.beats
