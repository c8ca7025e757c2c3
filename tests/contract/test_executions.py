"""Results of executions on a real database."""

import pytest

from core.errors import StageError
from core.retrievers.executions import ExecutionStore
from core.storage.handles import Handles
from core.storage.scope import NamespaceScope
from tests.lost_answers import lost_answer


@pytest.mark.parametrize("landed", [False, True])
def test_a_broken_connection_costs_no_result(handles: Handles, scope: NamespaceScope, landed: bool) -> None:
    store = ExecutionStore(handles)
    with lost_answer("executions", "bulk_write", landed=landed):
        store.save(scope, "exec_1.1", {"documents": [1]})
    kept = store.get(scope, "exec_1.1")
    assert kept
    assert kept["documents"] == [1]


def test_a_result_that_a_record_cannot_hold_fails_the_job_with_a_word_to_the_customer(
    handles: Handles, scope: NamespaceScope
) -> None:
    # as JSON it is small; MongoDB needs eleven bytes for each number
    with pytest.raises(StageError, match="fewer documents"):
        ExecutionStore(handles).save(scope, "exec_1.1", {"documents": [{"numbers": [1] * 1_600_000}]})
