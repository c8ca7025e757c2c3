"""A batch: objects of one bucket and the collections they go through. Its status is its job's, never a copy. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.ids import Prefix, derived_id


@dataclass(frozen=True)
class Batch:
    """What is ingested together."""

    batch_id: str
    bucket_id: str
    object_ids: tuple[str, ...]
    collection_ids: tuple[str, ...]
    batch_name: str | None
    metadata: Mapping[str, Any]
    created_at: datetime

    @property
    def task_id(self) -> str:
        """The one job that this batch may become: whoever submits it again, or at the same time, names the same."""
        return derived_id(Prefix.TASK, self.batch_id)
