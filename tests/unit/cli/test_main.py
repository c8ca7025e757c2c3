"""The `keystage` command is quick to show its help, and each subcommand it lists is there."""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from cli.main import COMMANDS, LazyGroup
from config.version import VERSION

ROOT = Path(__file__).parents[3]

_LISTS_ITS_MODULES = """
import sys
from cli.main import COMMANDS, LazyGroup
LazyGroup(COMMANDS, "").main(["--help"], standalone_mode=False)
print(",".join(sys.modules), file=sys.stderr)
"""


def test_the_help_lists_each_command_and_imports_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", _LISTS_ITS_MODULES], capture_output=True, text=True, check=True)
    for name in COMMANDS:
        assert f"  {name} " in done.stdout
    imported = set(done.stderr.split(","))
    assert not imported & {"ray", "pymongo", "redis", "pydantic", "structlog", "psutil", "httpx", "asyncio", "cli.up"}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_listed_command_is_a_command(name: str) -> None:
    group = LazyGroup(COMMANDS, "")
    assert isinstance(group.get_command(click.Context(group), name), click.Command)


def test_an_unknown_command_is_refused() -> None:
    group = LazyGroup(COMMANDS, "")
    assert group.get_command(click.Context(group), "down") is None


def operators_commands(group: click.Group, before: str = "") -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from operators_commands(command, f"{before}{name} ")
        elif f"{before}{name}" not in {"up", "demo"}:
            yield f"{before}{name}", command


def test_every_command_of_an_operator_takes_json() -> None:
    found = {
        words: {option for parameter in command.params for option in parameter.opts}
        for words, command in operators_commands(LazyGroup(COMMANDS, ""))
    }
    assert {"org create", "jobs retry", "audit verify", "doctor"} < found.keys()
    assert [words for words, options in found.items() if "--json" not in options] == []


@pytest.mark.parametrize(
    ("words", "meant"),
    [(["jbos", "list"], "jobs"), (["doctr"], "doctor"), (["setings"], "settings"), (["jobs", "lst"], "list")],
)
def test_a_mistyped_command_is_answered_with_its_nearest(words: list[str], meant: str) -> None:
    done = CliRunner().invoke(LazyGroup(COMMANDS, ""), words)
    assert done.exit_code == 2
    assert f"Did you mean '{meant}'?" in done.stderr


def test_the_version_is_that_of_the_project() -> None:
    done = CliRunner().invoke(LazyGroup(COMMANDS, ""), ["--version"])
    assert (done.exit_code, done.stdout) == (0, f"keystage {VERSION}\n")
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == VERSION


def test_a_command_whose_library_is_not_installed_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "cli.up", raising=False)
    for name in [name for name in sys.modules if name.startswith("cli.stack.")]:
        monkeypatch.delitem(sys.modules, name)
    # as in the image
    monkeypatch.setitem(sys.modules, "psutil", None)
    done = CliRunner().invoke(LazyGroup(COMMANDS, ""), ["up"])
    assert done.exit_code == 1
    assert done.stderr == (
        "Error: `keystage up` needs psutil, which is not installed here: it comes with the extra `embedded`\n"
    )


def test_a_module_of_ours_that_is_not_there_is_a_fault_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(COMMANDS, "broken", ("cli.operators.gone:gone", "Not there."))
    done = CliRunner().invoke(LazyGroup(COMMANDS, ""), ["broken"])
    assert isinstance(done.exception, ModuleNotFoundError)


def test_the_image_has_the_command_on_its_path(tmp_path: Path) -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    made = re.search(r"^RUN (printf '.*' > (/opt/keystage/bin/keystage)) && chmod 755 \2$", dockerfile, re.MULTILINE)
    assert made
    assert "ENV PATH=/opt/keystage/bin:$PATH" in dockerfile
    script = tmp_path / "keystage"
    subprocess.run(["sh", "-c", made[1].replace(made[2], str(script))], check=True)
    environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["sh", str(script), "--version"], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == f"keystage {VERSION}\n"


_INTERRUPTED = """
import os, signal, sys
import cli.main

class Slow(dict):
    def __getitem__(self, name):
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("still here")

cli.main.COMMANDS = Slow(up=None)
sys.argv = ["keystage", "up"]
cli.main.main()
"""


def test_ctrl_c_while_a_command_is_imported_leaves_no_traceback() -> None:
    done = subprocess.run([sys.executable, "-c", _INTERRUPTED], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (-2, "")


@pytest.mark.parametrize("arguments", [["models"], ["models", "--json"], ["--help"]])
def test_an_answer_that_cannot_be_written_is_one_sentence(arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "cli.main", *arguments]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr == "Error: the answer was not written: No space left on device\n"


def test_a_letter_that_the_terminal_cannot_show_is_shown_by_its_number() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "KEYSTAGE_DATA": "/srv/\u00e9"}
    command = [sys.executable, "-m", "cli.main", "settings", "--changed"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "/srv/\\xe9" in done.stdout
