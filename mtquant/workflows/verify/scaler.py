# SPDX-License-Identifier: Apache-2.0
"""The scaler and the reward's unit, fitted again on bars that end with the training part: those of
the model have to be the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from mtquant.agents.ensemble import SpecialistEnsemble
from mtquant.agents.hierarchy import HierarchyPolicy
from mtquant.agents.scaling import observation_scaling
from mtquant.agents.specialist import Specialist
from mtquant.agents.stack import Weights
from mtquant.agents.training.world import without_holes
from mtquant.data.bars import Bars
from mtquant.data.panel import Panel
from mtquant.envs.market_env import reward_scale
from mtquant.features.pipeline import Scaler
from mtquant.features.timeframes import TimeframePipeline, warmup_rows, without_ages
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
    for own in subject.bars:
        if own.symbol in kept:
            findings += _compare(subject, own, kept[own.symbol])
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


def specialists(policy: object) -> Mapping[str, Weights]:
    """Symbol -> weights of the specialist that trades it alone."""
    if isinstance(policy, SpecialistEnsemble):
        return {symbol: one.weights for symbol, one in policy.specialists.items()}
    if isinstance(policy, Specialist):
        return {policy.manifest.symbol: policy.weights}
    if isinstance(policy, HierarchyPolicy):
        domains = policy.manifest.domains
        return {own[0]: policy.weights[name] for name, own in domains.items() if len(own) == 1}
    return {}


def _compare(subject: Subject, bars: Bars, weights: Weights) -> list[Finding]:
    """Mean and scale of one specialist, entry by entry."""
    fitted = fitted_scaling(subject, bars)
    kept = [_held(weights, name) for name in (MEAN, SCALE)]
    names = _layout(subject, bars.symbol).names()
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
            name = names[k].removeprefix(f"{bars.symbol}.")
            found.append(Finding(f"{what} of {name}", text, bars.symbol, size=size))
    return sorted(found, key=lambda finding: -finding.size)


def _held(weights: Weights, name: str) -> Rows32:
    """A tensor by its name, or by a longer one: SAC's networks each have their own copy."""
    own = name if name in weights else next(key for key in weights if key.endswith(name))
    found: Rows32 = weights[own].detach().cpu().numpy()
    return found


def fitted_scaling(subject: Subject, bars: Bars) -> tuple[Rows32, Rows32]:
    """Mean and scale of a specialist's observation, of bars that end with the training part."""
    own = cut(bars, subject.split.train.end_ns - 1)
    panel = Panel.from_bars([own])
    names = without_ages(tuple(subject.policy.feature_names))
    config, instruments = subject.config, subject.instruments
    pipeline = TimeframePipeline.from_config(config, instruments, [own.symbol], names)
    features = pipeline.on_panel(panel, [own])
    columns = [pipeline.panel_names.index(name) for name in subject.policy.feature_names]
    stretches = _training_rows(subject, panel, features)
    scaler = Scaler.fit(np.concatenate([features[rows, 0] for rows in stretches])[:, columns])
    return observation_scaling(
        _layout(subject, own.symbol), scaler, config.environment.max_position_size
    )


def _training_rows(subject: Subject, panel: Panel, features: Rows32) -> tuple[slice, ...]:
    """As `SpecialistWorld` counts them: behind the warm-up and a window, without holes."""
    environment = subject.config.environment
    warm = max(warmup_rows(features), environment.warmup_steps) + environment.window_bars - 1
    rows = panel.rows(subject.split.train)
    return without_holes(slice(max(rows.start, warm), rows.stop), panel, subject.split)


def _layout(subject: Subject, symbol: str) -> ObservationLayout:
    features = tuple(subject.policy.feature_names)
    return ObservationLayout((symbol,), features, subject.policy.window_bars, STATE_NAMES)


def _reward_units(subject: Subject, kept: Mapping[str, Specialist]) -> list[Finding]:
    """The return that counts as 1, of every specialist."""
    found = []
    for own in subject.bars:
        if own.symbol not in kept:
            continue
        bars = cut(own, subject.split.train.end_ns - 1)
        panel = Panel.from_bars([bars])
        rules = Rules.from_config(subject.config.environment, subject.instruments, panel.symbols)
        pipeline = TimeframePipeline.from_config(
            subject.config,
            subject.instruments,
            panel.symbols,
            without_ages(tuple(subject.policy.feature_names)),
        )
        rows = _training_rows(subject, panel, pipeline.on_panel(panel, [bars]))
        unit = subject.config.environment.max_position_size
        again = reward_scale(Tape.from_panel(panel, rules), rows, unit)
        found += _unit_finding(own.symbol, kept[own.symbol].manifest.reward_scale, again)
    return found


def _portfolio_unit(subject: Subject) -> list[Finding]:
    """The return that counts as 1 in the portfolio's reward."""
    if not isinstance(subject.policy, HierarchyPolicy):
        return []
    stamp = subject.split.train.end_ns - 1
    market = subject.market_of([cut(own, stamp) for own in subject.bars])
    features = market.features_of(subject.policy)
    environment, panel = subject.config.environment, market.panel
    known = (panel.own_row >= environment.warmup_steps).all(axis=1)
    first = int(known.argmax()) if known.any() else len(panel)
    first = max(first, warmup_rows(features)) + environment.window_bars - 1
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
