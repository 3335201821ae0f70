# SPDX-License-Identifier: Apache-2.0
"""The scaler and the reward's unit, fitted again on bars that end with the training part: those of
the model have to be the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtquant.agents.ensemble import SpecialistEnsemble
from mtquant.agents.hierarchy import HierarchyPolicy
from mtquant.agents.scaling import observation_scaling
from mtquant.agents.specialist import Specialist
from mtquant.agents.stack import Weights
from mtquant.agents.training.world import known_from, without_holes
from mtquant.data.panel import Panel
from mtquant.envs.market_env import reward_scale
from mtquant.features.pipeline import Scaler
from mtquant.features.timeframes import TimeframePipeline, without_ages
from mtquant.market.observation import ObservationLayout
from mtquant.market.rules import Rules
from mtquant.market.tape import Tape
from mtquant.rewards.compose import STATE_NAMES
from mtquant.workflows.verify.changes import cut
from mtquant.workflows.verify.record import Finding, Record
from mtquant.workflows.verify.subject import Subject

NAME = "look-ahead: scaler"
REMEDY = "It was fitted on other rows than those of the training part: fit it there, train again."
MEAN, SCALE = "features_extractor.mean", "features_extractor.scale"
Rows32 = NDArray[np.float32]


def check_scaler(subject: Subject) -> Record:
    """Fits every specialist's scaling again, and the reward's unit."""
    kept = specialists(subject.policy)
    if not kept:
        return Record.not_checked(NAME, f"{subject.name} holds no scaler of ours")
    findings: list[Finding] = []
    for own, weights in kept.values():
        findings += _compare(subject, own, weights)
    looked = (
        f"means and deviations of {len(kept)} specialists are those of bars that end with the "
        "training part, byte for byte"
    )
    if isinstance(subject.policy, SpecialistEnsemble):
        findings += _reward_units(subject, subject.policy.specialists)
        looked += ", and so are the units of their rewards"
    else:
        findings += _portfolio_unit(subject)
        looked += (
            "; the meta-controller's come from random decisions on training rows, which the seed "
            "replay repeats"
        )
    return Record.of(NAME, findings, looked, REMEDY)


def specialists(policy: object) -> Mapping[str, tuple[tuple[str, ...], Weights]]:
    """Name -> the symbols it trades, and its weights."""
    if isinstance(policy, SpecialistEnsemble):
        return {
            name: (own.manifest.symbols, own.weights) for name, own in policy.specialists.items()
        }
    if isinstance(policy, Specialist):
        return {policy.manifest.name: (policy.manifest.symbols, policy.weights)}
    if isinstance(policy, HierarchyPolicy):
        domains = policy.manifest.domains
        return {name: (own, policy.weights[name]) for name, own in domains.items()}
    return {}


def _compare(subject: Subject, symbols: tuple[str, ...], weights: Weights) -> list[Finding]:
    """Mean and scale of one specialist, entry by entry."""
    fitted = fitted_scaling(subject, symbols)
    kept = [_held(weights, name) for name in (MEAN, SCALE)]
    names = _layout(subject, symbols).names()
    found = []
    for what, own, again in zip(("mean", "scale"), kept, fitted, strict=True):
        # The observation repeats a feature for every bar of its window: once is enough.
        for k in np.flatnonzero(own != again).tolist():
            unit = float(fitted[1][k])
            size = abs(float(own[k]) - float(again[k])) / unit
            text = (
                f"{what} {float(own[k]):.6g} in the model, {float(again[k]):.6g} of the training "
                f"rows ({size:.3g} deviations)"
            )
            symbol, dot, name = names[k].partition(".")
            symbol, name = (symbol, name) if dot else ("", symbol)
            found.append(Finding(f"{what} of {name}", text, symbol, size=size))
    return sorted(found, key=lambda finding: -finding.size)


def _held(weights: Weights, name: str) -> Rows32:
    """A tensor by its name, or by a longer one: SAC's networks each have their own copy."""
    own = name if name in weights else next(key for key in weights if key.endswith(name))
    found: Rows32 = weights[own].detach().cpu().numpy()
    return found


