"""An installation whose jobs meet backends that are away, and what drives them. The backends are played by errors."""

import base64
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from config.settings import Settings
from core.backends.backend import Backend
from core.backends.watch import BackendWatch, Probe
from core.bootstrap import Services, build_services
from core.ids import Prefix, random_id, webhook_id
from core.jobs.job import Decision, Job, JobKind, JobState, NewJob
from core.storage.scope import NamespaceScope
from core.webhooks.endpoint import EndpointSettings
from core.webhooks.event import EventType
from tests.integration.test_drive_job import CHARGE, HOLD, Work, end_lease
from workers.drive_job import JobDriver
from workers.watch import LeaseWatch

KEY = SecretStr(f"k1:{base64.urlsafe_b64encode(bytes(32)).decode()}")
LEASE_SECONDS = 1
MAX_ATTEMPTS = 3
TRIES = 2 * MAX_ATTEMPTS


def services_on(
    mongo_url: str, redis_url: str, data: Path, through_ray: Mapping[Backend, Probe] | None = None, **changed: Any
) -> Services:
    settings = Settings(
        _env_file=None,
        data=data,
        mongo_url=mongo_url,
        redis_url=redis_url,
        vault_keys=(KEY,),
        key_peppers=(KEY,),
        audit_keys=(KEY,),
        # each secret is opened by the key service anew
        data_key_cache_seconds=0,
        job_lease_seconds=LEASE_SECONDS,
        job_max_attempts=MAX_ATTEMPTS,
        **changed,
    )
    return build_services(settings, through_ray=through_ray)


def submit(
    services: Services, scope: NamespaceScope, kind: JobKind = JobKind.RETRIEVER, awaited: bool = False, **spec_of: Any
) -> Job:
    services.ledger.grant(scope, "grant", 10 * HOLD)
    settings = EndpointSettings("hook", "http://127.0.0.1:9/", tuple(EventType))
    services.webhooks.create(scope, webhook_id(), settings, None)
    ids = {"retriever_id": "ret_1", "execution_id": "exec_1", "batch_id": "btch_1"}
    spec = {**ids, "collection_ids": ["col_1"], "object_ids": ["obj_1"], **spec_of}
    return services.submission.submit(scope, NewJob(random_id(Prefix.TASK), kind, spec, HOLD, "req_1", awaited))


class Fault:
    """What a probe or an executor finds: nothing, or an error until it is mended."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error

    def __call__(self, *_: object) -> Decision:
        if self.error:
            raise self.error
        return Decision(JobState.SUCCEEDED, charge=CHARGE)


def watch_of(**found: Fault) -> BackendWatch:
    """A watch that is not started: each backend answers its probe, but for what is found of those named."""
    return BackendWatch({each: found.get(each.name, Fault(None)) for each in Backend})


def driver(services: Services, work: Work, backends: BackendWatch | None = None) -> JobDriver:
    watched = services if backends is None else replace(services, backends=backends)
    return JobDriver(watched, LeaseWatch(LEASE_SECONDS), dict.fromkeys(JobKind, work))


def drive_often(services: Services, job: Job, work: Work, times: int = TRIES, **options: Any) -> Job:
    drives = driver(services, work, **options)
    for _ in range(times):
        end_lease(services, job)
        drives.drive(job.job_id)
    return services.jobs.get(job.scope, job.job_id)


def stored(services: Services, job: Job) -> Job:
    return services.jobs.get(job.scope, job.job_id)


def events_of(logs: list[Any]) -> list[str]:
    return [line["event"] for line in logs if line["log_level"] not in ("debug",)]
