# SPDX-License-Identifier: Apache-2.0
"""`mtquant data`: bars in, checked, looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from mtquant.cli.options import (
    BAR,
    STAMPED,
    ConfigOption,
    InstrumentsOption,
    SetOption,
    SymbolOption,
)

data_app = typer.Typer(no_args_is_help=True, help="Bring bars in, check them, look at them.")


@data_app.command("download")
def data_download(
    symbols: Annotated[
        list[str] | None, typer.Argument(help="Left out, all of the instruments file.")
    ] = None,
    start: Annotated[str | None, typer.Option("--start", help="First day, 2010-01-01.")] = None,
    end: Annotated[
        str | None, typer.Option("--end", help="First day not wanted in --output any more.")
    ] = None,
    bar: Annotated[str, typer.Option("--bar", help="1d, 1h, 15min or 5min.")] = "1d",
    output: Annotated[
        Path | None,
        typer.Option("--output", help="Also write adjusted SYMBOL.parquet files here."),
    ] = None,
    cache: Annotated[
        Path, typer.Option("--cache", help="Prices as traded, with their splits and dividends.")
    ] = Path("data/yahoo"),
    revised: Annotated[
        Literal["keep", "replace", "refuse"],
        typer.Option("--revised", help="What to do where Yahoo changed a bar that is cached."),
    ] = "keep",
    instruments: InstrumentsOption = None,
) -> None:
    """Download bars from Yahoo Finance; run it again to go on or to bring them up to date."""
    from mtquant.cli.download import run

    run(symbols or [], start, end, bar, output, cache, revised, instruments)


@data_app.command("import")
def data_import(
    files: Annotated[list[Path], typer.Argument(help="csv or any other separated text.")],
    bar: Annotated[str, BAR],
    stamped: Annotated[Literal["open", "close", "session"], STAMPED],
    clock: Annotated[
        str | None,
        typer.Option("--clock", help="Zone, offset (+02:00), or YAML file of a broker's clock."),
    ] = None,
    symbol: SymbolOption = None,
    repair: Annotated[
        list[str] | None,
        typer.Option("--repair", help="Per kind of dirt: --repair nonpositive=drop. Repeatable."),
    ] = None,
    price_scale: Annotated[
        float | None, typer.Option("--price-scale", help="100000 if 158611 means 1.58611.")
    ] = None,
    price_range: Annotated[
        tuple[float, float] | None,
        typer.Option("--price-range", help="Lowest and highest plausible median close."),
    ] = None,
    date_order: Annotated[
        str | None, typer.Option("--date-order", help="day_first or month_first.")
    ] = None,
    decimal: Annotated[str, typer.Option("--decimal", help="Decimal mark.")] = ".",
    thousands: Annotated[
        str | None, typer.Option("--thousands", help="Mark between groups of three digits.")
    ] = None,
    encoding: Annotated[
        str | None, typer.Option("--encoding", help="utf-8, utf-16, cp1252 or latin-1.")
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option("--columns", help="date,time,open,... for a file without a header line."),
    ] = None,
    rename: Annotated[
        list[str] | None,
        typer.Option("--rename", help="Column=role, such as Last=close. Repeatable."),
    ] = None,
    output: Annotated[Path, typer.Option("--output")] = Path("data/bars"),
    instruments: InstrumentsOption = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace bars of an earlier import.")
    ] = False,
) -> None:
    """Make bars of foreign price files, with a report and a picture of what was found."""
    from mtquant.cli.data import import_files

    facts = {
        "symbol": symbol,
        "bar": bar,
        "stamped": stamped,
        "clock": clock,
        "price_scale": price_scale,
        "price_range": price_range,
        "date_order": date_order,
        "decimal": decimal,
        "thousands": thousands,
        "encoding": encoding,
        "columns": columns.split(",") if columns else None,
        "rename": rename,
    }
    import_files(files, facts, repair or [], output, instruments, overwrite)


@data_app.command("show")
def data_show(
    file: Annotated[Path, typer.Argument(help="A parquet file of bars.")],
    bar: Annotated[str | None, BAR] = None,
    stamped: Annotated[Literal["open", "close", "session"] | None, STAMPED] = None,
    clock: Annotated[
        str | None, typer.Option("--clock", help="Zone of times that do not say theirs.")
    ] = None,
    symbol: SymbolOption = None,
    picture: Annotated[
        Path | None, typer.Option("--picture", help="PNG; left out, in data/pictures.")
    ] = None,
    instruments: InstrumentsOption = None,
) -> None:
    """Print facts of bars and draw them. Files that mtquant wrote need no options."""
    from mtquant.cli.data import show

    facts = {"symbol": symbol, "bar": bar, "stamped": stamped, "clock": clock}
    show(file, facts, instruments, picture)


@data_app.command("check")
def data_check(
    config: ConfigOption = None,
    overrides: SetOption = None,
    instruments: InstrumentsOption = None,
) -> None:
    """Take the configured bars all the way: check, features, simulator with random actions."""
    from mtquant.cli.data import check

    check(config, overrides or [], instruments)
