"""Secrets of one retriever job: collected from its stored stages, resolved at the last moment, and taken out again of
whatever the stages give back. It stores no value and logs none."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from config.settings import Settings
from core.bootstrap import Services
from core.errors import SecretUnusableError
from core.jobs.job import Job
from core.retrievers.secret_places import secret_names
from core.vault.redaction import Redactor
from core.vault.resolved import ResolvedSecrets
from core.vault.resolver import UsedBy
from pipelines.runner import ChainResult, llm_settings
from workers.destinations import UNKNOWN, destinations


@dataclass(frozen=True)
class JobSecrets:
    """What a job's stages may use, and the filter for what they give back."""

    resolved: ResolvedSecrets
    redactor: Redactor

    def clean(self, result: ChainResult) -> ChainResult:
        """The result without any value that was resolved for it. Nothing of it may be stored before this."""
        return replace(
            result,
            documents=self.redactor.json(result.documents),
            stage_statistics=self.redactor.json(result.stage_statistics),
        )


@contextmanager
def job_secrets(services: Services, job: Job, stages: Sequence[Mapping[str, Any]]) -> Iterator[JobSecrets]:
    """Resolve what the stages name; errors that leave the block have lost every value that was resolved.

    Raises SecretUnusableError, and UnavailableError when a use cannot be recorded or a key not be reached.
    """
    used_by = UsedBy(
        caller=str(job.spec.get("caller", UNKNOWN)),
        job_id=job.job_id,
        request_id=job.request_id,
        hosts=destinations(stages, job.spec.get("inputs", {}), _base_urls(services.settings), services.models),
    )
    resolved = services.resolver.resolve(job.scope, secret_names(stages), used_by)
    redactor = Redactor(resolved.values)
    try:
        yield JobSecrets(resolved, redactor)
    except SecretUnusableError as error:
        # decided where the request was to leave: the host was not one of the secret's
        services.resolver.note_denied(job.scope, error, used_by)
        raise
    except Exception as error:
        if redactor.is_idle:
            raise
        # a fault of ours is logged in full
        raise redactor.error(error) from None


def _base_urls(settings: Settings) -> dict[str, str]:
    return {name: provider.base_url for name, provider in llm_settings(settings).providers.items()}
