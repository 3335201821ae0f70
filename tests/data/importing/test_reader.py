# SPDX-License-Identifier: Apache-2.0
"""Layouts of foreign files: the same bars, however they are written; and what cannot be read."""

from __future__ import annotations

import codecs
import json
from pathlib import Path

import numpy as np
import pytest

from mtquant.core.errors import ConfigError, DataError
from mtquant.data.bars import NANOSECONDS
from mtquant.data.importing.policy import ImportPolicy
from mtquant.data.importing.reader import Imported, import_file
from mtquant.data.importing.source import ImportSource
from tests.support.dirt import BAR, HEADER, SOURCE, DirtyFile, clean_file, time_text

POLICY = ImportPolicy()


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def bring(path: Path, content: str | bytes, policy: ImportPolicy = POLICY, **facts) -> Imported:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return import_file(path, ImportSource(**{**SOURCE.model_dump(), **facts}), policy)


def same_bars(imported: Imported, file: DirtyFile) -> bool:
    """Whether every row became its bar, to the byte."""
    bars, starts = imported.bars, sorted(file.bars)
    wanted = np.array([file.bars[start] for start in starts]).T
    columns = (bars.open, bars.high, bars.low, bars.close, bars.volume)
    return (bars.stamps // NANOSECONDS - BAR).tolist() == starts and all(
        column.tobytes() == values.tobytes() for column, values in zip(columns, wanted, strict=True)
    )


def lines_of(file: DirtyFile, header: str | None, delimiter: str, form) -> str:
    lines = [] if header is None else [header]
    lines += [delimiter.join(form(row.fields)) for row in file.rows]
    return "\n".join(lines) + "\n"


def day_first(fields: list[str]) -> str:
    date, clock = fields[0].split(" ")
    year, month, day = date.split("-")
    return f"{day}.{month}.{year} {clock}"


def as_clock(fields: list[str], form: str) -> str:
    """The time in a form of `strftime`."""
    moment = np.datetime64(fields[0].replace(" ", "T")).astype("datetime64[s]").item()
    return str(moment.strftime(form))


LAYOUTS = {
    "capitals and tabs": ("DATE\tOPEN\tHIGH\tLOW\tCLOSE\tVOLUME", "\t", lambda f: f),
    "another order": (
        "volume;close;low;high;open;timestamp;spread",
        ";",
        lambda f: [*reversed(f), "3"],
    ),
    "MetaTrader 5": (
        "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>",
        "\t",
        lambda f: [*as_clock(f, "%Y.%m.%d %H:%M:%S").split(" "), *f[1:], "0", "7"],
    ),
    "Dukascopy": ("Gmt time,Open,High,Low,Close,Volume", ",", lambda f: [day_first(f), *f[1:]]),
    "ISO with Z": (
        "Datetime,Open,High,Low,Close,Adj Close,Volume",
        ",",
        lambda f: [f[0].replace(" ", "T") + "Z", *f[1:5], "9.9", f[5]],
    ),
    "packed": (
        "time|o|h|l|c|v",
        "|",
        lambda f: [as_clock(f, "%Y%m%d %H%M%S"), *f[1:]],
    ),
    "twelve hours, month first": (
        "Time,Open,High,Low,Close,Volume",
        ",",
        lambda f: [as_clock(f, "%m/%d/%Y %I:%M:%S %p"), *f[1:]],
    ),
    "month by name": (
        "Time;Open;High;Low;Close;Volume",
        ";",
        lambda f: [as_clock(f, "%d-%b-%Y %H:%M"), *f[1:]],
    ),
    "milliseconds since 1970": (
        "unix,open,high,low,close,volume",
        ",",
        lambda f: [as_clock(f, "%s000"), *f[1:]],
    ),
    "all quoted": (
        '"Date","Open","High","Low","Close","Volume"',
        ",",
        lambda f: [f'"{each}"' for each in f],
    ),
}
OWN_CLOCK = ("ISO with Z", "milliseconds since 1970", "Dukascopy")


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_gives_the_same_bytes(name, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("TZ", "UTC")  # strftime's %s reads it
    header, delimiter, form = LAYOUTS[name]
    file = clean_file(generator())
    clock = None if name in OWN_CLOCK else "UTC"
    imported = bring(tmp_path / "a.csv", lines_of(file, header, delimiter, form), clock=clock)
    assert same_bars(imported, file)
    assert imported.report.findings == ()
    assert imported.report.gaps.missing_bars == 0


def test_metatrader_4_files_have_no_header(tmp_path) -> None:
    file = clean_file(generator())
    text = lines_of(file, None, ",", lambda f: [*as_clock(f, "%Y.%m.%d %H:%M").split(" "), *f[1:]])
    columns = ("date", "time", "open", "high", "low", "close", "volume")
    assert same_bars(bring(tmp_path / "a.csv", text, columns=columns), file)
    with pytest.raises(DataError, match="must be a header that names time, open"):
        bring(tmp_path / "a.csv", text)


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
    ],
)
def test_byte_order_marks_and_foreign_line_ends(mark, encoding, tmp_path) -> None:
    file = clean_file(generator())
    for end in ("\n", "\r\n", "\r"):
        content = mark + file.text().replace("\n", end).encode(encoding)
        imported = bring(tmp_path / "a.csv", content)
        assert same_bars(imported, file)
        assert imported.report.encoding == f"{encoding} with a byte order mark"


