"""Runs a retriever job: one chain of stages on Ray, and its result stored before the job is decided.

Secrets are resolved here, for this one run, and taken out of all that comes back before any of it is stored.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from core.bootstrap import Services
from core.credits.prices import MILLI, execution_price
from core.jobs.job import Decision, Job, JobError, JobState
from core.retrievers.estimate import asks_with_default_key
from core.retrievers.parameters_search import MOST_DOCUMENTS
from core.retrievers.secret_places import with_default_credentials
from core.words import FIRST_FORM
from pipelines.runner import CallContext, Runner
from workers.secrets import job_secrets
from workers.watch import Watched


class RetrieverExecutor:
    """Executes retrievers."""

    def __init__(self, services: Services, runner: Runner) -> None:
        self._services = services
        self._runner = runner

    def run(self, watched: Watched) -> Decision:
        """Run the job's stages. The result stands under the fence's own id, so a late writer replaces nothing."""
        job = watched.lease.job
        spec = job.spec
        price = execution_price([stage["config"]["stage_id"] for stage in spec["stages"]])
        stages = self._with_defaults(job, spec["stages"], spec["inputs"])
        with job_secrets(self._services, job, stages) as secrets:
            chain = secrets.clean(
                self._runner.run_chain(
                    CallContext(job.scope.namespace_id, job.job_id, job.request_id, spec.get("index_form", FIRST_FORM)),
                    stages,
                    inputs=spec["inputs"],
                    collection_ids=spec["collection_ids"],
                    limit=spec["limit"],
                    should_stop=watched.stop,
                    secrets=secrets.resolved,
                    llm_budget=max(0, job.hold - price),
                    most_found=spec.get("most_found", MOST_DOCUMENTS),
                )
            )
        charge = price + chain.llm_charge
        result_id = f"{spec['execution_id']}.{job.fence}"
        result = {
            "execution_id": spec["execution_id"],
            "documents": chain.documents,
            "stage_statistics": {
                "stages": chain.stage_statistics,
                "total_time_ms": round(sum(facts["duration_ms"] for facts in chain.stage_statistics.values()), 2),
            },
            "credits_used": charge / MILLI,
        }
        # what the models said was paid for: it waits for MongoDB
        watched.patience.until_done(lambda: self._services.executions.save(job.scope, result_id, result))
        return Decision(
            JobState.PARTIAL if chain.exhausted else JobState.SUCCEEDED,
            charge=charge,
            result={"execution_doc": result_id, "document_count": len(chain.documents)},
            error=_EXHAUSTED if chain.exhausted else None,
        )

    def _with_defaults(
        self, job: Job, stages: Sequence[Mapping[str, Any]], inputs: Mapping[str, Any]
    ) -> Sequence[Mapping[str, Any]]:
        """The stages, those that name no key with the organization's own for their provider."""
        if not asks_with_default_key(stages):
            return stages
        organization = self._services.organizations.get(job.scope.organization)
        return with_default_credentials(stages, organization.default_llm_credentials, inputs, self._services.models)


_EXHAUSTED = JobError("budget_exhausted", "The credits held for this execution ended before its stages did.")
