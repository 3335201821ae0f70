# SPDX-License-Identifier: Apache-2.0
"""What the models at work say and are paid: the specialists' messages, and reward terms.

The latest messages stand in the memory that a ledger keeps of each model, also in ledgers of
versions that did not write them into every decision yet; earlier ones stand in the decisions.
Rewards are a function of outcomes, so they are worked out here from the ledger's rows and the
weights that the model was trained under, as its run folder names them.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import ValidationError

from mtquant.core.config import RewardConfig
from mtquant.core.errors import RunError
from mtquant.core.outcome import OUTCOME_COLUMNS
from mtquant.core.runs import RunFolder
from mtquant.core.states import part
from mtquant.dashboard.curves import COLUMNS, POINTS, picked_bars, stamps_index
from mtquant.dashboard.limits import last_state
from mtquant.envs.hierarchy import MESSAGE, MESSAGE_NAMES, SCALE
from mtquant.paper.memory import unpack_state
from mtquant.paper.messages import spoken
from mtquant.paper.reading import meta
from mtquant.rewards.compose import (
    STATES,
    TERM_NAMES,
    TERMS,
    Reward,
    start_reward,
    step_reward,
)

Messages = dict[str, pd.DataFrame]
History = dict[str, dict[str, pd.DataFrame]]


def at_work(connection: sqlite3.Connection) -> dict[str, str]:
    """Models that trade now: digest of the weights -> path of the run folder."""
    paths = dict(connection.execute("SELECT digest, path FROM models ORDER BY id"))
    digests = {name.split("/")[1] for name in last_state(connection) if name.startswith("seat/")}
    return {digest: path for digest, path in paths.items() if digest in digests}


def messages(connection: sqlite3.Connection) -> Messages:
    """Path of each hierarchy at work -> its specialists' latest messages, a row per instrument.

    Columns are `MESSAGE_NAMES` (units: `envs/hierarchy.py`), and the exposure (units of equity)
    that the meta-controller gave a signal of 1. Other policies say nothing and are left out.
    """
    symbols = meta(connection)["symbols"]
    state, found = last_state(connection), {}
    for digest, path in at_work(connection).items():
        memory = unpack_state(part(f"seat/{digest}", state)["memory"].tobytes(), None)
        if not (isinstance(memory, tuple) and len(memory) == 2):
            continue
        said, scales = memory
        if np.shape(said) == (1, len(symbols), MESSAGE) and np.shape(scales) == said.shape[:2]:
            frame = pd.DataFrame(said[0], columns=list(MESSAGE_NAMES), index=list(symbols))
            found[path] = frame.assign(**{SCALE: scales[0]})
    return found


def message_history(
    connection: sqlite3.Connection, last: int | None = None, columns: int = COLUMNS
) -> History:
    """What the specialists said: path of a hierarchy -> name of a figure -> frame with a column per
    instrument, at evenly picked bars of the `last` newest, or of all.

    Frames have all picked bars, by close stamp; NaN where the hierarchy was not asked, and where
    the decision is of a version that did not write messages down. Hierarchies that said nothing in
    the picked bars are left out.
    """
    symbols, bars = meta(connection)["symbols"], picked_bars(connection, last, columns)
    places = ", ".join("?" * len(bars))
    asked = f"SELECT bar, stamp_ns FROM outcomes WHERE bar IN ({places}) ORDER BY bar"
    rows = connection.execute(asked, bars).fetchall()
    bars, index = [row[0] for row in rows], stamps_index([row[1] for row in rows])
    found: History = {}
    for own in spoken(connection, len(symbols), bars):
        places_of = np.searchsorted(bars, own.bars)
        for k, name in enumerate(own.names):
            frames = found.setdefault(own.path, {})
            if name not in frames:
                frames[name] = pd.DataFrame(np.nan, index=index, columns=list(symbols))
            frames[name].iloc[places_of] = own.figures[:, k]
    return found


def reward_terms(
    connection: sqlite3.Connection, reward: Reward, points: int = POINTS
) -> pd.DataFrame:
    """What each term of a reward has paid since the account was opened, summed up, for about
    `points` evenly picked bars; terms of weight 0 are left out.
    """
    rows = connection.execute("SELECT stamp_ns, raw FROM outcomes ORDER BY bar").fetchall()
    outcomes = np.frombuffer(b"".join(row[1] for row in rows)).reshape(-1, len(OUTCOME_COLUMNS))
    picked = np.unique(np.linspace(0, max(0, len(rows) - 1), points).astype(np.int64))
    state, trace = np.zeros(STATES), np.zeros(TERMS)
    start_reward(state)
    parameters, weights = reward.parameter_vector(), reward.weight_vector()
    paid = np.zeros((len(rows), TERMS))
    for outcome, own in zip(outcomes, paid, strict=True):
        step_reward(state, outcome, parameters, weights, trace)
        own[:] = trace
    index = stamps_index([row[0] for row in rows])
    frame = pd.DataFrame(paid, columns=list(TERM_NAMES), index=index).iloc[picked[: len(rows)]]
    return frame.loc[:, [name for name in TERM_NAMES if reward.weights.get(name, 0.0) != 0.0]]


def reward_of(folder: Path, bars_per_year: float) -> Reward:
    """The reward that the model in a run folder was trained for.

    Raises:
        RunError: The folder is not there, or does not say.
    """
    card = RunFolder(folder).card
    phase, scale = _phase_and_scale(folder)
    try:
        config = RewardConfig.model_validate(card["config"]["reward"])
    except (KeyError, TypeError, ValidationError) as error:
        raise _silent(folder, "no reward that this version knows") from error
    terms: Mapping[str, float] = getattr(config, f"phase_{phase}")
    return Reward.from_config(config, terms, scale, bars_per_year)


def _phase_and_scale(folder: Path) -> tuple[int, float]:
    """Phase of the training, and the return of one bar that counted as 1; of specialists their
    mean, as in trading.
    """
    # The manifests for people: the weights' own would need torch, and nothing is traded on this.
    try:
        own = folder / "hierarchy.json"
        if own.exists():
            manifest: dict[str, Any] = json.loads(own.read_text(encoding="utf-8"))
            return int(manifest["phase"]), float(manifest["reward_scale"])
        found = [json.loads(path.read_text()) for path in folder.glob("*/specialist.json")]
        scales = [float(manifest["reward_scale"]) for manifest in found]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _silent(folder, str(error)) from error
    if not scales:
        raise _silent(folder, "neither a hierarchy nor specialists")
    return 1, float(np.mean(scales))


def _silent(folder: Path, found: str) -> RunError:
    remedy = "Reward terms are shown for models that mtquant trained, from where they lie."
    return RunError(str(folder), "must say what its model was paid for", found, remedy)