def test_decimal_commas_and_thousands_have_to_be_told(tmp_path) -> None:
    file = clean_file(generator(3))

    def german(fields: list[str]) -> list[str]:
        numbers = [f"{float(text):,.5f}" for text in fields[1:5]]
        swapped = [text.translate(str.maketrans(",.", ".,")) for text in numbers]
        return [fields[0], *swapped, fields[5]]

    text = lines_of(file, ";".join(HEADER), ";", german)
    assert same_bars(bring(tmp_path / "a.csv", text, decimal=",", thousands="."), file)
    with pytest.raises(DataError, match=r"a\.csv, line 2 must hold numbers .* \[bad_number\]"):
        bring(tmp_path / "a.csv", text)


def test_newest_first_is_turned_round(tmp_path) -> None:
    file = clean_file(generator())
    file.rows.reverse()
    imported = bring(tmp_path / "a.csv", file.text())
    assert same_bars(imported, file)
    # All rows but one have to move.
    assert imported.report.count("unsorted") == len(file.rows) - 1
    assert imported.lines[0] == len(file.rows) + 1


def test_a_file_of_lost_decimal_points_asks(tmp_path) -> None:
    file = clean_file(generator(2))
    text = lines_of(
        file, ",".join(HEADER), ",", lambda f: [f[0], *(t.replace(".", "") for t in f[1:5]), f[5]]
    )
    with pytest.raises(DataError, match=r"line 2 must have prices with decimals.*price_scale"):
        bring(tmp_path / "a.csv", text)
    # Division by a power of ten gives the float64 nearest to the decimal text, since both numbers
    # are exact and IEEE 754 rounds the quotient once.
    assert same_bars(bring(tmp_path / "a.csv", text, price_scale=100_000), file)
    close = float(np.median([bar[3] for bar in file.bars.values()]))
    with pytest.raises(DataError, match="price_scale=100000"):
        bring(tmp_path / "a.csv", text, price_range=(close / 2, close * 2))


def test_a_scale_that_changes_is_refused_even_where_rows_are_dropped(tmp_path) -> None:
    file = clean_file(generator())
    for row in file.rows[90:]:
        row.fields[1:5] = [text.replace(".", "") for text in row.fields[1:5]]
    policy = ImportPolicy(magnitude="drop")
    with pytest.raises(DataError, match=r"line 92 .*\[magnitude\].* The scale of the prices"):
        bring(tmp_path / "a.csv", file.text(), policy)
    kept = bring(tmp_path / "a.csv", file.text(), ImportPolicy(magnitude="keep"))
    # Only the row at which the level changes stands out from the rows around it.
    assert kept.report.count("magnitude") == 1


def test_ambiguous_dates_are_refused_until_told(tmp_path) -> None:
    rows = [f"0{month}/0{day}/2020,1.1,1.2,1.0,1.1" for month in (1, 2) for day in range(1, 8)]
    text = "Date,Open,High,Low,Close\n" + "\n".join(rows) + "\n"
    facts = {"bar": "1d", "clock": "UTC"}
    with pytest.raises(DataError, match="which is the day and which the month"):
        bring(tmp_path / "a.csv", text, **facts)
    first = bring(tmp_path / "a.csv", text, date_order="month_first", **facts).report.first
    assert first == "2020-01-02 00:00:00Z"
    told = bring(tmp_path / "a.csv", text, date_order="day_first", **facts).report
    assert told.last == "2020-07-03 00:00:00Z"


def test_session_dates_become_closes(tmp_path) -> None:
    text = "Date,Open,High,Low,Close\n2020-03-06,1.1,1.2,1.0,1.1\n2020-03-09,1.1,1.2,1.0,1.1\n"
    imported = bring(
        tmp_path / "a.csv",
        text,
        bar="1d",
        stamped="session",
        clock=None,
        session_timezone="America/New_York",
        session_close="17:00",
    )
    # New York went to summer time on 2020-03-08.
    assert imported.report.first == "2020-03-06 22:00:00Z"
    assert imported.report.last == "2020-03-09 21:00:00Z"
    assert "volume is unknown and counts as 0" in imported.bars.notes


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b"", "must hold a header and rows"),
        (b"\n\n  \n", "must hold a header and rows"),
        (b"Date,Open,High,Low,Close\n", "must hold rows behind its header"),
        (b"Date,Open,High,Close\n2020-01-06,1,1,1\n", "must be a header that names low"),
        (b"Date,Open,High,Low,Close\n2020-01-06 00:00:00,1.1,1.2,1.0,1.1\n", "at least 2 rows"),
        (b"Date,Open,High,Low,Close,Close\n1,1,1,1,1,1\n", "must have one column for close"),
        (b"PAR1\x15\x04\x00\x00", "must be text without NUL characters"),
        (b"Date,Open,High,Low,Close\n\xff\xfe\xfd,1,1,1,1\n", "must be utf-8 text"),
    ],
)
def test_what_is_no_price_file_is_refused_by_name(content, rule, tmp_path) -> None:
    with pytest.raises(DataError, match=rule) as raised:
        bring(tmp_path / "a.csv", content)
    assert str(tmp_path / "a.csv") in raised.value.field
    assert raised.value.remedy


