"""Builds the objects of one process from its settings: the one place where things are wired."""

from dataclasses import dataclass

from pymongo.database import Database
from redis import Redis

from config.settings import Settings
from core.batches.store import BatchStore
from core.buckets.store import BucketStore
from core.clock import DatabaseClock
from core.collections.store import CollectionStore
from core.credits.ledger import Ledger
from core.idempotency.store import IdempotencyStore
from core.jobs.doorbell import Doorbell
from core.jobs.queue import JobQueue
from core.jobs.store import JobStore
from core.jobs.submission import Submission
from core.retrievers.executions import ExecutionStore
from core.retrievers.store import RetrieverStore
from core.storage.blobs import BlobStore
from core.storage.command_log import log_commands
from core.storage.handles import Handles
from core.storage.keyring import Keyring
from core.storage.mongo import Document, connect, database_clock
from core.storage.redis import connect_redis
from core.storage.schema import create_schema
from core.tenancy.keys import KeyVerifier
from core.tenancy.store import TenancyStore
from core.vault.cipher import Cipher
from core.webhooks.store import WebhookStore


@dataclass(frozen=True)
class Services:
    """What a process of ours works with. Every member is safe to use from several threads."""

    settings: Settings
    database: Database[Document]
    redis: Redis
    handles: Handles
    clock: DatabaseClock
    tenancy: TenancyStore
    ledger: Ledger
    jobs: JobStore
    queue: JobQueue
    doorbell: Doorbell
    submission: Submission
    idempotency: IdempotencyStore
    blobs: BlobStore
    buckets: BucketStore
    collections: CollectionStore
    batches: BatchStore
    retrievers: RetrieverStore
    executions: ExecutionStore
    webhooks: WebhookStore

    def close(self) -> None:
        """Close the connections."""
        self.doorbell.close()
        self.redis.close()
        self.database.client.close()


def build_services(settings: Settings) -> Services:
    """Wire one process. Connects to MongoDB and creates what its schema lacks."""
    # a key that is not well formed is refused before anything is connected
    peppers = Keyring("KEYSTAGE_KEY_PEPPERS", settings.key_peppers)
    vault_keys = Keyring("KEYSTAGE_VAULT_KEYS", settings.vault_keys)
    log_commands(settings.mongo_command_log)
    database = connect(settings.mongo_url, settings.mongo_tls)
    create_schema(database)
    handles = Handles(database)
    clock = database_clock(database)
    ledger = Ledger(handles, clock)
    jobs = JobStore(handles, clock)
    doorbell = Doorbell(settings.broker, settings.redis_tls)
    blobs = BlobStore(settings.blobs)
    redis = connect_redis(settings.redis_url, settings.redis_tls)
    return Services(
        settings=settings,
        database=database,
        redis=redis,
        handles=handles,
        clock=clock,
        tenancy=TenancyStore(handles, KeyVerifier(peppers)),
        ledger=ledger,
        jobs=jobs,
        queue=JobQueue(handles, clock, settings.job_lease_seconds),
        doorbell=doorbell,
        submission=Submission(ledger, jobs, doorbell),
        idempotency=IdempotencyStore(handles, clock),
        blobs=blobs,
        buckets=BucketStore(handles, blobs),
        collections=CollectionStore(handles),
        batches=BatchStore(handles),
        retrievers=RetrieverStore(handles),
        executions=ExecutionStore(handles),
        webhooks=WebhookStore(handles, Cipher(vault_keys), redis),
    )
