"""Runs an ingestion job: each object of a batch through each collection's extractor, with a checkpoint per chunk.

A retried job repeats only the chunk that was under way, and repeating it overwrites the same documents.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.bootstrap import Services
from core.credits.prices import ingestion_price
from core.jobs.job import Decision, Job, JobError, JobState
from pipelines.runner import CallContext, ChunkResult, ObjectReport, Runner
from workers.watch import Watched

_FAILURES_SHOWN = 100
"""Failed objects named in a job's result; the counts cover all."""
_REPORTS_SHOWN = 100
"""Objects, incomplete ones first, of which a job's result says more; the counts cover all."""
_REPORT_COUNTS = ("objects_incomplete", "objects_with_faults", "objects_with_warnings")


@dataclass
class _Tally:
    """What a job has done so far, earlier attempts included."""

    done: set[str]
    documents: int
    reports: list[Mapping[str, Any]]
    """what there is to say of objects that were done, incomplete ones first"""
    incomplete: int
    faulty: int
    """of the incomplete ones, those a part of which could not be read"""
    warned: int
    failures: list[dict[str, Any]] = field(default_factory=list)

    @staticmethod
    def of(job: Job) -> "_Tally":
        """What earlier attempts have noted."""
        counts = [job.progress.get(name, 0) for name in ("documents_written", *_REPORT_COUNTS)]
        documents, incomplete, faulty, warned = counts
        return _Tally(set(job.done), documents, [*job.reports], incomplete, faulty, warned)

    def report(self, collection_id: str, reports: Sequence[ObjectReport]) -> None:
        """Count what objects of a chunk gave beside their documents."""
        self.incomplete += sum(report.is_incomplete for report in reports)
        self.faulty += sum(report.has_faults for report in reports)
        self.warned += sum(bool(report.warnings) for report in reports)
        told = [*self.reports, *(_report(collection_id, report) for report in reports)]
        self.reports = sorted(told, key=lambda report: not report["incomplete"])[:_REPORTS_SHOWN]

    @property
    def progress(self) -> dict[str, int]:
        """The counts as a checkpoint keeps them."""
        counts = zip(_REPORT_COUNTS, (self.incomplete, self.faulty, self.warned), strict=True)
        return {"documents_written": self.documents, "objects_succeeded": len(self.done), **dict(counts)}


class IngestionExecutor:
    """Ingests batches."""

    def __init__(self, services: Services, runner: Runner) -> None:
        self._services = services
        self._runner = runner

    def run(self, watched: Watched) -> Decision:
        """Extract what no earlier attempt has finished, then say how the whole batch ended."""
        job = watched.lease.job
        tally = _Tally.of(job)
        for collection_id, chunk in self._chunks(job, watched, tally):
            self._keep(watched, tally, collection_id, chunk)
        return _decision(tally)

    def _chunks(self, job: Job, watched: Watched, tally: _Tally) -> Iterator[tuple[str, ChunkResult]]:
        call = CallContext(job.scope.namespace_id, job.job_id, job.request_id)
        done = tally.done.union(job.spec.get("done_before", ()))
        for collection_id in job.spec["collection_ids"]:
            collection = self._services.collections.get(job.scope, collection_id)
            pending = [name for name in job.spec["object_ids"] if _piece(collection_id, name) not in done]
            objects, missing = self._services.buckets.object_references(job.scope, job.spec["bucket_id"], pending)
            for object_id in missing:
                tally.failures.append(_failure(collection_id, object_id, "object_missing", "The object was deleted."))
            for chunk in self._runner.extract(call, collection, objects, should_stop=watched.stop):
                yield collection_id, chunk

    def _keep(self, watched: Watched, tally: _Tally, collection_id: str, chunk: ChunkResult) -> None:
        """Store a chunk's documents, then checkpoint it: in this order, so that nothing is checkpointed unwritten."""
        scope = watched.lease.job.scope
        until_done, store = watched.patience.until_done, self._services.collections.replace_documents
        until_done(lambda: store(scope, collection_id, chunk.document_counts, chunk.documents))
        for failed in chunk.failures:
            tally.failures.append(_failure(collection_id, failed.object_id, failed.code, failed.message))
        pieces = [_piece(collection_id, object_id) for object_id in chunk.document_counts]
        tally.done.update(pieces)
        tally.documents += len(chunk.documents)
        tally.report(collection_id, chunk.reports)
        reports = tally.reports if chunk.reports else None
        until_done(lambda: watched.lease.checkpoint(pieces, tally.progress, reports))


def _piece(collection_id: str, object_id: str) -> str:
    return f"{collection_id}/{object_id}"


def _failure(collection_id: str, object_id: str, code: str, message: str) -> dict[str, Any]:
    return {"collection_id": collection_id, "object_id": object_id, "code": code, "message": message}


def _report(collection_id: str, report: ObjectReport) -> dict[str, Any]:
    return {
        "collection_id": collection_id,
        "object_id": report.object_id,
        "incomplete": report.is_incomplete,
        "texts_read": report.texts_read,
        "documents": report.documents,
        "not_read": [
            {"property": part.property, "code": part.code, "message": part.message} for part in report.not_read
        ],
        "warnings": [
            {"property": name, "code": remark.code, "message": remark.message, "count": remark.count}
            for name, remark in report.warnings
        ],
    }


def _decision(tally: _Tally) -> Decision:
    result: Mapping[str, Any] = {
        "documents_written": tally.documents,
        "objects_succeeded": len(tally.done),
        "objects_failed": len(tally.failures),
        "failed_objects": tally.failures[:_FAILURES_SHOWN],
        "objects_incomplete": tally.incomplete,
        "objects_with_warnings": tally.warned,
        "object_reports": tally.reports,
    }
    if not tally.done:
        first = tally.failures[0]
        error = JobError("all_objects_failed", f"No object could be ingested; the first: {first['message']}")
        return Decision(JobState.FAILED, result=result, error=error)
    outcome = JobState.PARTIAL if tally.failures or tally.faulty else JobState.SUCCEEDED
    return Decision(outcome, charge=ingestion_price(len(tally.done)), result=result)
