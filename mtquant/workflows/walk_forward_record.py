# SPDX-License-Identifier: Apache-2.0
"""What a walk-forward found, as `evaluation.json` holds it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from mtquant.data.bars import stamp_text
from mtquant.data.folds import Fold
from mtquant.data.splits import Part
from mtquant.evaluation.significance.tried import Tried
from mtquant.evaluation.track_statistics import Findings
from mtquant.evaluation.tracks import Track, WalkForward
from mtquant.evaluation.verdict import Verdict
from mtquant.workflows.cost_sensitivity import CostCurve


def record_of(
    found: WalkForward, statistics: Findings, costs: CostCurve, tried: Tried | None
) -> dict[str, Any]:
    """Plain values; stamps are close stamps in UTC, periods end before their second stamp."""
    headline = found.headline
    return {
        "scheme": found.scheme,
        "verdict": _verdict(statistics.verdicts[headline.name]),
        "headline": headline.name,
        "first_close": stamp_text(int(headline.ledger.stamps[0])),
        "last_close": stamp_text(int(headline.ledger.stamps[-1])),
        "tried": None if tried is None else asdict(tried),
        "folds": [_fold(fold) for fold in found.folds],
        "tracks": [_track(track, statistics) for track in found.tracks],
        "baselines": {own.name: dict(statistics.measures[own.name]) for own in found.baselines},
        "fold_scores": [asdict(score) for score in found.scores],
        "significance": {
            "seeds": [asdict(own) for own in statistics.seeds],
            "overfitting": _overfitting(statistics),
            "against_baselines": [asdict(own) for own in statistics.against],
            "may_be_the_best": list(statistics.best),
        },
        "costs": {**asdict(costs), "sentence": costs.sentence},
    }


def _fold(fold: Fold) -> dict[str, Any]:
    return {
        "number": fold.number,
        "train": [_dates(part) for part in fold.train],
        "validation": _dates(fold.validation),
        "tests": [_dates(part) for part in fold.tests],
        "groups": list(fold.groups),
    }


def _dates(part: Part) -> list[str]:
    return [stamp_text(part.start_ns), stamp_text(part.end_ns)]


def _track(track: Track, statistics: Findings) -> dict[str, Any]:
    tests = statistics.exceedances.get(track.name)
    return {
        "name": track.name,
        "phase": track.phase,
        "seed": track.seed,
        "path": track.path,
        "ledger_sha256": track.ledger.hash(),
        "weights": {number: dict(own) for number, own in track.weights.items()},
        "measures": dict(statistics.measures[track.name]),
        "verdict": _verdict(statistics.verdicts[track.name]),
        "var_exceedances": None if tests is None else asdict(tests),
    }


def _verdict(judged: Verdict) -> dict[str, Any]:
    return {
        "grade": judged.assessment.grade,
        "sentence": judged.assessment.sentence,
        "lines": list(judged.lines),
        "deflated_sharpe": judged.deflated,
    }


def _overfitting(statistics: Findings) -> dict[str, Any] | None:
    found = statistics.overfitting
    if found is None:
        return None
    return {
        "probability": found.probability,
        "by_luck": found.by_luck,
        "loss_probability": found.loss_probability,
        "halvings": len(found.logits),
        "median_logit": float(np.median(found.logits)),
    }
