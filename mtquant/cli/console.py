# SPDX-License-Identifier: Apache-2.0
"""What the commands share on the terminal: plain lines, progress bars, a word when interrupted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


def say(console: Console, text: str, style: str | None = None) -> None:
    """Prints a line as it is: a hash or a path in a pipe is neither wrapped nor read as markup."""
    console.print(text, style=style, soft_wrap=True, markup=False, highlight=False)


def progress_bars(console: Console) -> Progress:
    """Bars with steps, speed (field `rate`) and time left."""
    return Progress(
        TextColumn("{task.description:<20}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=console,
    )


class Lines:
    """What is done, a line now and then, where the output is no terminal and shows no bars.

    Args:
        console: The output.
        every_seconds: At least so long between two lines.
    """

    def __init__(self, console: Console, every_seconds: float = 60.0) -> None:
        self._console, self._every = console, every_seconds
        self._next = 0.0

    def tell(self, text: str) -> None:
        """Prints the line if it is time."""
        now = time.monotonic()
        if not self._console.is_terminal and now >= self._next:
            say(self._console, text)
            self._next = now + self._every


@contextmanager
def interruptible(kept: str) -> Iterator[None]:
    """Ends the command with exit code 130 and says what is `kept` when the user presses Ctrl-C.

    Typer would end it in silence.
    """
    try:
        yield
    except KeyboardInterrupt:
        typer.secho(f"interrupted; {kept}", fg=typer.colors.YELLOW, err=True)
        raise typer.Exit(130) from None
