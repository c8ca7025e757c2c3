"""`keystage up`: runs the embedded stack in the foreground until Ctrl-C or SIGTERM, and leaves no process behind."""

import json
import os
import shlex
import sys
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import click
import structlog

from cli.stack.layout import DataDirectory, data_directory, write_json
from cli.stack.lock import RunningStack, StackLock
from cli.stack.plan import Plan, plan_stack
from cli.stack.process import Marks, end_all, kill_all
from cli.stack.ray import remove_ray_directory
from cli.stack.readiness import require_named
from cli.stack.stop_signal import StopSignal
from cli.stack.supervisor import Supervisor
from cli.stack.worker_watch import WorkerWatch
from config.logging_setup import configure_logging
from config.refusals import UnusableSettingsError
from config.settings import Settings, load_settings
from core.errors import KeystageError, UnavailableError
from core.storage.disk import in_words

_ORPHAN_SECONDS = 10.0
"""How long the processes of a supervisor that was killed may take to end."""
_ALREADY_RUNNING = 2


class Planner(Protocol):
    """Decides on a stack."""

    def __call__(self, settings: Settings, layout: DataDirectory, options: Collection[str] = ()) -> Plan:
        """`options`: the settings that the command line gave."""


log = structlog.get_logger(__name__)


def up_command(plan: Planner) -> click.Command:
    """The command that runs the stack which `plan` decides on."""

    @click.command()
    @click.option("--data", type=click.Path(path_type=Path), help="The stack's directory; .keystage by default.")
    @click.option(
        "--port",
        type=click.IntRange(0, 65535),
        help="The API's port, and no other; 0 for any. By default that of the last start, or the next free one from "
        "8080 on.",
    )
    def up(data: Path | None, port: int | None) -> None:
        """Run the whole embedded stack in the foreground.

        When everything works, one line of JSON with the addresses is printed; everything else goes to stderr.
        Ctrl-C stops every process, Ctrl-C again at once. A second start on the same data resumes.
        """
        given: dict[str, Any] = {"data": data, "api_port": port}
        options = {name: value for name, value in given.items() if value is not None}
        stop = StopSignal()
        try:
            settings = load_settings(**options)
            configure_logging(settings, "supervisor")
            stop.listen()
            sys.exit(_run_alone(settings, data_directory(settings.data), plan, options, stop))
        except (KeystageError, UnusableSettingsError) as error:
            raise click.ClickException(f"the stack did not start: {error}") from error
        except OSError as error:
            raise click.ClickException(f"the stack did not start: {in_words(error)}") from error

    return up


def _run_alone(
    settings: Settings, layout: DataDirectory, plan: Planner, options: Collection[str], stop: StopSignal
) -> int:
    """Run while holding the data directory's lock; the exit code."""
    try:
        layout.make()
    except OSError as error:
        raise UnavailableError(f"{layout.root} cannot hold the stack's data: {in_words(error)}") from error
    with StackLock(layout) as lock:
        other = lock.take()
        if other:
            click.echo(_already_running(other, layout), err=True)
            return _ALREADY_RUNNING
        require_named(settings)
        _forget(layout)
        _end_orphans(layout)
        try:
            _run(plan(settings, layout, options), layout, stop)
        finally:
            _forget(layout)
            remove_ray_directory(layout)
    return 0


def _run(plan: Plan, layout: DataDirectory, stop: StopSignal) -> None:
    watch = WorkerWatch(plan.database.worker_stalls)
    supervisor = Supervisor(layout, plan.services, watch)
    try:
        write_json(layout.settings, plan.settings.as_json())
        if supervisor.start(stop.stopping):
            line = asdict(plan.addresses)
            write_json(layout.ready, line)
            _say_ready(json.dumps(line), plan.addresses.api_url, layout)
            supervisor.watch(stop.stopping)
    finally:
        log.info("stack.stopping", hint="Ctrl-C again kills what is left at once")
        # before the servers end: a client that is closed after its server waits for it
        watch.close()
        plan.database.close()
        supervisor.stop(stop.at_once)


def _say_ready(line: str, api_url: str, layout: DataDirectory) -> None:
    try:
        click.echo(line)
    except OSError as error:
        # whoever read it is gone, or its disk is full: the stack runs, and stack.json says the same
        log.error("stack.ready_line_not_written", error=in_words(error))
        # what is left in the buffer is not tried again at the end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if sys.stderr.isatty():
        click.echo(_banner(api_url, layout), err=True)
    else:
        log.info("stack.ready", api_url=api_url)


def _banner(api_url: str, layout: DataDirectory) -> str:
    """What somebody who sits before the terminal wants to know now."""
    program = sys.argv[0] if sys.argv[0].endswith("keystage") else "keystage"
    where = "" if layout == data_directory(Path(".keystage")) else f"KEYSTAGE_DATA={shlex.quote(str(layout.root))} "
    return f"""
  Keystage is ready.

    API            {api_url}
    Documentation  {api_url}/docs
    Logs           {layout.logs}
    Next           {where}{program} org create --name Acme --email ops@acme.example
                   (in another terminal; it prints an API key, once)

  Ctrl-C stops everything; the data stays in {layout.root}.
"""


def _forget(layout: DataDirectory) -> None:
    """Remove what describes a running stack."""
    for path in (layout.ready, layout.settings):
        path.unlink(missing_ok=True)


def _end_orphans(layout: DataDirectory) -> None:
    """End what an earlier supervisor, itself killed, could not stop."""
    marks = Marks(layout)
    orphans = marks.processes()
    if orphans:
        # Ray keeps nothing on disk, and takes 30 s to end when all of it is asked at once
        kill_all(marks.processes("ray"))
        killed = end_all(marks.processes(), _ORPHAN_SECONDS)
        log.warning("stack.orphans_ended", pids=[each.pid for each in orphans], killed=[each.pid for each in killed])


def _already_running(other: RunningStack, layout: DataDirectory) -> str:
    where = f"its API is {other.api_url}" if other.api_url else "it is starting"
    return f"keystage up runs on {layout.root} already: process {other.pid}, {where}"


up = up_command(plan_stack)
