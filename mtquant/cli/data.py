# SPDX-License-Identifier: Apache-2.0
"""`mtquant data import`, `show` and `check`: reports, pictures and tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console

from mtquant.cli.console import interruptible, progress_bars, say
from mtquant.cli.settings import training_settings
from mtquant.core.checked import did_you_mean, validated
from mtquant.core.errors import ConfigError, DataError, RunError
from mtquant.core.lengths import length_seconds, length_text
from mtquant.data.instruments import Instrument, Session, instrument_of, load_instruments

if TYPE_CHECKING:
    from mtquant.data.importing.policy import ImportPolicy
    from mtquant.data.importing.source import ImportSource
    from mtquant.workflows.data_check import DataCheck

# Not beside the bars: a folder of somebody else's data is no place to write to.
PICTURES = Path("data/pictures")


def import_files(
    files: Sequence[Path],
    facts: Mapping[str, Any],
    repairs: Sequence[str],
    output: Path,
    instruments_path: Path | None,
    overwrite: bool,
) -> None:
    """Imports each file; those that are refused are named at the end, and the others stay.

    Args:
        files: Price files.
        facts: Fields of `ImportSource` as typed; `symbol` None to go by the files' names.
        repairs: ``"kind=answer"`` texts over the default `ImportPolicy`.
        output: Folder that receives ``<bar>/<SYMBOL>.parquet``, its report and its picture.
        instruments_path: YAML file of instruments.
        overwrite: Whether bars of an earlier import may be replaced.

    Raises:
        DataError: The only file was refused; of several, each is named and the exit code is 2.
        ConfigError: A fact or a repair cannot be used.
    """
    from mtquant.data.importing.policy import ImportPolicy

    instruments = load_instruments(instruments_path)
    policy = validated(ImportPolicy, _pairs(repairs, "--repair"), prefix="--repair ")
    console = Console()
    refused = 0
    if facts["symbol"] is not None and len(files) > 1:
        remedy = "Import the files one by one."
        raise ConfigError("--symbol", "must be left out for several files", len(files), remedy)
    for file in files:
        try:
            instrument = _instrument(file, facts["symbol"], instruments)
            source = _source(facts, instrument)
            session = instrument.session if source.stamped == "session" else None
            _import(console, file, source, session, policy, output / source.bar, overwrite)
        except DataError as error:
            if len(files) == 1:
                raise
            refused += 1
            say(Console(stderr=True), f"error: {error}", style="red")
    if len(files) > 1:
        say(console, f"imported {len(files) - refused} of {len(files)} files")
    if refused:
        raise typer.Exit(2)


def show(
    file: Path,
    facts: Mapping[str, Any],
    instruments_path: Path | None,
    picture: Path | None,
) -> None:
    """Facts and a picture of bars that are already in a parquet file."""
    from mtquant.data.files import describes_itself, read_parquet
    from mtquant.data.importing.facts import fact_lines
    from mtquant.data.importing.picture import draw_bars

    console = Console()
    if describes_itself(file):
        bars = read_parquet(file)
    else:
        instrument = _instrument(file, facts["symbol"], load_instruments(instruments_path))
        bar = facts["bar"]
        session = facts["stamped"] == "session"
        bars = read_parquet(
            file,
            symbol=instrument.symbol,
            quote=instrument.quote,
            stamped=facts["stamped"],
            bar_seconds=None if bar is None else length_seconds(bar, "--bar", ConfigError),
            timezone=facts["clock"],
            session_timezone=instrument.session.timezone if session else None,
            session_close=instrument.session.close if session else None,
        )
    for line in fact_lines(bars):
        say(console, line)
    place = picture or PICTURES / f"{bars.symbol}_{length_text(bars.bar_seconds)}.png"
    _write(place, lambda: draw_bars(bars, place))
    say(console, f"  picture   {place}")


def check(
    config_path: Path | None, overrides: Sequence[str], instruments_path: Path | None
) -> None:
    """Takes the configured bars all the way to the simulator and prints what was found."""
    config, origin = training_settings(config_path, overrides)
    instruments = load_instruments(instruments_path)
    console = Console()
    say(console, f"configuration {origin}")
    from mtquant.workflows.data_check import check_data  # slow to import

    with interruptible("nothing was written"), progress_bars(console) as bars:
        task = bars.add_task("simulator", total=None, rate="")

        def advance(done: int, total: int) -> None:
            bars.update(task, completed=done, total=total)

        found = check_data(config, instruments, advance)
    _print_check(console, found)


def _import(
    console: Console,
    file: Path,
    source: ImportSource,
    session: Session | None,
    policy: ImportPolicy,
    folder: Path,
    overwrite: bool,
) -> None:
    """One file: its report on the terminal; bars, report and picture in the folder."""
    from mtquant.data.files import write_parquet
    from mtquant.data.importing.picture import draw_bars
    from mtquant.data.importing.reader import import_file

    place = folder / f"{source.symbol}.parquet"
    if place.exists() and not overwrite:
        remedy = "Name another --output, or add --overwrite."
        raise DataError(str(place), "must not exist yet", "bars of an earlier import", remedy)
    imported = import_file(file, source, policy)
    say(console, imported.report.to_text())
    report, picture = place.with_suffix(".import.json"), place.with_suffix(".png")
    _write(place, lambda: write_parquet(imported.bars, place, session))
    _write(report, lambda: imported.report.write(report))
    _write(picture, lambda: draw_bars(imported.bars, picture, imported.marks))
    say(console, f"  written   {place}, {report.name}, {picture.name}")


def _source(facts: Mapping[str, Any], instrument: Instrument) -> ImportSource:
    """What is known of one file: what was typed, and what the instrument says."""
    from mtquant.data.importing.clocks import read_clock
    from mtquant.data.importing.source import ImportSource

    values = {name: value for name, value in facts.items() if value is not None}
    values["rename"] = _pairs(values.pop("rename", []), "--rename")
    values["symbol"], values["quote"] = instrument.symbol, instrument.quote
    if values.get("stamped") == "session":
        values["session_timezone"] = instrument.session.timezone
        values["session_close"] = instrument.session.close
    clock = values.get("clock")
    if clock is not None and Path(clock).suffix in (".yaml", ".yml"):
        values["clock"] = read_clock(Path(clock))
    return validated(ImportSource, values, prefix="--")


def _instrument(
    file: Path, symbol: str | None, instruments: Mapping[str, Instrument]
) -> Instrument:
    """The instrument that was named, else the one whose symbol the file's name begins with."""
    if symbol is not None:
        return instrument_of(instruments, symbol)
    found = [symbol for symbol in instruments if file.stem.upper().startswith(symbol)]
    if not found:
        remedy = f"Name it with --symbol. {did_you_mean(file.stem.upper(), list(instruments))}"
        raise DataError(str(file), "must begin with a configured symbol", file.stem, remedy)
    return instruments[max(found, key=len)]


