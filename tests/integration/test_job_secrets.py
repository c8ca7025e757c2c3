"""A job's secrets in the worker: collected from its stages, resolved for its own organization, filtered from all that
the stages give back."""

import base64
from typing import Any

import pytest

from core.errors import SecretUnusableError, StageError, UnavailableError
from core.ids import Prefix, random_id
from core.jobs.job import Job, JobKind, NewJob
from core.vault.redaction import MASK
from core.vault.secret import SecretLimits
from pipelines.runner import ChainResult
from tests.integration.conftest import Tenant
from workers.secrets import job_secrets

VALUE = "sk-proj-of-the-customer"
ENCODED = base64.b64encode(f"user:{VALUE}".encode()).decode()


def stage(**parameters: Any) -> dict[str, Any]:
    return {"stage_name": "s", "config": {"stage_id": "llm_enrich", "parameters": parameters}}


STAGES = [stage(provider="openai", api_key="{{secrets.k}}")]


def submitted(tenant: Tenant, caller: str | None = "key_1") -> Job:
    """A job of the tenant, as intake records it."""
    spec = {"stages": STAGES, **({"caller": caller} if caller else {})}
    new = NewJob(random_id(Prefix.TASK), JobKind.RETRIEVER, spec, 10, "req_1")
    return tenant.services.submission.submit(tenant.scope, new)


def store(tenant: Tenant, name: str = "k", value: str = VALUE, **limits: Any) -> None:
    tenant.services.secrets.create(tenant.scope, random_id(Prefix.SECRET), name, value, SecretLimits(**limits))


def test_a_result_loses_what_was_resolved_for_it(tenant: Tenant) -> None:
    store(tenant)
    job = submitted(tenant)
    with job_secrets(tenant.services, job, STAGES) as secrets:
        assert secrets.resolved.meant_by("{{secrets.k}}").value == VALUE
        echoed = [{"document_id": "d", "text": f"key {VALUE}", VALUE: [ENCODED], "score": 0.5}]
        clean = secrets.clean(ChainResult(echoed, {"s": {"error": f"401 for {VALUE}", "input_count": 1}}))
    assert clean.documents[0]["text"] == f"key {MASK}"
    assert clean.documents[0]["score"] == 0.5
    assert clean.stage_statistics == {"s": {"error": f"401 for {MASK}", "input_count": 1}}
    assert VALUE not in repr(clean)
    assert ENCODED not in repr(clean)
    assert VALUE not in repr(secrets)


def test_errors_lose_it_too_and_stay_what_they_are(tenant: Tenant) -> None:
    store(tenant)
    job = submitted(tenant)
    for kind in (StageError, UnavailableError):
        with pytest.raises(kind) as failed, job_secrets(tenant.services, job, STAGES):
            raise kind(f"the provider said {VALUE}", header=ENCODED) from ValueError(VALUE)
        assert failed.value.message == f"the provider said {MASK}"
        assert MASK in failed.value.details["header"]
        assert VALUE not in f"{failed.value!r} {failed.value} {failed.value.args} {failed.value.details}"
        assert failed.value.__suppress_context__
        assert failed.value.__cause__ is None
    with pytest.raises(RuntimeError) as broken, job_secrets(tenant.services, job, STAGES):
        raise ZeroDivisionError(f"with {VALUE}")
    assert str(broken.value) == f"ZeroDivisionError: with {MASK}"


def test_a_missing_secret_fails_before_any_stage_runs(tenant: Tenant, new_tenant: Any) -> None:
    store(new_tenant())
    ran = []
    with pytest.raises(SecretUnusableError) as refused, job_secrets(tenant.services, submitted(tenant), STAGES):
        ran.append(True)
    assert (refused.value.code, ran) == ("secret_missing", [])


def test_a_host_that_was_refused_at_the_stage_is_counted_and_recorded(tenant: Tenant) -> None:
    store(tenant, allowed_hosts=("api.openai.com",))
    job = submitted(tenant)
    with pytest.raises(SecretUnusableError) as refused, job_secrets(tenant.services, job, STAGES) as secrets:
        secrets.resolved.meant_by("{{secrets.k}}").for_host("evil.example.com")
    assert refused.value.code == "secret_host_mismatch"
    tenant.services.secret_use.write()
    secret = tenant.services.secrets.get(tenant.scope, "k")
    moment = tenant.services.clock.now()
    pattern = tenant.services.secret_access.pattern(tenant.scope, secret.secret_id, moment)
    assert pattern.total("outcomes") == {"used": 1, "secret_host_mismatch": 1}
    assert pattern.total("callers") == {"key_1": 2}
    assert pattern.total("hosts") == {"api.openai.com": 2}


def test_a_job_without_references_needs_no_vault(tenant: Tenant) -> None:
    before = tenant.services.audit.count(tenant.scope.organization)
    with job_secrets(tenant.services, submitted(tenant, caller=None), [stage(prompt="no")]) as secrets:
        assert secrets.resolved.values == []
        result = ChainResult([{"a": 1}], {})
        assert secrets.clean(result) == result
    assert tenant.services.audit.count(tenant.scope.organization) == before
