# SPDX-License-Identifier: Apache-2.0
"""The cache: bars and actions as traded, and a manifest that says where they are from.

    data/yahoo/1d/SPX500.json                     the manifest: what, when, span, sha256 of both
    data/yahoo/1d/SPX500.<sum>.bars.parquet       bars (`mtquant.data.files`)
    data/yahoo/1d/SPX500.<sum>.actions.parquet    splits and dividends (`mtquant.data.actions`)

The manifest is written last and names its files, so a crash leaves the old entry or the new one.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, NonNegativeInt, PositiveInt

from mtquant.core.checked import Section, validated
from mtquant.core.errors import DataError
from mtquant.core.records import write_atomically
from mtquant.data.actions import Actions, read_actions, write_actions
from mtquant.data.bars import Bars, stamp_text
from mtquant.data.files import read_parquet, write_parquet
from mtquant.data.instruments import Instrument
from mtquant.data.yahoo.frames import yahoo_session

DEFAULT_FOLDER = Path("data/yahoo")
# A manifest is a file like any other: the names in it may not lead out of its folder.
FileName = Annotated[str, Field(pattern=r"^[A-Z0-9_-][A-Za-z0-9._-]*\.parquet$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Manifest(Section):
    """What an entry of the cache is.

    Attributes:
        symbol: The instrument.
        ticker: Yahoo's name of it.
        bar: Length of a bar.
        session: Where daily bars end, ``"16:00 America/New_York"``.
        asked_from: First day that was asked for, ISO; None for all there are.
        downloaded_at: When Yahoo answered last, UTC, ISO.
        source: Program and version that asked.
        first: Close stamp of the first bar, for people.
        last: Close stamp of the last bar.
        rows: Number of bars.
        actions: Number of corporate actions.
        repairs: Repairs that change what the bars say, and the bars they concern.
        bars_file: File of the bars, in the manifest's folder.
        bars_sha256: Its checksum.
        actions_file: File of the actions.
        actions_sha256: Its checksum.
    """

    symbol: str
    ticker: str
    bar: str
    session: str
    asked_from: str | None
    downloaded_at: str
    source: str
    first: str
    last: str
    rows: PositiveInt
    actions: NonNegativeInt
    repairs: Mapping[str, tuple[str, ...]]
    bars_file: FileName
    bars_sha256: Sha256
    actions_file: FileName
    actions_sha256: Sha256


@dataclass(frozen=True)
class Entry:
    """One instrument at one bar length: bars and actions as traded, and where they are from."""

    bars: Bars
    actions: Actions
    manifest: Manifest


def manifest_path(folder: Path, symbol: str, bar: str) -> Path:
    """Where the manifest of an entry is."""
    return folder / bar / f"{symbol}.json"


def session_text(instrument: Instrument) -> str:
    """The end of Yahoo's daily bars in words, for the manifest."""
    session = yahoo_session(instrument)
    return f"{session.close} {session.timezone}"


def read_entry(folder: Path, instrument: Instrument, bar: str) -> Entry | None:
    """What is cached of an instrument, checked; None where nothing is.

    Raises:
        DataError: The entry is damaged, or was made for another ticker or session.
    """
    path = manifest_path(folder, instrument.symbol, bar)
    if not path.exists():
        return None
    remedy = f"Delete {path} to download it afresh."
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("no mapping")
    except (OSError, ValueError) as error:
        raise DataError(str(path), "must be a readable manifest", str(error), remedy) from error
    manifest = validated(Manifest, content, prefix=f"{path}: ", error_class=DataError)
    for name, expected in (
        ("symbol", instrument.symbol),
        ("ticker", instrument.yahoo),
        ("bar", bar),
        ("session", session_text(instrument)),
    ):
        found = getattr(manifest, name)
        if found != expected:
            rule = f"must agree with the instruments file ({expected!r})"
            raise DataError(f"{path}: {name}", rule, found, remedy)
    bars_path, actions_path = (
        _verified(path.parent / file, checksum, remedy)
        for file, checksum in (
            (manifest.bars_file, manifest.bars_sha256),
            (manifest.actions_file, manifest.actions_sha256),
        )
    )
    bars = read_parquet(bars_path, symbol=instrument.symbol, quote=instrument.quote)
    return Entry(bars, read_actions(actions_path), manifest)


def write_entry(
    folder: Path,
    instrument: Instrument,
    bar: str,
    bars: Bars,
    actions: Actions,
    *,
    asked_from: str | None,
    downloaded_at: str,
    source: str,
    repairs: Mapping[str, tuple[str, ...]],
    replaces: Entry | None,
) -> Entry:
    """Writes an entry and removes the files of the one it replaces."""
    path = manifest_path(folder, instrument.symbol, bar)
    path.parent.mkdir(parents=True, exist_ok=True)
    bars_file, bars_sum = _stored(path, "bars", lambda file: write_parquet(bars, file))
    actions_file, actions_sum = _stored(path, "actions", lambda file: write_actions(actions, file))
    manifest = Manifest(
        symbol=instrument.symbol,
        ticker=instrument.yahoo,
        bar=bar,
        session=session_text(instrument),
        asked_from=asked_from,
        downloaded_at=downloaded_at,
        source=source,
        first=stamp_text(bars.stamps[0]),
        last=stamp_text(bars.stamps[-1]),
        rows=len(bars),
        actions=len(actions),
        repairs=dict(repairs),
        bars_file=bars_file,
        bars_sha256=bars_sum,
        actions_file=actions_file,
        actions_sha256=actions_sum,
    )
    text = json.dumps(manifest.model_dump(mode="json"), indent=2) + "\n"
    write_atomically(path, lambda file: file.write_text(text, encoding="utf-8"))
    if replaces is not None:
        old = {replaces.manifest.bars_file, replaces.manifest.actions_file}
        for name in old - {bars_file, actions_file}:
            (path.parent / name).unlink(missing_ok=True)
    return Entry(bars, actions, manifest)


def _stored(path: Path, kind: str, write: Callable[[Path], None]) -> tuple[str, str]:
    """Writes a file named after its content; returns its name and checksum."""
    draft = path.with_name(f".{path.stem}.{kind}.{os.getpid()}.parquet")
    try:
        write(draft)
        checksum = _sha256(draft)
        stored = path.with_name(f"{path.stem}.{checksum[:12]}.{kind}.parquet")
        os.replace(draft, stored)
    finally:
        draft.unlink(missing_ok=True)
    return stored.name, checksum


def _verified(path: Path, checksum: str, remedy: str) -> Path:
    """The path of a file whose checksum is right."""
    try:
        found = _sha256(path)
    except OSError as error:
        raise DataError(str(path), "must be readable", error.strerror, remedy) from error
    if found != checksum:
        raise DataError(str(path), f"must have the sha256 {checksum[:12]}...", found, remedy)
    return path


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
