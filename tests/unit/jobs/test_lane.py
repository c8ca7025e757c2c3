"""Each kind of job has one lane, and each lane a queue of its own."""

from core.jobs.job import JobKind
from core.jobs.lane import LANE_BY_QUEUE, Lane, lane_of


def test_what_somebody_waits_for_runs_apart_from_all_others() -> None:
    assert {kind: lane_of(kind) for kind in JobKind} == {
        JobKind.RETRIEVER: Lane.INTERACTIVE,
        JobKind.INGESTION: Lane.BATCH,
        JobKind.NAMESPACE_DELETION: Lane.BATCH,
        JobKind.INDEX_REBUILD: Lane.BATCH,
    }


def test_the_lanes_share_no_kind_and_leave_none_out() -> None:
    assert sorted(kind for lane in Lane for kind in lane.kinds) == sorted(JobKind)


def test_the_queues_are_named_as_operators_see_them() -> None:
    assert LANE_BY_QUEUE == {"keystage.interactive": Lane.INTERACTIVE, "keystage.batch": Lane.BATCH}
