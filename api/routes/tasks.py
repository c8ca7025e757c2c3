"""Tasks: the jobs of an organization, or of one namespace when the caller names it."""

from api.call import Call, Reply
from api.pagination import page_request
from api.route import TASK, TASKS, NamespaceMode, Route
from api.schemas.paging import PagingQuery
from api.schemas.tasks import CancelledView, TaskFilter, TaskList, TaskView, show_task
from core.audit.actions import AuditAction
from core.limits.policy import RateClass
from core.tenancy.permissions import Operation, Permission


def get_task(call: Call) -> Reply:
    """One task."""
    return Reply(show_task(call.services.jobs.get(call.narrowest_scope, call.path["task_id"])))


def list_tasks(call: Call) -> Reply:
    """Tasks, newest first."""
    asked = call.parse_filter(TaskFilter)
    page = call.services.jobs.page(
        call.narrowest_scope, page_request(call), states=asked.states(), kinds=asked.kinds(), only=call.visible
    )
    return Reply(TaskList.of(page, show_task))


def cancel_task(call: Call) -> Reply:
    """Ask a task to stop. Foreign, absent and ended ones get the same answer, so that asking twice is no error."""
    call.services.submission.cancel(call.narrowest_scope, call.path["task_id"])
    return Reply(CancelledView(success=True, message="The task is stopped, if it was yours and under way."))


_ANY = NamespaceMode.OPTIONAL

ROUTES = (
    Route(
        "GET",
        "/v1/tasks/<task_id>",
        "tasks.get",
        get_task,
        Permission.READ,
        TASK,
        rate=RateClass.DATA,
        namespace=_ANY,
        answers={200: TaskView},
    ),
    Route(
        "POST",
        "/v1/tasks/list",
        "tasks.list",
        list_tasks,
        Permission.READ,
        TASKS,
        rate=RateClass.DATA,
        namespace=_ANY,
        body=TaskFilter,
        query=PagingQuery,
        answers={200: TaskList},
    ),
    Route(
        "DELETE",
        "/v1/tasks/<task_id>",
        "tasks.cancel",
        cancel_task,
        Permission.DELETE,
        TASK,
        operation=Operation.CANCEL_JOB,
        rate=RateClass.DATA,
        namespace=_ANY,
        audit=AuditAction.TASK_CANCELLED,
        answers={200: CancelledView},
    ),
)
