# SPDX-License-Identifier: Apache-2.0
"""`mtquant data`: what it writes, what it prints and how it ends."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from mtquant.cli.main import app
from mtquant.core.errors import ConfigError, DataError, MtquantError
from mtquant.data.files import read_parquet, write_parquet
from tests.support.builders import make_bars
from tests.support.dirt import clean_file

FACTS = ("--bar", "4h", "--stamped", "open")


def write_file(folder: Path, name: str) -> Path:
    file = clean_file(np.random.Generator(np.random.PCG64(0)))
    path = folder / name
    path.write_text(file.text(), encoding="utf-8")
    return path


def call(*arguments: object) -> str:
    """Standard output and error of a command that ends well."""
    done = CliRunner().invoke(app, [str(each) for each in arguments])
    if done.exception is not None:
        raise done.exception
    return done.output


def test_import_writes_bars_report_and_picture(tmp_path: Path) -> None:
    file = write_file(tmp_path, "eurusd_h4.csv")
    output = tmp_path / "bars"
    said = call("data", "import", file, *FACTS, "--clock", "UTC", "--output", output)
    assert "180 read, 180 kept, 0 dropped" in said
    names = sorted(path.name for path in (output / "4h").iterdir())
    assert names == ["EURUSD.import.json", "EURUSD.parquet", "EURUSD.png"]
    bars = read_parquet(output / "4h" / "EURUSD.parquet")
    assert (bars.symbol, bars.quote, len(bars)) == ("EURUSD", "USD", 180)
    with pytest.raises(DataError, match="must not exist yet"):
        call("data", "import", file, *FACTS, "--clock", "UTC", "--output", output)
    call("data", "import", file, *FACTS, "--clock", "UTC", "--output", output, "--overwrite")


def test_of_several_files_the_good_ones_are_kept(tmp_path: Path) -> None:
    good, bad = write_file(tmp_path, "GBPUSD.csv"), tmp_path / "EURUSD.csv"
    bad.write_text("", encoding="utf-8")
    arguments = [good, bad, *FACTS, "--clock", "UTC", "--output", tmp_path / "bars"]
    done = CliRunner().invoke(app, ["data", "import", *map(str, arguments)])
    assert done.exit_code == 2
    assert "imported 1 of 2 files" in done.output
    assert f"error: {bad} must hold a header and rows" in done.output
    assert (tmp_path / "bars" / "4h" / "GBPUSD.parquet").exists()


@pytest.mark.parametrize(
    ("extra", "rule"),
    [
        (["--repair", "nonpositve=drop"], "Did you mean nonpositive"),
        (["--repair", "nonpositive"], "must read name=value"),
        (["--repair", "nonpositive=mend"], "must be 'refuse' or 'drop'"),
        (["--symbol", "EURUSSD"], "Did you mean EURUSD"),
        (["--date-order", "year_first"], "date_order"),
    ],
)
def test_flags_that_cannot_be_used_are_refused(extra, rule, tmp_path: Path) -> None:
    file = write_file(tmp_path, "EURUSD.csv")
    with pytest.raises(MtquantError, match=rule):
        call("data", "import", file, *FACTS, "--clock", "UTC", *extra)


def test_a_symbol_belongs_to_one_file(tmp_path: Path) -> None:
    file = write_file(tmp_path, "unknown.csv")
    with pytest.raises(DataError, match="must begin with a configured symbol"):
        call("data", "import", file, *FACTS)
    with pytest.raises(ConfigError, match="must be left out for several files"):
        call("data", "import", file, file, *FACTS, "--symbol", "EURUSD")


def test_show_draws_bars_of_any_parquet_file(tmp_path: Path) -> None:
    own, foreign = tmp_path / "EURUSD.parquet", tmp_path / "GBPUSD.parquet"
    bars = make_bars("EURUSD", n=400)
    write_parquet(bars, own)
    picture = tmp_path / "a.png"
    assert "400 bars of 1h in USD" in call("data", "show", own, "--picture", picture)
    assert picture.exists()
    frame = bars.to_frame()
    frame.to_parquet(foreign)
    with pytest.raises(DataError, match="stamped must be given"):
        call("data", "show", foreign, "--picture", picture)
    said = call("data", "show", foreign, "--bar", "1h", "--stamped", "close", "--picture", picture)
    assert said.startswith("GBPUSD  400 bars")


def test_check_goes_all_the_way(tmp_path: Path) -> None:
    for symbol in ("EURUSD", "GBPUSD"):
        write_parquet(make_bars(symbol, n=400), tmp_path / f"{symbol}.parquet")
    config = tmp_path / "a.yaml"
    config.write_text(
        "data:\n  source: parquet\n  instruments: [EURUSD, GBPUSD]\n  bar: 1h\n"
        f"  folder: {tmp_path}\nfeatures:\n  catalog: [log_return_1]\n",
        encoding="utf-8",
    )
    said = call("data", "check", "--config", config)
    for text in ("EURUSD", "panel         400 rows", "equity equal to the ledger's"):
        assert text in said
