"""Runs a retriever job: one chain of stages on Ray, and its result stored before the job is decided."""

from core.bootstrap import Services
from core.credits.prices import MILLI, execution_price
from core.jobs.job import Decision, JobError, JobState
from core.vault.resolved import NO_SECRETS
from pipelines.runner import CallContext, Runner
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
        chain = self._runner.run_chain(
            CallContext(job.scope.namespace_id, job.job_id, job.request_id),
            spec["stages"],
            inputs=spec["inputs"],
            collection_ids=spec["collection_ids"],
            limit=spec["limit"],
            should_stop=watched.stop,
            secrets=NO_SECRETS,
            llm_budget=max(0, job.hold - price),
        )
        charge = price + chain.llm_charge
        result_id = f"{spec['execution_id']}.{job.fence}"
        self._services.executions.save(
            job.scope,
            result_id,
            {
                "execution_id": spec["execution_id"],
                "documents": chain.documents,
                "stage_statistics": {
                    "stages": chain.stage_statistics,
                    "total_time_ms": round(sum(facts["duration_ms"] for facts in chain.stage_statistics.values()), 2),
                },
                "credits_used": charge / MILLI,
            },
        )
        return Decision(
            JobState.PARTIAL if chain.exhausted else JobState.SUCCEEDED,
            charge=charge,
            result={"execution_doc": result_id, "document_count": len(chain.documents)},
            error=_EXHAUSTED if chain.exhausted else None,
        )


_EXHAUSTED = JobError("budget_exhausted", "The credits held for this execution ended before its stages did.")
