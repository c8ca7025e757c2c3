"""One worker without its stack: the real executor, vault and databases, and stages that run in this very process.

It says what the search finds after one job; it masks nothing by itself.
"""

import io
import itertools
import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from config.logging_setup import configure_logs
from core.bootstrap import Services
from core.egress.policy import EgressPolicy
from core.ids import Prefix, random_id
from core.jobs.job import JobKind, JobState, NewJob
from core.retrievers.executions import execution_id_of
from core.retrievers.parameters_search import MOST_DOCUMENTS
from core.retrievers.stages import StageSpec, parse_stages
from core.storage.scope import NamespaceScope
from core.storage.vectors.store import VectorStore
from core.vault.resolved import ResolvedSecrets
from core.vault.secret import SecretLimits
from pipelines.chain import ChainResult, run_stages
from pipelines.embedders.embedder import Embedder
from pipelines.runner import CallContext, Runner
from pipelines.stage import StageContext
from tests.e2e.canary.search import Hit, Sink, mongo, search
from tests.e2e.canary.values import canary
from workers.drive_job import JobDriver
from workers.execution import RetrieverExecutor
from workers.watch import LeaseWatch


class LocalRunner(Runner):
    """Runs stages in this process, as an actor would, or breaks with what it was given in the exception's text."""

    def __init__(self, vectors: VectorStore, embedder: Embedder, breaks: bool = False) -> None:
        self._vectors = vectors
        self._embedder = embedder
        self._breaks = breaks

    def run_chain(
        self,
        call: CallContext,
        stages: Sequence[Mapping[str, Any]],
        inputs: Mapping[str, Any],
        collection_ids: Sequence[str],
        limit: int,
        should_stop: threading.Event,
        secrets: ResolvedSecrets,
        llm_budget: int,
        most_found: int = MOST_DOCUMENTS,
    ) -> ChainResult:
        """Run the stages at once."""
        assert not should_stop.is_set()
        assert (llm_budget, most_found) == (0, MOST_DOCUMENTS)
        if self._breaks:
            raise RuntimeError(f"no route with {secrets.values[0]!r}")
        context = StageContext(
            call.namespace_id,
            tuple(collection_ids),
            self._vectors,
            self._embedder,
            secrets=secrets,
            egress=EgressPolicy.allowing(["127.0.0.0/8"]),
        )
        return run_stages([StageSpec.from_stored(stage) for stage in stages], inputs, context, limit, lambda: None)


@dataclass
class Bench:
    """A tenant whose one document is in `vectors`, and the means to run one job at a time."""

    services: Services
    scope: NamespaceScope
    vectors: VectorStore
    embedder: Embedder

    def hits_of_an_echo(self, service: str) -> list[Hit]:
        """What is found after an api_call whose answer repeats its credentials."""
        return self._hits(f"{service}/echo", LocalRunner(self.vectors, self.embedder), JobState.SUCCEEDED)

    def hits_of_a_fault(self) -> list[Hit]:
        """What is found after a stage that broke with the credential in its traceback."""
        return self._hits(
            "http://127.0.0.1/nowhere", LocalRunner(self.vectors, self.embedder, breaks=True), JobState.QUEUED
        )

    def _hits(self, url: str, runner: LocalRunner, state: JobState) -> list[Hit]:
        services, scope, made, log = self.services, self.scope, canary(next(_numbers)), io.StringIO()
        services.secrets.create(
            scope.organization, random_id(Prefix.SECRET), made.name, made.value, SecretLimits(), "k"
        )
        job = services.submission.submit(scope, _job(url, made.name))
        root = logging.getLogger()
        before, level = root.handlers, root.level
        configure_logs("DEBUG", "json", "worker", log)
        try:
            watch = LeaseWatch(services.settings.job_lease_seconds)
            JobDriver(services, watch, {JobKind.RETRIEVER: RetrieverExecutor(services, runner)}).drive(job.job_id)
        finally:
            root.handlers = before
            root.setLevel(level)
        ended = services.jobs.get(scope, job.job_id)
        assert ended.state == state, ended
        assert "job.driven" in log.getvalue()
        # the server has databases of other tests, which have hits of their own
        stored = [sink for sink in mongo(services.settings.mongo_url) if sink.name.startswith(services.database.name)]
        return search([Sink("log", "worker", log.getvalue().encode()), *stored], [made]).hits


_numbers = itertools.count()


def _job(url: str, secret_name: str) -> NewJob:
    auth = {"type": "api_key", "secret_ref": secret_name}
    stage = {"stage_id": "api_call", "parameters": {"url": url, "allowed_domains": ["127.0.0.1"], "auth": auth}}
    job_id = random_id(Prefix.TASK)
    spec = {
        "retriever_id": "ret_bench",
        "execution_id": execution_id_of(job_id),
        "inputs": {},
        "limit": 1,
        "stages": [each.to_stored() for each in parse_stages([stage])],
        "collection_ids": ["col_bench"],
        "caller": "k",
    }
    return NewJob(job_id=job_id, kind=JobKind.RETRIEVER, spec=spec, hold=0, request_id="req_bench")
