"""Builds the objects of one process from its settings: the one place where things are wired."""

from dataclasses import dataclass
from datetime import timedelta

from pymongo.database import Database
from redis import Redis

from config.settings import Settings
from core.audit.checkpoint import Signer, Verifier
from core.audit.checkpoint_store import CheckpointStore
from core.audit.checkpointer import Checkpointer, Schedule
from core.audit.examination import Auditor
from core.audit.recorder import Recorder
from core.audit.trail import AuditTrail
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
    audit: AuditTrail
    recorder: Recorder
    checkpoints: CheckpointStore
    auditor: Auditor

    def close(self) -> None:
        """Record what is still to be audited, and close the connections."""
        self.recorder.close()
        self.doorbell.close()
        self.redis.close()
        self.database.client.close()


def build_services(settings: Settings) -> Services:
    """Wire one process. Connects to MongoDB and creates what its schema lacks."""
    log_commands(settings.mongo_command_log)
    database = connect(settings.mongo_url)
    create_schema(database)
    handles = Handles(database)
    clock = database_clock(database)
    ledger = Ledger(handles, clock)
    jobs = JobStore(handles, clock)
    doorbell = Doorbell(settings.broker)
    blobs = BlobStore(settings.blobs)
    redis = connect_redis(settings.redis_url)
    audit_keys = Keyring("KEYSTAGE_AUDIT_KEYS", settings.audit_keys)
    trail = AuditTrail(handles, clock, audit_keys)
    checkpoints = CheckpointStore(handles, blobs)
    return Services(
        settings=settings,
        database=database,
        redis=redis,
        handles=handles,
        clock=clock,
        tenancy=TenancyStore(handles, KeyVerifier(Keyring("KEYSTAGE_KEY_PEPPERS", settings.key_peppers))),
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
        webhooks=WebhookStore(handles, Cipher(Keyring("KEYSTAGE_VAULT_KEYS", settings.vault_keys)), redis),
        audit=trail,
        recorder=Recorder(trail),
        checkpoints=checkpoints,
        auditor=Auditor(trail, checkpoints, audit_keys, Verifier(settings.audit_verify_keys)),
    )


def build_checkpointer(services: Services) -> Checkpointer | None:
    """What signs audit checkpoints, for the sweeper: the one process that is given the key. None without a key."""
    settings = services.settings
    if settings.audit_signing_key is None:
        return None
    signer = Signer(settings.audit_signing_key)
    return Checkpointer(
        services.audit,
        services.checkpoints,
        services.auditor,
        services.tenancy,
        services.clock,
        signer,
        # its own signatures count even where the operator forgot to publish its key
        Verifier(tuple(dict.fromkeys([signer.public_key, *settings.audit_verify_keys]))),
        Schedule(settings.audit_checkpoint_entries, timedelta(seconds=settings.audit_checkpoint_seconds)),
    )
