"""Who may open connections: every module that can is named here, with the guard it goes through."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[3]
CAN_CALL_OUT = frozenset(
    {"aiohttp", "httpx", "httpx2", "httpcore", "httpcore2", "requests", "urllib3", "http", "socket", "ssl"}
    | {"openai", "anthropic", "google", "ftplib", "smtplib", "websockets"}
)
ALLOWED = {
    # the guards themselves
    "core/egress/connector.py",
    "core/egress/fetch.py",
    "core/egress/one_answer.py",
    "core/egress/transport.py",
    # hosts that customers name, through the guards
    "workers/sender.py",
    "pipelines/stages/api_call.py",
    # base URLs that the operator sets
    "pipelines/embedders/openai_compatible.py",
    "pipelines/llm/anthropic.py",
    "pipelines/llm/google.py",
    "pipelines/llm/http.py",
    "pipelines/llm/openai.py",
    # this machine's own name, and servers of the operator's
    "core/backends/absence.py",
    "core/storage/object_stores.py",
    "core/storage/vectors/http.py",
    "core/vault/kek_aws.py",
    "core/vault/kek_remote.py",
    "api/openapi/answers.py",
    "core/vault/kek_google.py",
    "core/vault/kek_vault_transit.py",
    "core/storage/exposure.py",
    "core/storage/redis.py",
    "core/storage/vectors/server.py",
    "core/jobs/doorbell.py",
    "pipelines/ray_probe.py",
    "workers/dispatcher.py",
    "workers/drive_job.py",
    "workers/sweeper.py",
    "workers/worker.py",
}


def test_nothing_else_opens_connections() -> None:
    found = {
        str(path.relative_to(ROOT))
        for room in ("api", "core", "pipelines", "workers")
        for path in (ROOT / room).rglob("*.py")
        if _imported(path) & CAN_CALL_OUT
    }
    assert found <= ALLOWED, f"goes around the egress guard: {sorted(found - ALLOWED)}"
    assert {"core/egress/transport.py", "pipelines/stages/api_call.py"} <= found


def test_a_stage_gets_its_connections_from_the_guard_only() -> None:
    text = (ROOT / "pipelines/stages/api_call.py").read_text()
    assert "outbound_client(context.egress)" in text
    assert "httpx2.Client(" not in text


def _imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.partition(".")[0])
    return names
