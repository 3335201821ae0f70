# SPDX-License-Identifier: Apache-2.0
"""``--mode eval``: what each phase is worth on the test period, as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from mtquant.cli.console import interruptible, say
from mtquant.cli.settings import backtest_settings
from mtquant.core.config import Config
from mtquant.data.instruments import Instrument, load_instruments

if TYPE_CHECKING:
    from mtquant.evaluation.sections import Section


def evaluate_folders(
    folders: Mapping[int, Path],
    config_path: Path | None,
    instruments_path: Path | None,
    overrides: Sequence[str],
    draws: int,
    scenario_seeds: int,
) -> None:
    """Measures phases and prints what was found, which lies beside their models too.

    Args:
        folders: Phase -> folder of its models; the configuration is that of the last one's card,
            unless `config_path` names another.
        config_path, instruments_path, overrides: As typed.
        draws: Bootstrap samples behind every interval.
        scenario_seeds: Seeds of every made-up market; 0 leaves them out.
    """
    console = Console()
    trained = [folder for folder in folders.values() if folder.is_dir()]
    last = trained[-1] if trained else next(iter(folders.values()))
    config, origin = backtest_settings(config_path, last, overrides)
    say(console, f"configuration {origin}")
    instruments = load_instruments(instruments_path)
    with interruptible("phases that were measured keep their evaluation.md"):
        for number, folder in folders.items():
            if folder.is_dir():
                _evaluate(number, folder, config, instruments, (draws, scenario_seeds), console)
            else:
                say(console, f"phase {number} was not trained: no {folder}")


def _evaluate(
    number: int,
    folder: Path,
    config: Config,
    instruments: Mapping[str, Instrument],
    effort: tuple[int, int],
    console: Console,
) -> None:
    from mtquant.workflows.evaluating import TEXT_NAME, Effort, evaluate_phase  # slow to import

    console.rule(f"phase {number} on the test period")
    with console.status("") as status:
        found = evaluate_phase(
            number,
            folder,
            config,
            instruments,
            Effort(*effort),
            lambda part: status.update(f"phase {number}: {part}"),
        )
    for section in found.sections:
        console.print(table_of(section))
    for warning in found.found["warnings"]:
        say(console, f"warning: {warning}", "yellow")
    say(console, f"written       {folder / TEXT_NAME}")


def table_of(section: Section) -> Table:
    """A section for the terminal."""
    table = Table(title=section.title, title_justify="left", caption_justify="left")
    for number, heading in enumerate(section.headings):
        table.add_column(heading, justify="right" if number else "left")
    for row in section.rows:
        table.add_row(*row)
    table.caption = "\n".join(section.notes)
    return table
