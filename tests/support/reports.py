# SPDX-License-Identifier: Apache-2.0
"""Material of a report with every part in it, from small ledgers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from mtquant.data.folds import Fold
from mtquant.data.splits import Part
from mtquant.evaluation.report import Learning, Material, Stress
from mtquant.evaluation.sections import Section
from mtquant.evaluation.significance.tried import Tried
from mtquant.evaluation.track_statistics import findings
from mtquant.evaluation.tracks import FoldScore, Track, WalkForward
from mtquant.market.ledger import Ledger
from tests.support.ledgers import trading_ledger

BARS = 300
DAY = 86_400 * 10**9


def policy(**changes: Any) -> Ledger:
    """The ledger that the report is about."""
    fields = {"seed": 1, "bars": BARS, "name": "hierarchy", "notes": ("closes only",)}
    return trading_ledger(**{**fields, **changes})


def baseline() -> Ledger:
    """One that lived through the same bars."""
    return trading_ledger(seed=2, bars=BARS, name="buy & hold")


def _own(phase: int, seed: int) -> dict[str, Any]:
    return {"seed": 10 * phase + seed, "bars": BARS, "name": f"phase {phase}, seed {seed}"}


def walk_forward() -> WalkForward:
    """Two folds, three seeds, phases 1 and 3."""
    stamps = policy().stamps
    half = int(stamps[BARS // 2])
    tests = (Part(int(stamps[0]), half), Part(half, int(stamps[-1]) + 1))
    before = Part(int(stamps[0]) - 900 * DAY, int(stamps[0]) - 400 * DAY)
    validation = Part(before.end_ns, int(stamps[0]))
    folds = tuple(
        Fold(number, (before,), validation, (test,), (number - 1,))
        for number, test in enumerate(tests, start=1)
    )
    tracks = tuple(
        Track(phase, seed, 0, trading_ledger(**_own(phase, seed)), {})
        for phase in (1, 3)
        for seed in (7, 8, 9)
    )
    scores = tuple(
        FoldScore.of(fold.number, fold.tests[0], track) for fold in folds for track in tracks
    )
    return WalkForward("rolling", folds, tracks, (baseline(),), scores)


@dataclass(frozen=True)
class Point:
    """A `CostPoint`."""

    scale: float
    annual_return: float
    sharpe: float = 0.5
    interval: tuple[float, float] = (-0.5, 1.5)
    turnover_per_year: float = 10.0
    cost_per_year: float = 0.01


@dataclass(frozen=True)
class Costs:
    """A `CostCurve`."""

    points: tuple[Point, ...]
    break_even: float
    sentence: str


def costs(*gains: float) -> Costs:
    """Annual returns at scales 0, 1, 2, ...; the break-even is said to be 1.25."""
    points = tuple(Point(float(scale), gain) for scale, gain in enumerate(gains))
    return Costs(points, 1.25, "Break-even at 1.25 times the costs.")


def full_material(**changes: Any) -> Material:
    """Everything that a report can hold."""
    tried = Tried(3, 1.4)
    walked = walk_forward()
    steps = list(range(0, 50_000, 5_000))
    curve = (steps, list(np.linspace(0.2, 0.6, len(steps))))
    curves = {"rollout/ep_rew_mean": curve, "validation/sharpe": curve, "train/approx_kl": curve}
    closes = pd.date_range("2020-01-01", periods=3)
    fields: dict[str, Any] = {
        "title": "Hierarchy <one> & two",
        "runs": [policy(), baseline()],
        "tried": tried,
        "specialists": {"first": ("AAA", "BBB"), "second": ("CCC",)},
        "phases": {"phase 1": baseline(), "phase 3": policy()},
        "costs": costs(0.05, 0.01, -0.03),
        "walk_forward": walked,
        "statistics": findings(walked, tried, 0),
        "stress": Stress(
            500,
            {
                "flash_crash": {"sharpe": [0.1, -0.4], "drawdown": [0.2, 0.1], "win_rate": [0.5]},
                "dead": {"sharpe": [float("nan"), 0.2], "drawdown": [0.1, 0.3], "win_rate": []},
            },
        ),
        "learning": [Learning("phase 1, AAA", curves, 2.0), Learning("phase 3", curves)],
        "sections": [Section("Further", ("a", "b"), (("x", "1 | 2"),), ("A note.",))],
        "figures": {
            "Value <x>": go.Figure(go.Scatter(x=closes, y=[1.0, 2.0, 3.0]), layout={"width": 700})
        },
        "tables": {
            "Stats": pd.DataFrame({"value": ["<b>3</b>"]}, index=["a"]),
            "Raw": "1 < 2",
        },
        "card": {"config hash": "c0ffee", "versions": {"numpy": "9.9"}, "seeds": [1, 2]},
        "audit": {"largest relative difference": 3e-12},
    }
    return Material(**{**fields, **changes})
