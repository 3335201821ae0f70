# SPDX-License-Identifier: Apache-2.0
"""Leaks that are planted in what training left: scalers, units of rewards, bars revised since."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from mtquant.agents.specialist import MANIFEST_NAME, load_specialist, save_specialist
from mtquant.agents.training.replay import BLOCK_ROWS
from mtquant.core.config import Config
from mtquant.data.files import read_parquet, write_parquet
from mtquant.features.pipeline import Scaler
from mtquant.workflows.training import train_phase
from mtquant.workflows.verify import Subject
from mtquant.workflows.verify.scaler import MEAN, SCALE
from tests.support.markets import (
    INSTRUMENTS,
    SYMBOLS,
    TINY_STEPS,
    drop_bars,
    tiny_config,
    write_market,
)

SEEN = 80  # rows in which the tiny features are known


@dataclass(frozen=True)
class Trained:
    """Phases of a tiny run.

    Attributes:
        root: Holds a folder per phase.
        market: Folder of the bars.
        config: The configuration.
    """

    root: Path
    market: Path
    config: Config

    def folder(self, phase: int) -> Path:
        return self.root / f"phase{phase}"

    def copy(self, phase: int, place: Path) -> Path:
        """A folder of its own to plant a fault in."""
        folder = place / f"phase{phase}"
        shutil.copytree(self.folder(phase), folder)
        return folder

    def subject(self, folder: Path) -> Subject:
        return Subject.load(folder, self.config, INSTRUMENTS)


def trained_in(
    root: Path,
    phases: tuple[int, ...],
    *overrides: str,
    missing: float = 0.0,
    symbols: tuple[str, ...] = SYMBOLS,
) -> Trained:
    """Trains; `missing` is the share of bars that the second instrument does not have."""
    market = write_market(root / "bars", symbols)
    if missing:
        drop_bars(market, SYMBOLS[1], missing)
    config = tiny_config(market, *overrides, symbols=symbols)
    found = Trained(root, market, config)
    for phase in phases:
        train_phase(
            phase,
            config,
            INSTRUMENTS,
            found.folder(phase),
            root / "logs" / str(phase),
            timesteps=TINY_STEPS,
        )
    return found


def with_another_scaler(trained: Trained, folder: Path) -> Subject:
    """The first specialist with a scaler that was fitted on all rows, the test's among them."""
    subject = trained.subject(folder)
    own = folder / SYMBOLS[0]
    specialist = load_specialist(own)
    fitted = Scaler.fit(subject.features[SEEN:, 0])
    weights = {name: tensor.clone() for name, tensor in specialist.weights.items()}
    width = len(fitted.mean)
    weights[MEAN][:width] = torch.from_numpy(fitted.mean)
    weights[SCALE][:width] = torch.from_numpy(fitted.scale)
    stored = json.loads((own / MANIFEST_NAME).read_text())
    stored.pop("weights_sha256")
    save_specialist(own, weights, stored)
    return trained.subject(folder)


def with_other_weights(trained: Trained, folder: Path) -> Subject:
    """The first specialist's weights and manifest are exchanged for others that fit each other."""
    own = folder / SYMBOLS[0]
    specialist = load_specialist(own)
    weights = {name: tensor.clone() for name, tensor in specialist.weights.items()}
    weights["log_std"] += 0.5
    stored = json.loads((own / MANIFEST_NAME).read_text())
    stored.pop("weights_sha256")
    save_specialist(own, weights, stored)
    return trained.subject(folder)


def with_another_unit(trained: Trained, folder: Path) -> Subject:
    """The second specialist with a unit of its reward that is 1 % larger."""
    manifest = folder / SYMBOLS[1] / MANIFEST_NAME
    stored = json.loads(manifest.read_text())
    stored["reward_scale"] *= 1.01
    manifest.write_text(json.dumps(stored))
    return trained.subject(folder)


def with_revised_bars(trained: Trained, folder: Path, bars: Path) -> Subject:
    """A close of the second instrument was revised since the training; `bars` receives them."""
    shutil.copytree(trained.market, bars)
    path = bars / f"{SYMBOLS[1]}.parquet"
    own = read_parquet(path)
    close, row = own.close.copy(), BLOCK_ROWS + 7
    close[row] = (own.high[row] + own.low[row]) / 2.0
    write_parquet(replace(own, close=close), path)
    return replace(trained, config=tiny_config(bars)).subject(folder)
