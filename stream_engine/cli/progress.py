"""A progress bar with a rate, on stderr.

I know nothing of what is counted. Where stderr is no terminal nothing is shown.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class Bar:
    """One line of progress."""

    def __init__(self, progress: Progress, what: str) -> None:
        self._progress = progress
        self._task = progress.add_task(what, total=None)
        self._others: dict[str, TaskID] = {}

    def expect(self, total: int) -> None:
        """How many there are to do."""
        self._progress.update(self._task, total=total)

    def advance(self, num: int) -> None:
        """So many more are done."""
        self._progress.advance(self._task, num)

    def advance_other(self, what: str, num: int) -> None:
        """So many more are done of something else, whose line comes with its first."""
        if what not in self._others:
            self._others[what] = self._progress.add_task(what, total=None)
        self._progress.advance(self._others[what], num)


class _Rate(ProgressColumn):
    """Done in a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s", style="progress.data.speed")


@contextmanager
def shown_progress(what: str, is_shown: bool = True) -> Iterator[Bar]:
    """A bar for the length of the block."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate())
    with Progress(
        *columns,
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not (is_shown and console.is_terminal),
        transient=True,
    ) as progress:
        yield Bar(progress, what)
