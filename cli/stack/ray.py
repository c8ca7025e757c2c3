"""Runs Ray as one of the embedded stack's servers: on 127.0.0.1, with a token, in a short directory of its own.

It never uses `ray stop`, which would take every Ray on the machine.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from cli.stack.keys import ROOT_KEY_VARIABLES
from cli.stack.layout import DataDirectory, read_json, write_json
from core.language_models.catalogue import LlmProvider
from pipelines.ray_variables import IN_ANSWERS

SERVICE = "ray"
PORT_NAMES = ("ray", "ray_node", "ray_objects", "ray_client", "ray_agent", "ray_environments")
_WAYS_TO_SECRETS = "KEYSTAGE_SECRETS_"
_OBJECT_STORE_BYTES = 300_000_000

RAY_LIMITS = {
    # what Ray remembers of past tasks for its own tools, 100,000 by default: the worker's probes alone fill it up
    "RAY_task_events_max_num_task_in_gcs": "200",
    # and the ids of those that it forgot, of which it would keep a million for each job
    "RAY_task_events_max_dropped_task_attempts_tracked_per_job_in_gcs": "1000",
    **IN_ANSWERS,
}
"""What every process of Ray is told, wherever it is started."""
NO_PORT = 65536
"""The port of Ray's API server, which cannot start there. Without a dashboard it only asks the cloud's metadata address
where it is, and tells Ray's authors that usage statistics are off. No flag of Ray prevents either."""


def ray_command(ports: Mapping[str, int], directory: Path) -> tuple[str, ...]:
    """`ray start` with a block of ports for this stack; worker processes take any free port."""
    options = {
        "node-ip-address": "127.0.0.1",
        "port": ports["ray"],
        "node-manager-port": ports["ray_node"],
        "object-manager-port": ports["ray_objects"],
        "ray-client-server-port": ports["ray_client"],
        "dashboard-agent-listen-port": ports["ray_agent"],
        "runtime-env-agent-port": ports["ray_environments"],
        "min-worker-port": 0,
        "max-worker-port": 0,
        "num-cpus": os.cpu_count(),
        "object-store-memory": _OBJECT_STORE_BYTES,
        "temp-dir": directory,
        "include-dashboard": "false",
        "dashboard-port": NO_PORT,
        "include-log-monitor": "false",
    }
    flags = ("--head", "--block", "--no-monitor", "--disable-usage-stats")
    program = Path(sys.executable).parent / "ray"
    return (str(program), "start", *flags, *(f"--{name}={value}" for name, value in options.items()))


_PROVIDER_KEYS = frozenset(f"KEYSTAGE_{provider.upper()}_API_KEY" for provider in LlmProvider)


def ray_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of Ray and all it starts: with its token, and without any root key or provider's key.

    Ray nodes run the stages of every customer. A worker hands over what a call needs.
    """
    hidden = (*ROOT_KEY_VARIABLES, *_PROVIDER_KEYS, _WAYS_TO_SECRETS)
    return {
        **{name: value for name, value in environment.items() if not name.startswith(hidden)},
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": environment["KEYSTAGE_RAY_AUTH_TOKEN"],
        **RAY_LIMITS,
        # despite its name it decides on Linux too: without it 127.0.0.1 is replaced by the machine's
        # own address, and Ray listens on every interface
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        # otherwise SIGTERM first waits up to 30 s for work that nobody gives any more
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
        # stages run side by side already; more threads than cores only get in each other's way
        "OPENBLAS_NUM_THREADS": "1",
    }


def make_ray_directory(layout: DataDirectory) -> Path:
    """A directory for Ray's sockets, whose paths must stay under 107 bytes; DATA may lie too deep for them."""
    remove_ray_directory(layout)
    directory = Path(tempfile.mkdtemp(prefix="ks-", dir="/tmp"))
    write_json(layout.ray, {"directory": str(directory)})
    return directory


def empty_ray_directory(directory: Path) -> None:
    """Forget the session of a Ray that died, so that the next one starts clean."""
    shutil.rmtree(directory)
    directory.mkdir(mode=0o700)


def read_ray_directory(layout: DataDirectory) -> Path | None:
    """The directory of the running Ray, or of one that was not stopped in order."""
    recorded = read_json(layout.ray)
    return Path(recorded["directory"]) if recorded else None


def remove_ray_directory(layout: DataDirectory) -> None:
    """Remove the directory that the last start recorded, if there is one."""
    directory = read_ray_directory(layout)
    if directory is None:
        return
    # a restarted machine comes with an empty /tmp
    if directory.exists():
        shutil.rmtree(directory)
    layout.ray.unlink()
