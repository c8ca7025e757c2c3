"""`keystage up`: runs the embedded stack in the foreground until Ctrl-C or SIGTERM, and leaves no process behind."""

import json
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

import click
import structlog
from pydantic import ValidationError
from pydantic_settings import SettingsError

from cli.stack.layout import DataDirectory, data_directory, write_json
from cli.stack.lock import RunningStack, StackLock
from cli.stack.plan import Plan, plan_stack
from cli.stack.process import Marks, end_all, kill_all
from cli.stack.ray import remove_ray_directory
from cli.stack.supervisor import Supervisor
from cli.stack.worker_watch import WorkerWatch
from config.logging_setup import configure_logging
from config.settings import Settings
from core.errors import KeystageError, UnavailableError

_ORPHAN_SECONDS = 10.0
"""How long the processes of a supervisor that was killed may take to end."""
_ALREADY_RUNNING = 2

Planner = Callable[[Settings, DataDirectory], Plan]

log = structlog.get_logger(__name__)


def up_command(plan: Planner) -> click.Command:
    """The command that runs the stack which `plan` decides on."""

    @click.command()
    @click.option("--data", type=click.Path(path_type=Path), help="The stack's directory; .keystage by default.")
    @click.option("--port", type=click.IntRange(1, 65535), help="The API's port; a free one by default.")
    def up(data: Path | None, port: int | None) -> None:
        """Run the whole embedded stack in the foreground.

        When everything works, one line of JSON with the addresses is printed; everything else goes to stderr.
        Ctrl-C stops every process. A second start on the same data resumes.
        """
        given: dict[str, Any] = {"data": data, "api_port": port}
        try:
            settings = Settings(**{name: value for name, value in given.items() if value is not None})
            configure_logging(settings, "supervisor")
            sys.exit(_run_alone(settings, data_directory(settings.data), plan))
        except (KeystageError, SettingsError, ValidationError) as error:
            raise click.ClickException(f"the stack did not start: {error}") from error

    return up


def _run_alone(settings: Settings, layout: DataDirectory, plan: Planner) -> int:
    """Run while holding the data directory's lock; the exit code."""
    try:
        layout.make()
    except OSError as error:
        raise UnavailableError(f"{layout.root} cannot hold the stack's data: {error}") from error
    with StackLock(layout) as lock:
        other = lock.take()
        if other:
            click.echo(_already_running(other, layout), err=True)
            return _ALREADY_RUNNING
        layout.ready.unlink(missing_ok=True)
        _end_orphans(layout)
        try:
            planned = plan(settings, layout)
            with closing(planned.database):
                _run(planned, layout, _stop_signal())
        finally:
            layout.ready.unlink(missing_ok=True)
            remove_ray_directory(layout)
    return 0


def _run(plan: Plan, layout: DataDirectory, stopping: threading.Event) -> None:
    supervisor = Supervisor(layout, plan.services, WorkerWatch(plan.database.worker_stalls))
    try:
        if supervisor.start(stopping):
            line = asdict(plan.addresses)
            write_json(layout.ready, line)
            click.echo(json.dumps(line))
            supervisor.watch(stopping)
    finally:
        supervisor.stop()


def _end_orphans(layout: DataDirectory) -> None:
    """End what an earlier supervisor, itself killed, could not stop."""
    marks = Marks(layout)
    orphans = marks.processes()
    if orphans:
        # Ray keeps nothing on disk, and takes 30 s to end when all of it is asked at once
        kill_all(marks.processes("ray"))
        killed = end_all(marks.processes(), _ORPHAN_SECONDS)
        log.warning("stack.orphans_ended", pids=[each.pid for each in orphans], killed=[each.pid for each in killed])


def _stop_signal() -> threading.Event:
    """An event that is set by Ctrl-C, SIGTERM or the terminal's end."""
    stopping = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopping.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    return stopping


def _already_running(other: RunningStack, layout: DataDirectory) -> str:
    where = f"its API is {other.api_url}" if other.api_url else "it is starting"
    return f"keystage up runs on {layout.root} already: process {other.pid}, {where}"


up = up_command(plan_stack)
