# SPDX-License-Identifier: Apache-2.0
"""What a report shows beside the backtest itself: other costs, earlier phases, made-up markets, the
training's curves.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mtquant.agents.ensemble import SpecialistEnsemble
from mtquant.agents.hierarchy import HierarchyPolicy
from mtquant.core.errors import MtquantError
from mtquant.core.runs import CARD_NAME, RunFolder
from mtquant.core.seeding import SeedTree
from mtquant.core.telemetry import read_scalars
from mtquant.evaluation.report import Learning, Stress
from mtquant.market.ledger import Ledger
from mtquant.workflows.backtesting import Market, Progress, check_unseen, trade
from mtquant.workflows.cost_sensitivity import CostCurve, cost_curve
from mtquant.workflows.models import Trained, load_trained
from mtquant.workflows.robustness import robustness

COST_SCALES = (0.0, 0.5, 1.0, 2.0, 4.0)
NANOSECONDS_PER_YEAR = 365.25 * 86_400 * 1e9


def costs_of(
    trained: Trained, market: Market, ledger: Ledger, progress: Progress | None = None
) -> CostCurve:
    """The policy under scaled costs; its own `ledger` is the point of scale 1."""

    def run(scale: float) -> Ledger:
        if scale == 1.0:
            return ledger
        return trade(trained, market, progress, cost_scale=scale, name=f"costs x {scale:g}")

    return cost_curve(run, market.config.training.seed, COST_SCALES)


def phase_ledgers(
    models: Path,
    trained: Trained,
    ledger: Ledger,
    market: Market,
    part: str,
    progress: Progress | None = None,
) -> dict[str, Ledger]:
    """What each phase of training left, traded on the same bars, earliest first.

    Earlier phases are the folders ``phase1`` and ``phase2`` beside `models`. One that is not there,
    or that cannot be used on these bars, is left out: it is no part of what is reported on.

    Returns:
        Name of the phase -> ledger; empty where no earlier phase is found.
    """
    found: dict[str, Ledger] = {}
    for number in range(1, trained.phase):
        folder = models.parent / f"phase{number}"
        if not folder.is_dir():
            continue
        try:
            earlier = load_trained(folder, market.config, market.instruments)
            check_unseen(earlier, market, part, folder)
        except MtquantError:
            continue
        found[f"phase {number}"] = trade(earlier, market, progress, name=f"phase {number}")
    return {**found, f"phase {trained.phase}": ledger} if found else {}


def specialists_of(trained: Trained) -> Mapping[str, tuple[str, ...]]:
    """Who speaks for which instruments."""
    if isinstance(trained.policy, HierarchyPolicy):
        return trained.policy.manifest.domains
    if isinstance(trained.policy, SpecialistEnsemble):
        return trained.policy.domains
    return {}


def stress_of(
    trained: Trained, market: Market, seeds: int, progress: Progress | None = None
) -> Stress | None:
    """Made-up markets under so many seeds each; None for no seeds, too few training rows, or a
    table.
    """
    if not seeds or trained.from_table:
        return None
    node = SeedTree(market.config.training.seed).child("report", "stress")
    found = robustness(trained, market, node, seeds, progress=progress)
    return None if found is None else Stress(found.bars, found.measured)


def learning_of(models: Path) -> list[Learning]:
    """Curves of the phase in `models` and of those beside it, where their event files still are."""
    folders = [models.parent / f"phase{number}" for number in (1, 2, 3)]
    folders = folders[: folders.index(models)] if models in folders else []
    return [each for folder in (*folders, models) for each in _learning(folder)]


def _learning(models: Path) -> list[Learning]:
    """Of one phase: its own curves, then those of its specialists."""
    if not (models / CARD_NAME).is_file():
        return []
    logs = RunFolder(models).card.get("logs")
    if logs is None or not Path(logs).is_dir():
        return []
    root = Path(logs)
    folders = [root, *sorted(path for path in root.iterdir() if path.is_dir())]
    found = []
    for folder in folders:
        own = "" if folder == root else f", {folder.name}"
        validated = models if folder == root else models / folder.name
        name = f"{models.name.replace('phase', 'phase ')}{own}"
        found.append(Learning(name, read_scalars(folder), _years(validated / "validation_ledger")))
    return [each for each in found if each.curves]


def _years(folder: Path) -> float:
    """Length of a validation ledger; NaN if there is none."""
    if not folder.is_dir():
        return float("nan")
    stamps = Ledger.load(folder).stamps
    return float(stamps[-1] - stamps[0]) / NANOSECONDS_PER_YEAR
