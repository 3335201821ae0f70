# SPDX-License-Identifier: Apache-2.0
"""Phase 1's specialists, each alone on its own instruments' bars, as it was trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtquant.agents.specialist import Specialist, load_specialists
from mtquant.agents.training.world import SpecialistWorld
from mtquant.backtest.runner import run_backtest
from mtquant.core.config import Config
from mtquant.core.protocols import Observation
from mtquant.data.instruments import Instrument
from mtquant.data.sources import load_bars, split_bars
from mtquant.evaluation.sections import Section, between
from mtquant.workflows.targets import Target, targets_of

Float32 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Individual:
    """One specialist on the test rows.

    Attributes:
        specialist: It.
        targets: The targets of phase 1.
        seen: What it saw at every decision, float32 [T, size].
        names: Of the entries.
    """

    specialist: Specialist
    targets: tuple[Target, ...]
    seen: Float32
    names: tuple[str, ...]


class _Watched:
    """A policy whose observations are kept."""

    def __init__(self, policy: Specialist) -> None:
        self.policy = policy
        self.name, self.window_bars = policy.name, policy.window_bars
        self.feature_names = policy.feature_names
        self.seen: list[Float32] = []
        self.names: tuple[str, ...] = ()

    def initial_state(self) -> Any:
        return self.policy.initial_state()

    def act(self, observation: Observation, state: Any) -> tuple[NDArray[np.float64], Any]:
        self.seen.append(observation.values)
        self.names = observation.names
        return self.policy.act(observation, state)


def individuals(
    models: Path,
    config: Config,
    instruments: Mapping[str, Instrument],
    draws: int,
    random: np.random.Generator,
) -> list[Individual]:
    """Every configured specialist of a folder of phase 1, traded over its test rows.

    Args:
        models: The folder.
        config, instruments: Of the training.
        draws: Bootstrap samples behind every interval.
        random: Where they come from.
    """
    bars = load_bars(config.data, instruments)
    split = split_bars(bars, config.data)
    found = []
    for name, specialist in load_specialists(models, config.domains).items():
        own = {symbol: bars[symbol] for symbol in specialist.manifest.symbols}
        world = SpecialistWorld.build(name, own, split, config, instruments)
        watched = _Watched(specialist)
        ledger = run_backtest(
            watched, world.tape, world.rules, world.features, world.rows["test"], world.reward
        )
        targets = targets_of(1, ledger, world.rules, world.tape, draws, random)
        found.append(
            Individual(watched.policy, tuple(targets), np.array(watched.seen), watched.names)
        )
    return found


def individuals_section(found: list[Individual]) -> Section:
    """A row per specialist, a column per metric."""
    headings = ("specialist", *(target.name for target in found[0].targets), "targets met")
    rows = []
    for each in found:
        cells = [f"{t.text(t.measured)} ({between(t.interval, t.text)})" for t in each.targets]
        asked = [target.met for target in each.targets if target.met is not None]
        name = each.specialist.manifest.name
        rows.append((name, *cells, f"{sum(asked)} of {len(asked)}"))
    asked_for = ", ".join(f"{t.name} {t.bound}" for t in found[0].targets if t.least is not None)
    note = f"Each alone in its account, with its 95 % interval; asked for: {asked_for}."
    return Section("Specialists one by one", headings, tuple(rows), (note,))
