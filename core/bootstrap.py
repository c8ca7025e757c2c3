"""Builds the objects of one process from its settings: the one place where things are wired."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from pymongo.database import Database
from redis import Redis

from config.plans import PlanLimits
from config.settings import Settings
from core.audit.checkpoint import Signer, Verifier
from core.audit.checkpoint_store import CheckpointStore
from core.audit.checkpointer import Checkpointer, Schedule
from core.audit.examination import Auditor
from core.audit.recorder import Recorder
from core.audit.trail import AuditTrail
from core.backends.absence_log import AbsenceLog
from core.backends.backend import Backend
from core.backends.probes import BackendProbes
from core.backends.watch import BackendWatch, Probe
from core.batches.store import BatchStore
from core.buckets.store import BucketStore
from core.clock import DatabaseClock
from core.collections.store import CollectionStore
from core.credits.ledger import Ledger
from core.credits.usage import UsageReader
from core.health import Heartbeats
from core.idempotency.store import IdempotencyStore
from core.jobs.doorbell import Doorbell
from core.jobs.queue import JobQueue
from core.jobs.store import JobStore
from core.jobs.submission import Submission
from core.language_models.catalogue import Catalogue, catalogue, overrides_text
from core.limits.auth_failures import AuthFailureLimiter, FailurePolicies
from core.limits.limiter import Limiter
from core.limits.policy import Policy
from core.limits.subject import plan_of
from core.metrics import Metrics
from core.retrievers.executions import ExecutionStore
from core.retrievers.store import RetrieverStore
from core.storage.blobs import BlobStore
from core.storage.command_log import log_commands
from core.storage.handles import Handles
from core.storage.keyring import Keyring
from core.storage.mongo import Document, close, connect, connect_impatiently, database_clock
from core.storage.probe import ask_mongo
from core.storage.redis import connect_redis_impatiently
from core.storage.redis_memory import RedisMemory
from core.storage.schema import create_schema
from core.tenancy.authentication import Authenticator
from core.tenancy.index_rebuild import IndexRebuilds
from core.tenancy.key_store import KeyStore
from core.tenancy.key_use import KeyUse
from core.tenancy.keys import KeyVerifier
from core.tenancy.namespace_contents import NamespaceContents
from core.tenancy.namespace_deletion import NamespaceDeletions
from core.tenancy.namespace_store import NamespaceStore
from core.tenancy.organization_store import OrganizationStore
from core.tenancy.removal import OrganizationRemoval
from core.tenancy.tenant import Organization
from core.tenancy.tenant_cache import TenantCache
from core.tenancy.user_store import UserStore
from core.vault.access import AccessStore
from core.vault.cipher import Cipher
from core.vault.data_keys import DataKeys
from core.vault.kek import KeyEncryption
from core.vault.kek_choice import choose_key_encryption
from core.vault.kek_patient import PatientKeyEncryption
from core.vault.kek_watched import WatchedKeyEncryption
from core.vault.resolver import SecretResolver
from core.vault.rotation import KeyRotation
from core.vault.store import SecretStore
from core.vault.use import SecretUse
from core.vault.used_by import SecretUsage
from core.webhooks.store import WebhookStore

_SPARE_CONNECTIONS = 16
"""To Redis, beyond one for each thread that handles requests."""
_PROBE_SECONDS = 1.0
"""How long MongoDB is asked whether it is there: below the patience of the watch."""


@dataclass(frozen=True)
class Services:
    """What a process of ours works with. Every member is safe to use from several threads."""

    settings: Settings
    database: Database[Document]
    redis: Redis
    limits_redis: Redis
    """for the limiters and the tenant cache: whoever waits on a list holds none of its connections"""
    handles: Handles
    clock: DatabaseClock
    organizations: OrganizationStore
    users: UserStore
    keys: KeyStore
    namespaces: NamespaceStore
    tenants: TenantCache
    deletions: NamespaceDeletions
    index_rebuilds: IndexRebuilds
    authenticator: Authenticator
    key_use: KeyUse
    ledger: Ledger
    usage: UsageReader
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
    models: Catalogue
    heartbeats: Heartbeats
    probes: BackendProbes
    backends: BackendWatch
    """which backends are away; API and worker start it, any other process may look"""
    absences: AbsenceLog
    """where whoever finds one away says so"""
    metrics: Metrics
    webhooks: WebhookStore
    secrets: SecretStore
    secret_access: AccessStore
    secret_usage: SecretUsage
    secret_use: SecretUse
    resolver: SecretResolver
    key_rotation: KeyRotation
    removal: OrganizationRemoval
    limiter: Limiter
    auth_failures: AuthFailureLimiter
    audit: AuditTrail
    recorder: Recorder
    checkpoints: CheckpointStore
    auditor: Auditor

    def plan_of(self, organization: Organization) -> PlanLimits:
        """The limits of the organization's plan."""
        return plan_of(self.settings.plans, organization.plan)

    def close(self) -> None:
        """Write down what is only remembered, and close the connections."""
        self.backends.close()
        self.key_use.close()
        self.secret_use.close()
        self.recorder.close()
        self.doorbell.close()
        self.probes.close()
        self.redis.close()
        self.limits_redis.close()
        close(self.database)


