"""The fault run: jobs of two tenants while our processes are killed at random moments, servers of the stack are away
for some seconds, and Redis is emptied.

`make chaos SEED=n` runs the long one. It counts, from the records themselves, what was lost, charged twice, doubled or
never announced, and fails when any of these is not 0. The client writes each 2xx down with fsync before it goes on, and
repeats a request under its Idempotency-Key while the API is away.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import cycle, islice
from pathlib import Path

import psutil
from redis import Redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from cli.demo.client import Client
from cli.demo.receiver import Receiver
from cli.stack.locate import stack_settings
from core.bootstrap import Services, build_services
from core.jobs.announcement import events_of
from core.jobs.job import Job
from tests.e2e.customer import Customer, new_customer
from tests.e2e.parts import Part, SupervisedPart, VectorOwner, actors, away
from tests.gate import Manner
from tests.stack import RunningStack, running_stack

_PATIENCE_SECONDS = 120.0
_SETTLE_SECONDS = 300.0
_OBJECTS_PER_BATCH = 3
_ROLES = ("api", "worker", "dispatcher", "sweeper", "actor")
_PARTS: Mapping[str, Callable[[RunningStack], Part]] = {
    "mongo": lambda stack: SupervisedPart(stack, "mongo"),
    "redis": lambda stack: SupervisedPart(stack, "redis"),
    "vectors": VectorOwner,
    "ray": lambda stack: SupervisedPart(stack, "ray"),
}
"""What is taken away in turn."""
_AWAY_SECONDS = (2.0, 8.0)
_FAULT_SETTINGS = {
    "KEYSTAGE_JOB_LEASE_SECONDS": "4",
    # a job may be hit again and again here; attempts_exhausted has a test of its own
    "KEYSTAGE_JOB_MAX_ATTEMPTS": "50",
    "KEYSTAGE_EGRESS_ALLOW_CIDRS": "127.0.0.0/8",
    "KEYSTAGE_WEBHOOK_RETRY_SCHEDULE": ",".join(["1"] * 60),
    "KEYSTAGE_WEBHOOK_TIMEOUT_SECONDS": "5",
}


@dataclass
class Tenant:
    """One customer, and what it was promised."""

    customer: Customer
    acknowledged: list[str] = field(default_factory=list)
    """task ids of every 2xx"""
    batches: dict[str, list[str]] = field(default_factory=dict)
    """task id of an ingestion, and its objects"""


@dataclass(frozen=True)
class Verdict:
    """What the records say after the dust has settled."""

    seed: int
    jobs: int
    kills: dict[str, int]
    absences: dict[str, int]
    flushes: int
    acknowledged: int
    lost: int
    """acknowledged jobs that are unknown or did not end"""
    outcomes: dict[str, int]
    not_succeeded: int
    double_captures: int
    doubled_documents: int
    missing_documents: int
    events_missing: int
    ledger_problems: int
    holds_open: int
    attempts_beyond_the_first: int
    seconds: float

    @property
    def holds(self) -> bool:
        """Whether every promise was kept."""
        broken = (
            self.lost, self.not_succeeded, self.double_captures, self.doubled_documents, self.missing_documents,
            self.events_missing, self.ledger_problems, self.holds_open, self.jobs - self.acknowledged,
        )  # fmt: skip
        return not any(broken)


def run(seed: int, jobs: int, kills: int, absences: int, flushes: int, directory: Path) -> Verdict:
    """One whole fault run on a private stack in `directory`."""
    started = time.monotonic()
    with Receiver() as receiver, running_stack(directory / "data", _FAULT_SETTINGS) as stack:
        tenants = [_prepare(stack, receiver, name) for name in ("one", "two")]
        killer = Killer(stack, random.Random(seed), kills, absences, flushes)
        submitters = [
            threading.Thread(target=_submit, args=(tenant, jobs // 2, directory), name=tenant.customer.name)
            for tenant in tenants
        ]
        for submitter in submitters:
            submitter.start()
        while any(submitter.is_alive() for submitter in submitters):
            killer.strike_up_to(sum(len(tenant.acknowledged) for tenant in tenants) / jobs)
            time.sleep(0.05)
        killer.strike_up_to(1.0)
        services = build_services(stack_settings(stack.data))
        try:
            _wait_until_settled(services, tenants)
            return _judge(services, tenants, receiver, seed, jobs, killer, time.monotonic() - started)
        finally:
            services.close()


def _prepare(stack: RunningStack, receiver: Receiver, name: str) -> Tenant:
    tenant = Tenant(new_customer(stack.data, stack.api_url, name))
    with tenant.customer.client(_PATIENCE_SECONDS) as client:
        hook = {
            "webhook_name": "all",
            "event_types": [
                "collection.documents.batch_completed", "resource.executed", "resource.execution_failed",
            ],
            "channels": [{"channel": "webhook", "configs": {"url": receiver.url}}],
        }  # fmt: skip
        client.post("/v1/organizations/webhooks", hook)
    return tenant


def _submit(tenant: Tenant, count: int, directory: Path) -> None:
    """Every third job is a batch of new objects, the others are searches."""
    with (
        tenant.customer.client(_PATIENCE_SECONDS) as client,
        (directory / f"{tenant.customer.name}.acks").open("a") as acks,
    ):
        for number in range(count):
            task_id, objects = _submit_one(client, tenant, number)
            acks.write(task_id + "\n")
            acks.flush()
            os.fsync(acks.fileno())
            tenant.acknowledged.append(task_id)
            if objects:
                tenant.batches[task_id] = objects


def _submit_one(client: Client, tenant: Tenant, number: int) -> tuple[str, list[str]]:
    customer = tenant.customer
    if number % 3:
        path = f"/v1/retrievers/{customer.retriever_id}/execute"
        body = {"inputs": {"query": f"note {number}"}, "limit": 3}
        return client.post(path, body, prefer="respond-async")["task_id"], []
    texts = [f"Note {number}.{part} of tenant {customer.name}." for part in range(_OBJECTS_PER_BATCH)]
    objects = customer.store(client, texts)
    return customer.submit(client, objects), objects


@dataclass(frozen=True)
class _Kill:
    """One process of a role is killed; its supervisor, or Ray, starts it again at once."""

    role: str


@dataclass(frozen=True)
class _Absence:
    """A part is away for some seconds."""

    part: str
    manner: Manner


@dataclass(frozen=True)
class _Flush:
    """Redis is emptied, and killed."""


class Killer:
    """Strikes at seeded shares of the submitted jobs: the same seed strikes the same in the same order."""

    def __init__(self, stack: RunningStack, chance: random.Random, kills: int, absences: int, flushes: int) -> None:
        self._stack = stack
        self._chance = chance
        strikes: list[_Kill | _Absence | _Flush] = [_Kill(chance.choice(_ROLES)) for _ in range(kills)]
        in_turn = cycle(_Absence(part, manner) for manner in (Manner.FROZEN, Manner.KILLED) for part in _PARTS)
        strikes += [*islice(in_turn, absences), *([_Flush()] * flushes)]
        chance.shuffle(strikes)
        moments = sorted(chance.uniform(0.05, 1.0) for _ in strikes)
        self._pending = list(zip(moments, strikes, strict=True))
        self.killed: Counter[str] = Counter()
        self.absent: Counter[str] = Counter()
        self.flushed = 0

    def strike_up_to(self, progress: float) -> None:
        """Make every strike whose moment has come. A target that is just being restarted is waited for."""
        while self._pending and self._pending[0][0] <= progress:
            match self._pending.pop(0)[1]:
                case _Kill(role):
                    self._kill(role)
                    self.killed[role] += 1
                case _Absence(part, manner):
                    self._victim("actor" if part in ("vectors", "ray") else part)
                    with away(_PARTS[part](self._stack), manner):
                        time.sleep(self._chance.uniform(*_AWAY_SECONDS))
                    self.absent[f"{part} {manner.value}"] += 1
                case _Flush():
                    # nothing in it may matter; it may have been killed a moment ago
                    again = Retry(ConstantBackoff(0.1), 600)
                    with Redis.from_url(self._stack.ready["redis_url"], socket_timeout=5, retry=again) as client:
                        client.flushall()
                    self._kill("redis")
                    self.flushed += 1

    def _kill(self, role: str) -> None:
        while True:
            # what was found may have ended by itself
            with suppress(psutil.NoSuchProcess):
                self._victim(role).send_signal(signal.SIGKILL)
                return

    def _victim(self, role: str) -> psutil.Process:
        deadline = time.monotonic() + 60
        while True:
            found = _processes(self._stack, role)
            if found:
                return self._chance.choice(found)
            if time.monotonic() > deadline:
                raise TimeoutError(f"there has been no living {role} for a minute")
            time.sleep(0.1)


def _processes(stack: RunningStack, role: str) -> list[psutil.Process]:
    """The living processes of a role; an actor is a worker process of Ray that runs one."""
    try:
        if role != "actor":
            return [psutil.Process(stack.pid(role))]
        return actors(stack)
    except psutil.NoSuchProcess:
        return []


def _wait_until_settled(services: Services, tenants: list[Tenant]) -> None:
    """Until every acknowledged job has ended and owes nothing, and no delivery is due; bounded."""
    deadline = time.monotonic() + _SETTLE_SECONDS
    open_jobs = {task_id for tenant in tenants for task_id in tenant.acknowledged}
    while time.monotonic() < deadline:
        for task_id in list(open_jobs):
            job = services.queue.find(task_id)
            if job and job.is_final and job.due_at is None:
                open_jobs.discard(task_id)
        if not open_jobs and not services.handles.system["deliveries"].find_one(
            {"due_at": {"$gte": services.clock.now().replace(year=2000)}}
        ):
            return
        time.sleep(0.5)


def _judge(
    services: Services, tenants: list[Tenant], receiver: Receiver, seed: int, jobs: int, killer: Killer, seconds: float
) -> Verdict:
    told = {item.headers["webhook-id"] for item in receiver.received}
    found = [job for tenant in tenants for job in _jobs(services, tenant)]
    ended = [job for job in found if job.is_final]
    ledgers = [tenant.customer.ledger(services) for tenant in tenants]
    documents = [_documents(services, tenant) for tenant in tenants]
    return Verdict(
        seed=seed,
        jobs=jobs,
        kills=dict(killer.killed),
        absences=dict(killer.absent),
        flushes=killer.flushed,
        acknowledged=sum(len(tenant.acknowledged) for tenant in tenants),
        lost=sum(len(tenant.acknowledged) for tenant in tenants) - len(ended),
        outcomes=dict(Counter(job.state.value for job in found)),
        not_succeeded=sum(job.state.value != "succeeded" for job in ended),
        double_captures=sum(double for double, _, _ in ledgers),
        doubled_documents=sum(doubled for doubled, _ in documents),
        missing_documents=sum(missing for _, missing in documents),
        events_missing=sum(event_id not in told for job in ended for event_id in _event_ids(job)),
        ledger_problems=sum(problems for _, problems, _ in ledgers),
        holds_open=sum(held for _, _, held in ledgers),
        attempts_beyond_the_first=sum(job.attempts - 1 for job in ended),
        seconds=round(seconds, 1),
    )


def _jobs(services: Services, tenant: Tenant) -> Iterator[Job]:
    for task_id in tenant.acknowledged:
        job = services.queue.find(task_id)
        if job is not None:
            yield job


def _event_ids(job: Job) -> list[str]:
    assert job.decision is not None
    return [event.event_id for event in events_of(job, job.decision, job.created_at)]


def _documents(services: Services, tenant: Tenant) -> tuple[int, int]:
    """(documents beyond the one that each note gives, notes without one): each note is a single chunk."""
    counts = tenant.customer.documents(services)
    expected = {object_id for objects in tenant.batches.values() for object_id in objects}
    return sum(count - 1 for count in counts.values()), len(expected - counts.keys())


def main() -> None:
    """Run once and print the verdict as JSON; exit code 1 when a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("seed", "jobs", "kills", "absences", "flushes"):
        parser.add_argument(f"--{name}", type=int, required=True)
    options = parser.parse_args()
    # told to end, it still gives back what it took away, and stops its stack
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="keystage-chaos-") as directory:
        verdict = run(options.seed, options.jobs, options.kills, options.absences, options.flushes, Path(directory))
    print(json.dumps(asdict(verdict), indent=2))
    sys.exit(0 if verdict.holds else 1)


if __name__ == "__main__":
    main()