def _pairs(texts: Sequence[str], flag: str) -> dict[str, str]:
    pairs = {}
    for text in texts:
        name, equals, value = text.rpartition("=")
        if not equals or not name or not value:
            raise ConfigError(flag, "must read name=value", text, "For example nonpositive=drop.")
        pairs[name] = value
    return pairs


def _write(path: Path, write: Callable[[], None]) -> None:
    try:
        write()
    except OSError as error:
        remedy = "Name a folder that can be written to."
        raise RunError(str(path), "must be writable", error.strerror, remedy) from error


def _print_check(console: Console, found: DataCheck) -> None:
    columns = ("bars", "gaps", "missing", "warm-up", "unknown", "fills", "refused")
    heads = "".join(f"{column:>9}" for column in columns)
    say(console, f"{'instrument':<12}{'first close':<19}{'last close':<19}{heads}")
    for each in found.instruments:
        bars = (each.rows, each.gaps, each.missing_bars)
        rest = (each.warmup_bars, each.unknown, each.fills, sum(each.refusals.values()))
        numbers = "".join(f"{number:>9,}" for number in (*bars, *rest))
        span = f"{each.first[:16] + 'Z':<19}{each.last[:16] + 'Z':<19}"
        say(console, f"{each.symbol:<12}{span}{numbers}")
    reasons: dict[str, int] = {}
    for each in found.instruments:
        for note in each.notes:
            say(console, f"note: {each.symbol}: {note}", style="yellow")
        for reason, count in each.refusals.items():
            reasons[reason] = reasons.get(reason, 0) + count
    parts = ", ".join(f"{name} {rows:,}" for name, rows in found.parts.items())
    say(console, f"panel         {found.panel_rows:,} rows: {parts}")
    unknown = sum(each.unknown for each in found.instruments)
    say(console, f"features      {found.features} columns, {unknown} values unknown behind warm-up")
    for reason, count in reasons.items():
        say(console, f"orders        {count:,} {reason}")
    steps = found.bars * found.accounts
    say(
        console,
        f"simulator     {found.bars:,} bars by {found.accounts} accounts, {steps:,} account-steps:"
        f" no number that is not finite, equity equal to the ledger's, {found.ruined} ruined",
    )
