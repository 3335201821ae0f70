# SPDX-License-Identifier: Apache-2.0
"""The ledger: append-only rows of one account; what reports, metrics and audits read.

A ledger holds one Outcome per bar lived through, the book after each bar, and every fill and
refusal. Row `k` of the decision tables is the bar at panel row ``rows[k]``; the account started at
``initial_equity`` on the bar before the first.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mtquant.core import outcome as oc
from mtquant.core.errors import CheckpointError
from mtquant.core.records import write_atomically

Float = NDArray[np.float64]
UNREADABLE = (OSError, ValueError, EOFError, zipfile.BadZipFile)
ARRAY_NAMES = (
    "rows",
    "stamps",
    "outcomes",
    "positions",
    "prices",
    "rates",
    "targets",
    "fills",
    "financing",
)


@dataclass(frozen=True)
class Ledger:
    """Rows of one account, oldest first; T bars, N instruments, M fills and refusals.

    Attributes:
        name: Who traded, for example ``"specialists"`` or ``"buy and hold"``.
        symbols: The N instruments.
        multipliers: Quote currency per unit and per 1.0 of price, for each instrument.
        account_currency: Currency of all money columns.
        rules_hash: sha256 of the Rules the account lived under.
        world_hash: sha256 of the same Rules without stops: accounts of one world are comparable.
        fill_at: ``"open"`` (next open) or ``"close"`` (optimistic).
        initial_equity: Equity before the first row.
        rows: int64 [T], panel row of each bar.
        stamps: int64 [T], UTC close stamps in nanoseconds since 1970.
        outcomes: float64 [T, len(OUTCOME_COLUMNS)].
        positions: float64 [T, N], signed units held after the bar.
        prices: float64 [T, N], closing mid in quote currency (NaN before an instrument's first
        bar). rates: float64 [T, N], account currency per unit of quote currency at the close.
        targets: float64 [T, N], exposure asked for by the policy one bar earlier (NaN: leave the
        position alone). fills: float64 [M, len(FILL_COLUMNS)].
        financing: float64 [T, N], financing paid per instrument, account currency.
        notes: Facts about the data or rules that every report must repeat.
    """

    name: str
    symbols: tuple[str, ...]
    multipliers: tuple[float, ...]
    account_currency: str
    rules_hash: str
    world_hash: str
    fill_at: str
    initial_equity: float
    rows: NDArray[np.int64]
    stamps: NDArray[np.int64]
    outcomes: Float
    positions: Float
    prices: Float
    rates: Float
    targets: Float
    fills: Float
    financing: Float
    notes: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.stamps)

    def column(self, name: str) -> Float:
        """One Outcome column by name, float64 [T]."""
        return self.outcomes[:, oc.OUTCOME_COLUMNS.index(name)]

    @property
    def equity(self) -> Float:
        """Equity at each close, account currency, float64 [T]."""
        return self.column("equity")

    @property
    def index(self) -> pd.DatetimeIndex:
        """Close stamps as a UTC index."""
        return pd.DatetimeIndex(self.stamps.astype("datetime64[ns]")).tz_localize("UTC")

    def decisions_frame(self) -> pd.DataFrame:
        """Outcome columns, one row per bar, indexed by close stamp."""
        return pd.DataFrame(self.outcomes, columns=list(oc.OUTCOME_COLUMNS), index=self.index)

    def fills_frame(self) -> pd.DataFrame:
        """Fills and refusals in words: stamp, symbol, origin, quantities, prices, costs, reason."""
        frame = pd.DataFrame(self.fills, columns=list(oc.FILL_COLUMNS))
        position = np.searchsorted(self.rows, frame.pop("row").to_numpy(dtype=np.int64))
        # With fill_at close the first fill happens on the bar before the first row of the ledger.
        frame.insert(0, "stamp", self.index[np.clip(position, 0, max(len(self) - 1, 0))])
        frame["instrument"] = [self.symbols[int(n)] for n in frame["instrument"]]
        frame["origin"] = [oc.ORIGIN_TEXTS[int(n)] for n in frame["origin"]]
        frame["reason"] = [oc.REASON_TEXTS[int(n)] for n in frame["reason"]]
        return frame.rename(columns={"instrument": "symbol"})

    def hash(self) -> str:
        """sha256 over every number of the ledger; equal runs have equal hashes."""
        digest = hashlib.sha256(json.dumps(self._header(), sort_keys=True).encode())
        for array in self._arrays().values():
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def save(self, folder: Path) -> None:
        """Writes ``ledger.json`` and ``ledger.npz`` (and readable parquet copies) into `folder`,
        atomically per file.
        """
        folder.mkdir(parents=True, exist_ok=True)
        arrays = self._arrays()
        header = json.dumps({**self._header(), "sha256": self.hash()}, indent=2)
        write_atomically(folder / "ledger.npz", lambda path: np.savez_compressed(path, **arrays))  # type: ignore[arg-type]
        write_atomically(folder / "ledger.json", lambda path: path.write_text(header))
        write_atomically(folder / "decisions.parquet", self.decisions_frame().to_parquet)
        write_atomically(folder / "fills.parquet", self.fills_frame().to_parquet)

    @classmethod
    def load(cls, folder: Path) -> Ledger:
        """Reads a ledger written by `save`.

        Raises:
            CheckpointError: A file is missing or its content does not match its sha256.
        """
        try:
            header = json.loads((folder / "ledger.json").read_text())
            digest = header.pop("sha256")
            for name in ("symbols", "multipliers", "notes"):
                header[name] = tuple(header[name])
            with (folder / "ledger.npz").open("rb") as file:
                stored = np.load(file, allow_pickle=False)
                ledger = cls(**header, **{name: stored[name] for name in stored.files})
        except (*UNREADABLE, KeyError, TypeError, AttributeError) as error:
            remedy = "Run the backtest again."
            raise CheckpointError(str(folder), "must hold a ledger", str(error), remedy) from error
        if ledger.hash() != digest:
            remedy = "The files were changed or damaged; run the backtest again."
            raise CheckpointError(str(folder), "must match its sha256", digest, remedy)
        return ledger

    def _header(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "symbols": list(self.symbols),
            "multipliers": list(self.multipliers),
            "account_currency": self.account_currency,
            "rules_hash": self.rules_hash,
            "world_hash": self.world_hash,
            "fill_at": self.fill_at,
            "initial_equity": self.initial_equity,
            "notes": list(self.notes),
        }

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {name: getattr(self, name) for name in ARRAY_NAMES}
