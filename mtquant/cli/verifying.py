# SPDX-License-Identifier: Apache-2.0
"""`mtquant verify`: a table of checks, what failed in words, and where ``verify.json`` lies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.table import Table

from mtquant.cli.console import interruptible, say
from mtquant.cli.settings import backtest_settings
from mtquant.core.config import Config
from mtquant.data.instruments import load_instruments

if TYPE_CHECKING:
    from mtquant.workflows.verify.record import VerifyReport

STYLES = {"passed": "green", "failed": "bold red", "not checked": "yellow"}
FAILED = 1  # the exit code


def run(
    models: Path,
    config_path: Path | None,
    instruments_path: Path | None,
    overrides: list[str],
    cuts: int,
    seed: int,
    full: bool,
) -> None:
    """Verifies a folder as the flags say.

    Raises:
        typer.Exit: With code 1 where a check failed.
    """
    console = Console()
    config, origin = backtest_settings(config_path, models, overrides)
    say(console, f"configuration {origin}")
    with interruptible("nothing was written"):
        report = _verified(models, config, instruments_path, (cuts, seed, full), console)
    path = report.save(models)
    show(report, console)
    say(console, f"written       {path}")
    if not report.passed:
        raise typer.Exit(FAILED)


def _verified(
    models: Path,
    config: Config,
    instruments_path: Path | None,
    effort: tuple[int, int, bool],
    console: Console,
) -> VerifyReport:
    from mtquant.workflows.verify import Effort, Subject, verify  # slow to import

    cuts, seed, full = effort
    with console.status("") as status:

        def watch(what: str, done: int, total: int) -> None:
            status.update(f"{done} of {total} checks: {what}")

        subject = Subject.load(models, config, load_instruments(instruments_path))
        return verify(subject, Effort(cuts=cuts, seed=seed), full=full, watch=watch)


def show(report: VerifyReport, console: Console) -> None:
    """The table, then every finding of what failed."""
    table = Table(title=f"verify {report.subject}", title_justify="left", show_lines=True)
    for heading in ("check", "verdict", "finding"):
        table.add_column(heading, overflow="fold")
    for record in report.records:
        style = STYLES[record.verdict]
        table.add_row(record.name, f"[{style}]{record.verdict}[/]", _plain(record.finding))
    console.print(table)
    for record in report.records:
        if record.verdict == "failed":
            say(console, f"\n{record.name}", STYLES["failed"])
            for finding in record.findings:
                say(console, f"  {finding}")
            say(console, f"  {record.remedy}")
    failed, total = len(report.failed), len(report.records)
    unchecked = sum(record.verdict == "not checked" for record in report.records)
    say(
        console,
        f"\n{total - failed - unchecked} passed, {failed} failed, {unchecked} not checked",
        STYLES["failed" if failed else "passed"],
    )


def _plain(text: str) -> str:
    """Text that rich must not read as markup."""
    from rich.markup import escape

    return escape(text)
