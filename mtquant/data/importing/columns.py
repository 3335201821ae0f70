# SPDX-License-Identifier: Apache-2.0
"""Which column is what: the names that vendors give to time, prices and volume."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mtquant.core.errors import DataError
from mtquant.data.importing.lines import DELIMITERS, split_line

# Names in lower case, space for any of space, underscore and minus, without brackets. Among the
# names of one role the earlier wins where a file has several: MetaTrader's VOL is 0 for currencies
# and its TICKVOL is not; a close adjusted later is not the price of the day.
NAMES: Mapping[str, tuple[str, ...]] = {
    "timestamp": (
        "timestamp",
        "datetime",
        "date time",
        "date/time",
        "gmt time",
        "utc time",
        "utc",
        "local time",
        "time utc",
        "date utc",
        "time gmt",
        "date gmt",
        "open time",
        "close time",
        "unix",
        "epoch",
        "unix timestamp",
    ),
    "date": ("date", "day", "trade date"),
    "time": ("time", "hour"),
    "open": ("open", "o", "open price", "bid open", "openbid", "bidopen"),
    "high": ("high", "h", "high price", "bid high", "highbid", "bidhigh", "max"),
    "low": ("low", "l", "low price", "bid low", "lowbid", "bidlow", "min"),
    "close": ("close", "c", "close price", "bid close", "closebid", "bidclose", "close/last"),
    "volume": ("tick volume", "tickvol", "tickqty", "volume", "vol", "v", "real volume", "size"),
}
PRICES = ("open", "high", "low", "close")
_ROLE_OF = {name: role for role, names in NAMES.items() for name in names}
_UTC = re.compile(r"(?:.* )?(?:gmt|utc)(?: .*)?")


@dataclass(frozen=True)
class Columns:
    """Where things stand in a line.

    Attributes:
        delimiter: Between fields.
        count: Fields of a line.
        places: Role -> column: the prices, timestamp or date (and time), and volume if any.
        names: Role -> the file's own name of that column.
        ignored: Names of the columns that nobody reads.
        utc: Whether the time column is named after UTC or GMT.
        header: Whether the first line is a header.
    """

    delimiter: str
    count: int
    places: Mapping[str, int]
    names: Mapping[str, str]
    ignored: tuple[str, ...]
    utc: bool
    header: bool


def find_columns(
    line: str, name: str, rename: Mapping[str, str], columns: Sequence[str] | None
) -> Columns:
    """The columns of a file by its first line.

    Args:
        line: The first line that is not blank.
        name: The file's name and the line's number, for messages.
        rename: File's column name -> role, where its own names do not say it.
        columns: Roles in order, for a file without a header.

    Raises:
        DataError: No delimiter makes a header of it that has a time and four prices, or two columns
            could be the same.
    """
    best: list[str] = []
    for delimiter in DELIMITERS:
        fields = split_line(line, delimiter)
        if fields is None:
            continue
        if columns is not None:
            if len(fields) == len(columns):
                return _columns(fields, list(columns), delimiter, name, header=False)
        else:
            roles = [_role(field, rename) for field in fields]
            if _complete(roles):
                _refuse_unknown(fields, rename, name)
                return _columns(fields, roles, delimiter, name, header=True)
        best = max(best, fields, key=len)
    if columns is not None:
        rule = f"must have {len(columns)} fields, one per column told"
        raise DataError(name, rule, line, "Correct columns.")
    roles = [_role(field, rename) for field in best]
    lacking = [role for role in PRICES if role not in roles]
    if not {"timestamp", "date", "time"} & set(roles):
        lacking.insert(0, "time")
    rule = f"must be a header that names {', '.join(lacking)}"
    remedy = "Say which column is what with rename, or with columns if there is no header."
    raise DataError(name, rule, line, remedy)


def plain_name(text: str) -> str:
    """A column name as `NAMES` writes it: ``"<TICK_VOL>"`` is ``"tick vol"``."""
    text = re.sub(r"[<>()\[\]\"']", " ", text.lower())
    return " ".join(re.split(r"[\s_-]+", text.strip()))


def _role(field: str, rename: Mapping[str, str]) -> str:
    return rename.get(field) or _ROLE_OF.get(plain_name(field), "ignore")


def _complete(roles: Sequence[str]) -> bool:
    has_time = {"timestamp", "date", "time"} & set(roles)
    return bool(has_time) and set(PRICES) <= set(roles)


def _refuse_unknown(fields: Sequence[str], rename: Mapping[str, str], name: str) -> None:
    """A rename of a column that the file does not have is a misspelling."""
    unknown = [field for field in rename if field not in fields]
    if unknown:
        rule = f"must have the columns that rename names; it has {', '.join(fields)}"
        raise DataError(name, rule, unknown, "Write the names as the file does.")


def _columns(
    fields: list[str], roles: list[str], delimiter: str, name: str, header: bool
) -> Columns:
    places: dict[str, int] = {}
    for role in dict.fromkeys(roles):
        if role != "ignore":
            alike = [place for place, each in enumerate(roles) if each == role]
            places[role] = _only(role, fields, alike, name)
    missing = [role for role in PRICES if role not in places]
    if missing or not {"timestamp", "date", "time"} & set(places):
        rule, remedy = "must name a time and four prices", "Correct columns."
        raise DataError(name, rule, roles, remedy)
    if "timestamp" in places and {"date", "time"} & set(places):
        found = [fields[places[role]] for role in ("timestamp", "date", "time") if role in places]
        remedy = "Set the role of the others to ignore with rename."
        raise DataError(name, "must have one time, or a date and a time", found, remedy)
    names = {role: fields[place] if header else role for role, place in places.items()}
    used = set(places.values())
    ignored = tuple(field for place, field in enumerate(fields) if place not in used and header)
    stamp = plain_name(names.get("timestamp") or names.get("time") or names["date"])
    utc = _UTC.fullmatch(stamp) is not None
    return Columns(delimiter, len(fields), places, names, ignored, utc, header)


def _only(role: str, fields: Sequence[str], places: list[int], name: str) -> int:
    """The column of a role; of several, the one whose name comes first in `NAMES`."""
    if len(places) == 1:
        return places[0]
    known = {plain: rank for rank, plain in enumerate(NAMES[role])}
    ranks = [known.get(plain_name(fields[place]), -1) for place in places]
    if role != "volume" or len(set(ranks)) < len(ranks):
        found = [fields[place] for place in places]
        remedy = "Set the role of the others to ignore with rename."
        raise DataError(name, f"must have one column for {role}", found, remedy)
    return places[ranks.index(min(ranks))]