@dataclass(frozen=True)
class _Backends:
    """The connections of one process, and what is closest to them."""

    database: Database[Document]
    redis: Redis
    limits_redis: Redis
    handles: Handles
    clock: DatabaseClock
    doorbell: Doorbell
    blobs: BlobStore
    absences: AbsenceLog


def build_services(
    settings: Settings, *, impatient: bool = False, through_ray: Mapping[Backend, Probe] | None = None
) -> Services:
    """Wire one process. Connects to MongoDB and creates what its schema lacks.

    `impatient` is for intake: it notices at once that MongoDB is away, and then waits for it no more. `through_ray` is
    for workers: how they ask the backends of which their heartbeats tell everybody else.
    """
    # a key that is not well formed is refused before anything is connected
    peppers = Keyring("KEYSTAGE_KEY_PEPPERS", settings.key_peppers)
    kek = choose_key_encryption(settings)
    return _wire(settings, _connect(settings, impatient=impatient), peppers, kek, through_ray)


def _connect(settings: Settings, *, impatient: bool) -> _Backends:
    log_commands(settings.mongo_command_log)
    database = connect(settings.mongo_url, settings.mongo_tls)
    try:
        # with all patience: a new index may keep the server busy
        create_schema(database)
    except BaseException:
        close(database)
        raise
    handles = Handles(database)
    if impatient:
        close(database)
        database, pulse = connect_impatiently(settings.mongo_url, settings.mongo_tls)
        handles = Handles(database, lambda: pulse.is_away)
    # one memory: a request that finds Redis silent pays for that once
    absences = AbsenceLog()
    memory, connections = RedisMemory(absences=absences), settings.api_threads + _SPARE_CONNECTIONS
    return _Backends(
        database=database,
        redis=connect_redis_impatiently(settings.redis_url, settings.redis_tls, memory, connections),
        limits_redis=connect_redis_impatiently(settings.redis_url, settings.redis_tls, memory, connections),
        handles=handles,
        clock=database_clock(database),
        # one server in two parts: what it costs to find one of them silent is paid already
        doorbell=Doorbell(
            settings.broker,
            settings.redis_tls,
            lambda: settings.broker == settings.redis_url and memory.refuses,
            absences,
        ),
        blobs=BlobStore(settings.blobs),
        absences=absences,
    )


@dataclass(frozen=True)
class _Vault:
    """What seals, opens and keeps secrets."""

    data_keys: DataKeys
    cipher: Cipher
    secrets: SecretStore
    access: AccessStore
    use: SecretUse
    rotation: KeyRotation


def _vault(settings: Settings, handles: Handles, kek: KeyEncryption, trail: AuditTrail) -> _Vault:
    data_keys = DataKeys(handles, kek, settings.data_key_cache_seconds)
    cipher = Cipher(data_keys)
    secrets, access = SecretStore(handles, data_keys, cipher), AccessStore(handles)
    rotation = KeyRotation(handles, kek, data_keys, cipher, trail)
    return _Vault(data_keys, cipher, secrets, access, SecretUse(secrets, access), rotation)


