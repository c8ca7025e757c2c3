"""A program is not started for a supervisor that is gone already."""

import os
import subprocess
import sys

from cli.stack import launch


def test_the_launcher_becomes_the_program_of_a_living_supervisor() -> None:
    done = _launch(supervisor=os.getpid())
    assert (done.returncode, done.stdout) == (0, "started\n")


def test_the_launcher_starts_nothing_for_another_parent() -> None:
    done = _launch(supervisor=1)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "the supervisor is gone\n")


def _launch(supervisor: int) -> "subprocess.CompletedProcess[str]":
    command = (sys.executable, "-I", "-S", launch.__file__, str(supervisor), "/bin/echo", "started")
    return subprocess.run(command, capture_output=True, text=True, check=False)
