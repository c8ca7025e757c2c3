"""Tells the demo's story: a line for each thing that happened, a bar for what takes time. Decides nothing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn


class Narrator:
    """Speaks to a person on stderr, so that stdout stays free for `--json`."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)

    def chapter(self, title: str) -> None:
        """What comes next."""
        self._console.print(f"\n[bold]{title}[/bold]")

    def held(self, text: str) -> None:
        """Something that was to be shown, and held."""
        self._console.print(f"  [green]✓[/green] {text}")

    def say(self, text: str) -> None:
        """A line of explanation; printed as it is."""
        self._console.print(f"    {text}", markup=False, soft_wrap=True)

    @contextmanager
    def bar(self, what: str, total: int | None) -> Iterator[Callable[[int], None]]:
        """A progress bar; the given function moves it to a count."""
        columns = (
            TextColumn("    {task.description}"),
            BarColumn(),
            TextColumn("{task.completed}"),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self._console, transient=True) as progress:
            task = progress.add_task(what, total=total)
            yield lambda done: progress.update(task, completed=done)