@dataclass(frozen=True)
class _Fitted:
    """What bars that end with the training part say of one specialist.

    Attributes:
        panel: Of its instruments.
        features: float32 [T, N, F], as the policy has them.
        stretches: The training rows, as `SpecialistWorld` counts them.
    """

    panel: Panel
    features: Rows32
    stretches: tuple[slice, ...]


def fitted_scaling(subject: Subject, symbols: tuple[str, ...]) -> tuple[Rows32, Rows32]:
    """Mean and scale of a specialist's observation, of bars that end with the training part."""
    own = _fitted(subject, symbols)
    scalers = [
        Scaler.fit(np.concatenate([own.features[rows, n] for rows in own.stretches]))
        for n in range(len(symbols))
    ]
    unit = subject.config.environment.max_position_size
    return observation_scaling(_layout(subject, symbols), scalers, unit)


def _fitted(subject: Subject, symbols: tuple[str, ...]) -> _Fitted:
    by_symbol = {bars.symbol: bars for bars in subject.bars}
    bars = [cut(by_symbol[symbol], subject.split.train.end_ns - 1) for symbol in symbols]
    panel, config = Panel.from_bars(bars), subject.config
    names = without_ages(tuple(subject.policy.feature_names))
    pipeline = TimeframePipeline.from_config(config, subject.instruments, symbols, names)
    features = pipeline.on_panel(panel, bars)
    rows = panel.rows(subject.split.train)
    first = max(rows.start, known_from(panel, features, config.environment))
    stretches = without_holes(slice(first, rows.stop), panel, subject.split)
    columns = [pipeline.panel_names.index(name) for name in subject.policy.feature_names]
    return _Fitted(panel, features[:, :, columns], stretches)


def _layout(subject: Subject, symbols: tuple[str, ...]) -> ObservationLayout:
    features = tuple(subject.policy.feature_names)
    return ObservationLayout(symbols, features, subject.policy.window_bars, STATE_NAMES)


def _reward_units(subject: Subject, kept: Mapping[str, Specialist]) -> list[Finding]:
    """The return that counts as 1, of every specialist."""
    found, environment = [], subject.config.environment
    for name, specialist in kept.items():
        symbols = specialist.manifest.symbols
        own = _fitted(subject, symbols)
        rules = Rules.from_config(environment, subject.instruments, symbols)
        tape = Tape.from_panel(own.panel, rules)
        again = reward_scale(tape, own.stretches, environment.max_position_size)
        found += _unit_finding(name, specialist.manifest.reward_scale, again)
    return found


def _portfolio_unit(subject: Subject) -> list[Finding]:
    """The return that counts as 1 in the portfolio's reward."""
    if not isinstance(subject.policy, HierarchyPolicy):
        return []
    stamp = subject.split.train.end_ns - 1
    market = subject.market_of([cut(own, stamp) for own in subject.bars])
    features = market.features_of(subject.policy)
    panel = market.panel
    first = known_from(panel, features, subject.config.environment)
    rows = panel.rows(subject.split.train)
    rows = slice(max(rows.start, first), rows.stop)
    stretches = without_holes(rows, panel, subject.split)
    again = reward_scale(market.tape, stretches, market.rules.max_gross_exposure)
    return _unit_finding("", subject.policy.manifest.reward_scale, again)


def _unit_finding(symbol: str, kept: float, again: float) -> list[Finding]:
    if kept == again:
        return []
    size = abs(kept / again - 1.0) if again else float("inf")
    text = f"{kept:.9g} in the model, {again:.9g} of the training rows ({size:.2%} apart)"
    return [Finding("unit of the reward", text, symbol, size=size)]
