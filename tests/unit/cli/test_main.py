"""The `keystage` command is quick to show its help, and each subcommand it lists is there."""

import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from cli.main import COMMANDS, LazyGroup

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
