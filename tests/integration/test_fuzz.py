"""The served API held against its own document: schemathesis sends what the schemas allow, and what they do not.

`KEYSTAGE_FUZZ_EXAMPLES` is how many requests each operation gets with an admin's key, a tenth of them with every other
one, `KEYSTAGE_FUZZ_PHASES` of which kinds, and `KEYSTAGE_FUZZ_SEED` which ones: `make fuzz` sends 100 and 10 of all
kinds, others each time, which takes minutes. Without it the requests are the same each time.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from config.settings import Settings
from core.bootstrap import Services
from core.tenancy.permissions import Permission
from tests.integration.conftest import Tenant
from tests.integration.fuzz_records import configuration, doomed_records, known_records
from tests.servers import free_port, redis_server
from tests.tenants import new_key

ROOT = Path(__file__).parents[2]
EXAMPLES = int(os.environ.get("KEYSTAGE_FUZZ_EXAMPLES", "10"))
SEED = os.environ.get("KEYSTAGE_FUZZ_SEED", "1")
PHASES = os.environ.get("KEYSTAGE_FUZZ_PHASES", "examples,fuzzing")
_READY_SECONDS = 30.0


@pytest.fixture(scope="module")
def special_settings() -> dict[str, Any]:
    """Requests without a valid key are a part of the run, and all come from one address."""
    return {"auth_failures_source_burst": 1_000_000}


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis of this module's own: its many failed authentications would keep other tests out."""
    with redis_server(tmp_path_factory.mktemp("redis")) as redis:
        yield redis.url


@pytest.fixture(scope="module")
def api_url(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The API as it is run: granian, in a process of its own."""
    with _served(services.settings, tmp_path_factory.mktemp("api")) as url:
        yield url


# a hundred requests of each kind take minutes
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("permission", Permission)
def test_the_api_does_what_its_document_says(
    api_url: str, new_tenant: Callable[..., Tenant], tmp_path: Path, permission: Permission
) -> None:
    tenant = new_tenant()
    key = new_key(tenant.services, tenant.scope.organization, permission).text
    config = tmp_path / "schemathesis.toml"
    known = known_records(tenant)
    config.write_text((ROOT / "tests/integration/fuzz.toml").read_text() + configuration(known))
    run = subprocess.run(
        [
            str(Path(sys.executable).parent / "schemathesis"),
            "--config-file",
            str(config),
            "run",
            "--no-color",
            # how well requests can be made up is not what is tested
            "--suppress-health-check=all",
            f"--max-examples={EXAMPLES if permission is Permission.ADMIN else max(1, EXAMPLES // 10)}",
            f"--phases={PHASES}",
            f"--seed={SEED}",
            f"{api_url}/openapi.json",
        ],
        env={
            **os.environ,
            "KEYSTAGE_FUZZ_KEY": key,
            "KEYSTAGE_FUZZ_DOOMED": json.dumps(doomed_records(tenant, known)),
            "PYTHONPATH": str(ROOT),
            "SCHEMATHESIS_HOOKS": "tests.integration.fuzz_hooks",
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-20_000:] + run.stderr[-2_000:]


@contextmanager
def _served(settings: Settings, directory: Path) -> Iterator[str]:
    port = free_port()
    with (directory / "api.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "api.serve"], env=_environment(settings, port), cwd=directory, stdout=log, stderr=log
        )
        try:
            _wait_until_ready(f"http://127.0.0.1:{port}", process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(timeout=20)


def _environment(settings: Settings, port: int) -> Mapping[str, str]:
    """The settings of the test's own services, as another process reads them."""
    secrets = {
        f"KEYSTAGE_{name.upper()}": ",".join(one.get_secret_value() for one in getattr(settings, name))
        for name in ("vault_keys", "key_peppers", "audit_keys")
    }
    return {
        **os.environ,
        **secrets,
        "PYTHONPATH": str(ROOT),
        "KEYSTAGE_DATA": str(settings.data),
        "KEYSTAGE_MONGO_URL": settings.mongo_url,
        "KEYSTAGE_REDIS_URL": settings.redis_url,
        "KEYSTAGE_SYNC_WAIT_SECONDS": "0.05",
        "KEYSTAGE_AUTH_FAILURES_SOURCE_BURST": str(settings.auth_failures_source_burst),
        "KEYSTAGE_API_PORT": str(port),
    }


def _wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        try:
            if httpx.get(f"{url}/v1/health/readiness").status_code == 200:
                return
        except httpx.TransportError:
            pass
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the API did not become ready; exit code {process.poll()}")
        time.sleep(0.05)
