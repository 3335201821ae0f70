# SPDX-License-Identifier: Apache-2.0
"""`mtquant paper`: trade on a clock, and everything that people ask of a running account."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from mtquant.cli.options import CHECKPOINTS, ConfigOption, InstrumentsOption, SetOption

paper_app = typer.Typer(no_args_is_help=True, help="Paper trading: run, watch, halt, roll out.")
LEDGER = Path("data/paper/paper.sqlite")
LedgerOption = Annotated[Path, typer.Option("--ledger", help="The account's ledger.")]


@paper_app.command("run")
def paper_run(
    ledger: LedgerOption = LEDGER,
    models: Annotated[Path, typer.Option("--models", help="Folder of a phase.")] = CHECKPOINTS
    / "phase3",
    feed: Annotated[
        Literal["replay", "yahoo", "synthetic"],
        typer.Option("--feed", help="Bars of the configuration again, as they close, or made up."),
    ] = "replay",
    part: Annotated[
        Literal["test", "validation"], typer.Option("--part", help="Of a replay: where it begins.")
    ] = "test",
    bars_per_second: Annotated[
        float | None,
        typer.Option("--bars-per-second", min=0.001, help="Left out: as fast as possible."),
    ] = None,
    bars: Annotated[int | None, typer.Option("--bars", min=1, help="End after so many.")] = None,
    broker: Annotated[
        Path | None,
        typer.Option("--broker", help="Socket of a simulated broker; left out, in this process."),
    ] = None,
    config: ConfigOption = None,
    instruments: InstrumentsOption = None,
    overrides: SetOption = None,
) -> None:
    """Open an account, or go on with it as its ledger left it; Ctrl-C ends, run goes on."""
    from mtquant.cli.paper import run

    asked = {
        "ledger": ledger,
        "models": models,
        "feed": feed,
        "part": part,
        "bars_per_second": bars_per_second,
        "broker": broker,
    }
    run(config, instruments, overrides or [], asked, bars)


@paper_app.command("status")
def paper_status(
    ledger: LedgerOption = LEDGER,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """What the account holds and whether it lives; exit code 1 where its loop does not."""
    from mtquant.cli.paper import show_status

    show_status(ledger, as_json)


@paper_app.command("halt")
def paper_halt(
    ledger: LedgerOption = LEDGER,
    reason: Annotated[str, typer.Option("--reason", help="Goes into the ledger.")] = "by hand",
) -> None:
    """Stop trading at once, also while the ledger cannot be written."""
    from mtquant.cli.paper import halt

    halt(ledger, reason)


@paper_app.command("resume")
def paper_resume(ledger: LedgerOption = LEDGER) -> None:
    """End a halt; drawdown and daily loss are measured anew."""
    from mtquant.cli.paper import ask

    ask(ledger, "resume")


@paper_app.command("flatten")
def paper_flatten(ledger: LedgerOption = LEDGER) -> None:
    """Close all positions at the next opens; then nothing trades until resume."""
    from mtquant.cli.paper import ask

    ask(ledger, "flatten")


@paper_app.command("reconcile")
def paper_reconcile(ledger: LedgerOption = LEDGER) -> None:
    """Hold the ledger against the broker, and say where they differ."""
    from mtquant.cli.paper import ask

    ask(ledger, "reconcile")


@paper_app.command("promote")
def paper_promote(
    model: Annotated[Path, typer.Argument(help="Folder of a phase.")],
    capital: Annotated[
        float, typer.Option("--capital", min=0.0, max=1.0, help="Share that it begins with.")
    ] = 0.1,
    ledger: LedgerOption = LEDGER,
) -> None:
    """Let a new model trade with a share of the capital that grows by rule."""
    from mtquant.cli.paper import ask

    ask(ledger, "promote", model=str(model), capital=capital)


@paper_app.command("rollback")
def paper_rollback(ledger: LedgerOption = LEDGER) -> None:
    """Return to the model before the last one."""
    from mtquant.cli.paper import ask

    ask(ledger, "rollback")


@paper_app.command("export")
def paper_export(
    output: Annotated[Path, typer.Argument(help="Folder for parquet files.")],
    ledger: LedgerOption = LEDGER,
) -> None:
    """Write the ledger as parquet files, while it runs or afterwards."""
    from mtquant.cli.paper import export_to

    export_to(ledger, output)