def test_a_file_that_is_not_there_is_refused(tmp_path) -> None:
    with pytest.raises(DataError, match="must be a readable file"):
        import_file(tmp_path / "none.csv", SOURCE, POLICY)


def test_a_clock_is_never_guessed(tmp_path) -> None:
    text = clean_file(generator()).text()
    with pytest.raises(DataError, match="must have times of a known clock"):
        bring(tmp_path / "a.csv", text, clock=None)
    with pytest.raises(DataError, match="must have no offset from UTC if a clock is told"):
        bring(tmp_path / "a.csv", text.replace(":00,", ":00Z,"))
    with pytest.raises(ConfigError, match="must be a known zone or an offset"):
        bring(tmp_path / "a.csv", text, clock="Mars/Base")


def test_a_line_without_end_is_dropped_kept_or_refused(tmp_path) -> None:
    file = clean_file(generator())
    text, n = file.text().rstrip("\n"), len(file.rows)
    dropped = bring(tmp_path / "a.csv", text)
    assert (dropped.report.count("unterminated"), dropped.report.rows_kept) == (1, n - 1)
    kept = bring(tmp_path / "a.csv", text, ImportPolicy(unterminated="keep"))
    assert (kept.report.count("unterminated"), kept.report.rows_kept) == (1, n)
    with pytest.raises(DataError, match=rf"line {n + 1} must end with a line end"):
        bring(tmp_path / "a.csv", text, ImportPolicy(unterminated="refuse"))


def test_of_contradicting_rows_the_last_can_be_kept(tmp_path) -> None:
    file = clean_file(generator())
    row = file.rows[7]
    other = ",".join([*row.fields[:4], row.fields[2], row.fields[5]])
    lines = file.text().splitlines()
    lines.insert(12, other)
    kept = bring(tmp_path / "a.csv", "\n".join(lines) + "\n", ImportPolicy(conflict="keep_last"))
    assert kept.report.count("conflict") == 1
    assert kept.bars.close[7] == float(row.fields[2])


def test_spikes_are_reported_and_kept(tmp_path) -> None:
    file = clean_file(generator())
    row = file.rows[50]
    row.fields[2] = f"{float(row.fields[2]) * 1.5:.5f}"
    report = bring(tmp_path / "a.csv", file.text()).report
    assert [spike.line for spike in report.spikes] == [52]
    assert report.findings == ()


def test_the_report_speaks_to_people_and_programs(tmp_path) -> None:
    file = clean_file(generator())
    for row in file.rows[20:23]:
        row.fields[1:] = ["0"] * 5
    imported = bring(tmp_path / "a.csv", file.text())
    report = imported.report
    text = report.to_text()
    assert "3 rows dropped (empty_bar); first at line 22: 0, 0, 0, 0" in text
    assert f"{len(file.rows)} read, {len(file.rows) - 3} kept, 3 dropped" in text
    report.write(tmp_path / "a.json")
    read = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert read["findings"] == [
        {"kind": "empty_bar", "answer": "drop", "rows": 3, "line": 22, "value": "0, 0, 0, 0"}
    ]
    assert read["policy"]["nonpositive"] == "refuse"
    assert imported.bars.notes == ("import of a.csv: 3 rows dropped (empty_bar)",)
    (mark, _) = imported.marks
    starts = [row.seconds + BAR for row in file.rows[20:23]]
    assert (mark.stamps // NANOSECONDS).tolist() == starts


def test_a_policy_and_a_source_refuse_what_they_do_not_know() -> None:
    facts = {"symbol": "X", "quote": "USD", "bar": "1h"}
    with pytest.raises(ConfigError, match="must be a whole number and a unit"):
        ImportSource(**{**facts, "bar": "hour"}, stamped="open")
    with pytest.raises(ConfigError, match="belongs to stamped=session"):
        ImportSource(**facts, stamped="session")
    with pytest.raises(ConfigError, match="has no effect on session dates"):
        ImportSource(**facts, stamped="session", session_close="17:00", clock="UTC")
    with pytest.raises(ConfigError, match="must differ from the decimal mark"):
        ImportSource(**facts, stamped="open", thousands=".")
    with pytest.raises(ConfigError, match=r"must be \[lowest, highest\]"):
        ImportSource(**facts, stamped="open", price_range=(2.0, 1.0))
    with pytest.raises(ValueError, match="Extra inputs are not permitted"):
        ImportPolicy(negative="drop")


def test_time_text_is_what_the_files_hold() -> None:
    assert time_text(0) == "1970-01-01 00:00:00"
