# SPDX-License-Identifier: Apache-2.0
"""What `mtquant paper` does and prints."""

from __future__ import annotations

import json
import logging
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from mtquant.cli.console import say
from mtquant.cli.settings import backtest_settings
from mtquant.core.errors import RunError
from mtquant.data.instruments import load_instruments

ANSWER_SECONDS = 15.0
ALIVE_SECONDS = 120.0


def run(
    config_path: Path | None,
    instruments_path: Path | None,
    overrides: Sequence[str],
    asked: Mapping[str, Any],
    most_bars: int | None,
) -> None:
    """Trades until the bars end or somebody ends it."""
    config, origin = backtest_settings(config_path, asked["models"], overrides)
    instruments = load_instruments(instruments_path)
    from mtquant.workflows.paper import PaperPlan, paper_loop  # slow to import

    console = Console()
    say(console, f"configuration {origin}")
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    signal.signal(signal.SIGTERM, _interrupt)
    loop = paper_loop(config, instruments, PaperPlan(**asked))
    say(console, f"ledger        {asked['ledger']}, after bar {loop.bar}, {loop.equity:,.2f}")
    began, lived, ended = time.monotonic(), 0, "the bars ended"
    first = loop.bar
    try:
        loop.run(most_bars)
    except KeyboardInterrupt:
        ended = "interrupted; `mtquant paper run` goes on"
    except BaseException as error:  # nobody may be looking at the terminal
        held = ", ".join(f"{name} {q:g}" for name, q in loop.holding().items()) or "nothing"
        loop.alerts.send("critical", f"the loop died, holding {held}: {error}")
        raise
    finally:
        lived = loop.bar - first
        loop.alerts.close()
        loop.recorder.ledger.close()
    seconds = time.monotonic() - began
    say(console, f"bars lived    {lived:,} in {seconds:.1f} s; {ended}")
    say(console, f"equity        {loop.equity:,.2f}")


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def show_status(ledger: Path, as_json: bool) -> None:
    """Prints the status; exit code 1 where no loop lives."""
    from mtquant.paper.reading import status

    found = status(ledger)
    if as_json:
        typer.echo(json.dumps(found, default=str, indent=2))
    else:
        console = Console()
        for name, value in found.items():
            shown = f"{value:,.4f}" if isinstance(value, float) else str(value)
            say(console, f"{name.replace('_', ' '):<18}{shown}")
    age = found["heartbeat_seconds"]
    if found["process"] is None or age is None or age > ALIVE_SECONDS:
        raise typer.Exit(1)


def halt(ledger: Path, reason: str) -> None:
    """Halts at once."""
    from mtquant.paper.control import request_halt
    from mtquant.paper.ledger import running

    if not ledger.exists():
        remedy = "Name the ledger of a paper account with --ledger."
        raise RunError(str(ledger), "must be a paper ledger", "no such file", remedy)
    request_halt(ledger, reason)
    where = "its loop" if running(ledger) is not None else "no loop runs; the next one is halted"
    typer.echo(f"halted ({where}): nothing trades until `mtquant paper resume`")


def ask(ledger: Path, verb: str, **arguments: str | float) -> None:
    """Puts a command into the ledger and waits a moment for the loop's answer."""
    from mtquant.paper.control import request
    from mtquant.paper.ledger import running
    from mtquant.paper.reading import answer_to

    number = request(ledger, verb, **arguments)
    if running(ledger) is None:
        typer.echo(f"{verb}: noted; no loop runs, the next one follows it as it starts")
        return
    deadline = time.monotonic() + ANSWER_SECONDS
    while time.monotonic() < deadline:
        text = answer_to(ledger, number)
        if text is not None:
            typer.echo(text)
            return
        time.sleep(0.1)
    typer.echo(f"{verb}: noted; the loop has not answered yet")


def export_to(ledger: Path, output: Path) -> None:
    """Writes parquet files."""
    from mtquant.paper.reading import export

    for path in export(ledger, output):
        typer.echo(str(path))
