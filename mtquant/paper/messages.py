# SPDX-License-Identifier: Apache-2.0
"""What the parts of a model told each other, decision by decision: written into the details of a
decision, and read back as arrays.

A decision keeps names and one array of float32, some 350 bytes for a hierarchy of eight
instruments. Decisions that nobody spoke in (no model was asked, a policy of one piece, ledgers of
earlier versions) have none, and are left out here.
"""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mtquant.core.errors import PolicyError

Float32 = NDArray[np.float32]
Words = dict[str, Any]
COLUMNS = ("bar", "stamp_ns", "model", "symbol")  # of an export, before the figures
MESSAGES = "messages"  # in the details of a decision: path of a model -> its words


@dataclass(frozen=True, eq=False)
class Spoken:
    """What one model's parts said in B decisions.

    Attributes:
        path: The model's.
        names: F figures.
        bars: int64 [B], rising.
        stamps: int64 [B], close stamps.
        figures: float32 [B, F, N].
    """

    path: str
    names: tuple[str, ...]
    bars: NDArray[np.int64]
    stamps: NDArray[np.int64]
    figures: Float32


def words_of(policy: str, told: Mapping[str, NDArray[Any]], n_instruments: int) -> Words:
    """What a `Speaker` told, as a decision's details keep it.

    Args:
        policy: Its name, for errors.
        told: Name -> figures, [N].
        n_instruments: N.

    Raises:
        PolicyError: Figures of another shape, or under a name that the export needs.
    """
    if any(name in told for name in COLUMNS):
        remedy = "Give the figure another name."
        raise PolicyError(f"told() of {policy}", f"must not name {COLUMNS}", list(told), remedy)
    shapes = {name: np.shape(own) for name, own in told.items()}
    if any(shape != (n_instruments,) for shape in shapes.values()):
        raise PolicyError(
            f"told() of {policy}",
            f"must give figures of shape {(n_instruments,)}",
            shapes,
            "One for every instrument, in the order of the observation.",
        )
    whole = np.array(list(told.values()), dtype="<f4")
    return {"names": list(told), "float32": base64.b64encode(whole.tobytes()).decode()}


def spoken(
    connection: sqlite3.Connection, n_instruments: int, bars: Sequence[int] | None = None
) -> list[Spoken]:
    """What was said in some decisions, or in all; an entry per model and set of figures.

    Args:
        connection: To a ledger.
        n_instruments: N.
        bars: Whose decisions; all when None.
    """
    question, values = "SELECT bar, stamp_ns, details FROM decisions", list(bars or ())
    if bars is not None:
        question += f" WHERE bar IN ({', '.join('?' * len(values))})"
    found: dict[tuple[str, tuple[str, ...]], list[tuple[int, int, bytes]]] = {}
    for bar, stamp_ns, details in connection.execute(f"{question} ORDER BY bar", values):
        for path, own in json.loads(details).get(MESSAGES, {}).items():
            content = base64.b64decode(own["float32"])
            found.setdefault((path, tuple(own["names"])), []).append((bar, stamp_ns, content))
    return [
        Spoken(
            path,
            names,
            np.array([row[0] for row in rows], dtype=np.int64),
            np.array([row[1] for row in rows], dtype=np.int64),
            np.frombuffer(b"".join(row[2] for row in rows), dtype="<f4").reshape(
                len(rows), len(names), n_instruments
            ),
        )
        for (path, names), rows in found.items()
        if names
    ]


def messages_frame(said: Sequence[Spoken], symbols: Sequence[str]) -> pd.DataFrame:
    """A row per decision, model and instrument: bar, stamp_ns, model, symbol, and the figures."""
    frames = []
    for own in said:
        each, n = len(own.bars), len(symbols)
        columns = own.figures.transpose(0, 2, 1).reshape(each * n, len(own.names))
        frame = pd.DataFrame(columns, columns=list(own.names))
        rows: tuple[Any, ...] = (
            np.repeat(own.bars, n),
            np.repeat(own.stamps, n),
            own.path,
            list(symbols) * each,
        )
        for place, (name, values) in enumerate(zip(COLUMNS, rows, strict=True)):
            frame.insert(place, name, values)
        frames.append(frame)
    if not frames:
        return pd.DataFrame(columns=list(COLUMNS))
    return pd.concat(frames, ignore_index=True)
