"""What Ray is told by its environment, in our processes and in its own alike. Values only."""

from collections.abc import Mapping
from typing import Final

_IN_ANSWER_BYTES = 200 * 1024 * 1024

IN_ANSWERS: Final[Mapping[str, str]] = {
    "RAY_max_direct_call_object_size": str(_IN_ANSWER_BYTES),
    "RAY_task_rpc_inlined_bytes_limit": str(_IN_ANSWER_BYTES),
}
"""What is smaller travels within a call or its answer. Beyond that Ray uses its object store: that keeps a caller
waiting while its raylet is frozen, and ends the caller's process when its raylet died."""
NEVER_LEAVE: Final[Mapping[str, str]] = {"RAY_gcs_rpc_server_reconnect_timeout_s": str(10**7)}
"""Ray would end a worker, with all jobs in it, when its head is away for a minute."""