def _wire(
    settings: Settings, to: _Backends, peppers: Keyring, kek: KeyEncryption, through_ray: Mapping[Backend, Probe] | None
) -> Services:
    handles, clock = to.handles, to.clock
    organizations, namespaces = OrganizationStore(handles), NamespaceStore(handles, clock)
    jobs, retrievers, heartbeats = JobStore(handles, clock), RetrieverStore(handles), Heartbeats(handles, clock)
    keys = KeyStore(handles, clock, KeyVerifier(peppers), _unused_for(settings))
    key_use = KeyUse(keys, clock)
    auth_failures = AuthFailureLimiter(to.limits_redis, _failure_policies(settings))
    ledger = Ledger(handles, clock)
    tenants = TenantCache(to.limits_redis, organizations, namespaces)
    submission = Submission(ledger, jobs, to.doorbell)
    audit_keys = _audit_keys(settings)
    trail = AuditTrail(handles, clock, audit_keys)
    checkpoints = CheckpointStore(handles, to.blobs)
    probes = _probes(settings, to, kek, heartbeats)
    backends = BackendWatch({**probes.direct(), **(through_ray or probes.told())}, absences=to.absences)
    vault = _vault(settings, handles, _watched(kek, backends), trail)
    return Services(
        settings=settings,
        database=to.database,
        redis=to.redis,
        limits_redis=to.limits_redis,
        handles=handles,
        clock=clock,
        organizations=organizations,
        users=UserStore(handles),
        keys=keys,
        namespaces=namespaces,
        tenants=tenants,
        deletions=NamespaceDeletions(namespaces, tenants, jobs, submission, NamespaceContents(handles, to.blobs)),
        index_rebuilds=IndexRebuilds(namespaces, tenants, jobs, submission),
        authenticator=Authenticator(keys, auth_failures, key_use),
        key_use=key_use,
        ledger=ledger,
        usage=UsageReader(handles),
        jobs=jobs,
        queue=JobQueue(handles, clock, settings.job_lease_seconds),
        doorbell=to.doorbell,
        submission=submission,
        idempotency=IdempotencyStore(handles, clock, peppers),
        blobs=to.blobs,
        buckets=BucketStore(handles, to.blobs),
        collections=CollectionStore(handles),
        batches=BatchStore(handles),
        retrievers=retrievers,
        executions=ExecutionStore(handles),
        models=catalogue(overrides_text(settings.models)),
        heartbeats=heartbeats,
        probes=probes,
        backends=backends,
        absences=to.absences,
        metrics=Metrics(heartbeats, backends),
        webhooks=WebhookStore(handles, vault.data_keys, vault.cipher, to.redis),
        secrets=vault.secrets,
        secret_usage=SecretUsage(organizations, namespaces, retrievers),
        secret_access=vault.access,
        secret_use=vault.use,
        resolver=SecretResolver(vault.secrets, vault.cipher, trail, vault.use, clock),
        key_rotation=vault.rotation,
        removal=OrganizationRemoval(handles, clock, vault.rotation, tenants, jobs, submission),
        limiter=Limiter(to.limits_redis, settings.plans, settings.api_processes),
        auth_failures=auth_failures,
        audit=trail,
        recorder=Recorder(trail),
        checkpoints=checkpoints,
        auditor=Auditor(trail, checkpoints, audit_keys, Verifier(settings.audit_verify_keys)),
    )


def _probes(settings: Settings, to: _Backends, kek: KeyEncryption, heartbeats: Heartbeats) -> BackendProbes:
    broker = Doorbell(settings.broker, settings.redis_tls, absences=to.absences)
    return BackendProbes(to.database, to.limits_redis, broker, to.blobs, kek, heartbeats)


def build_watched_cipher(
    settings: Settings, database: Database[Document], redis: Redis, absences: AbsenceLog
) -> tuple[Cipher, BackendWatch]:
    """What opens sealed values, for a process that needs nothing else of the vault; and who knows, once it is started,
    which of its backends are away. A key service that is known to be is not waited for, and one organization's key that
    fails is no absence of it."""
    kek = choose_key_encryption(settings)
    probes: dict[Backend, Probe] = {
        Backend.KEY_SERVICE: kek.probe,
        Backend.MONGO: lambda: ask_mongo(database, _PROBE_SECONDS),
        Backend.REDIS: redis.ping,
    }
    watch = BackendWatch(probes, absences=absences)
    patient = _watched(PatientKeyEncryption(kek, watch), watch)
    return Cipher(DataKeys(Handles(database), patient, settings.data_key_cache_seconds)), watch


def _watched(kek: KeyEncryption, watch: BackendWatch) -> KeyEncryption:
    return WatchedKeyEncryption(kek, lambda: watch.require(Backend.KEY_SERVICE))


def build_recorder(settings: Settings, database: Database[Document]) -> Recorder:
    """What writes into audit logs, for a process that needs nothing else of them."""
    return Recorder(AuditTrail(Handles(database), database_clock(database), _audit_keys(settings)))


def _audit_keys(settings: Settings) -> Keyring:
    return Keyring("KEYSTAGE_AUDIT_KEYS", settings.audit_keys)


def _unused_for(settings: Settings) -> timedelta | None:
    return timedelta(days=settings.key_unused_days) if settings.key_unused_days else None


def _failure_policies(settings: Settings) -> FailurePolicies:
    per_source, source_burst = settings.auth_failures_per_source_per_minute, settings.auth_failures_source_burst
    per_key, key_burst = settings.auth_failures_per_key_per_minute, settings.auth_failures_key_burst
    return FailurePolicies(
        source=Policy("auth-failures-source", per_source, 60, source_burst),
        key=Policy("auth-failures-key", per_key, 60, key_burst),
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
        services.organizations,
        services.clock,
        signer,
        # its own signatures count even where the operator forgot to publish its key
        Verifier(tuple(dict.fromkeys([signer.public_key, *settings.audit_verify_keys]))),
        Schedule(settings.audit_checkpoint_entries, timedelta(seconds=settings.audit_checkpoint_seconds)),
    )
