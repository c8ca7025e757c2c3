"""`keystage up` with a small plan, for tests of the supervisor: the real Redis, plain programs for our own processes.

The plan is the only difference; supervisor, lock, ports, keys and processes are the real ones.
"""

import dataclasses
import os
import sys
from collections.abc import Collection
from pathlib import Path

import click

from cli.stack.layout import DataDirectory
from cli.stack.plan import Plan, plan_stack
from cli.stack.services import Service
from cli.up import up_command
from config.settings import Settings

_STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('stubborn', flush=True); time.sleep(600)"
)
_WITH_CHILD = (
    "import subprocess, sys, time; "
    # in a session of its own, as Ray's workers are
    "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True); "
    "time.sleep(600)"
)
_BROKEN = "import sys; print('no such planet'); sys.exit(3)"
_SILENT = "silent"
"""one that never works"""
_WORKERS = {"with_child": _WITH_CHILD, "stubborn": _STUBBORN, "broken": _BROKEN, _SILENT: _STUBBORN}


def small_plan(settings: Settings, layout: DataDirectory, options: Collection[str] = ()) -> Plan:
    """Redis, an HTTP server as the API, and the worker that SMALL_STACK_WORKER names."""
    whole = plan_stack(settings, layout, options)
    by_name = {service.name: service for service in whole.services}
    script = _WORKERS[os.environ.get("SMALL_STACK_WORKER", "with_child")]
    worker = _worker(by_name["worker"], script)
    if os.environ.get("SMALL_STACK_WORKER") == _SILENT:
        worker = dataclasses.replace(worker, works=lambda _pid: False)
    services = (by_name["redis"], _api(by_name["api"], layout.root), worker)
    return dataclasses.replace(whole, services=services)


def _api(service: Service, root: Path) -> Service:
    folder = root / "web" / "v1" / "health"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "readiness").write_text("{}")
    port = service.environment["KEYSTAGE_API_PORT"]
    command = (sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "--directory", str(root / "web"), port)
    # it has no database to look at
    return dataclasses.replace(service, command=command, before_first=lambda: None)


def _worker(service: Service, script: str) -> Service:
    return dataclasses.replace(
        service,
        command=(sys.executable, "-c", script),
        works=lambda _pid: True,
        stop_seconds=float(os.environ.get("SMALL_STACK_PATIENCE", "1")),
    )


if __name__ == "__main__":
    click.Group(commands={"up": up_command(small_plan)})()
