# SPDX-License-Identifier: Apache-2.0
"""What training has left in a folder, as one policy: specialists of phase 1, or a hierarchy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mtquant.agents.ensemble import SpecialistEnsemble
from mtquant.agents.hierarchy import FILE_NAME, load_hierarchy, require_domains
from mtquant.agents.specialist import bars_digest, load_specialists
from mtquant.core.config import Config
from mtquant.core.errors import CheckpointError
from mtquant.core.protocols import Policy
from mtquant.data.bars import Bars
from mtquant.data.instruments import Instrument
from mtquant.features.timeframes import TimeframePipeline, without_ages
from mtquant.market.rules import Rules


@dataclass(frozen=True)
class Trained:
    """A trained policy and what it knows.

    Attributes:
        policy: Trades all configured instruments.
        phase: 1, 2 or 3.
        bars_sha256: Symbol -> digest of the bars it was trained and chosen on.
        known_until_ns: Symbol -> their end.
        reward_scale: Of the reward whose state it observes.
        weights: What was trained -> sha256 of its weights.
        warnings: What the user should know, such as other rules than those of the training.
        from_table: What it does was written down beforehand, elsewhere: nothing is known of the
            bars it comes from, and made-up bars mean nothing to it.
    """

    policy: Policy
    phase: int
    bars_sha256: Mapping[str, str]
    known_until_ns: Mapping[str, int]
    reward_scale: float
    weights: Mapping[str, str]
    warnings: tuple[str, ...]
    from_table: bool = False

    def terms(self, config: Config) -> Mapping[str, float]:
        """Terms of the reward it was trained for."""
        found: Mapping[str, float] = getattr(config.reward, f"phase_{self.phase}")
        return found

    def check_bars(self, bars: Bars, folder: Path) -> None:
        """Refuses other bars than those of the training; later ones may follow.

        Raises:
            CheckpointError: The bars it was trained on are not among these.
        """
        symbol = bars.symbol
        if bars_digest(bars, self.known_until_ns[symbol]) != self.bars_sha256[symbol]:
            raise CheckpointError(
                f"bars of {symbol}",
                f"must go on from those that {folder} was trained on",
                f"{len(bars)} bars of {bars.bar_seconds} s from {bars.stamps[0]}",
                "Use the configuration of the training (the default without --config).",
            )


def load_trained(models: Path, config: Config, instruments: Mapping[str, Instrument]) -> Trained:
    """The policy of a folder.

    Raises:
        CheckpointError: Something is missing, damaged, or was trained on another version of the
            features, other instruments or other specialists.
    """
    if (models / FILE_NAME).exists():
        return _hierarchy(models, config, instruments)
    return _ensemble(models, config, instruments)


def _hierarchy(models: Path, config: Config, instruments: Mapping[str, Instrument]) -> Trained:
    symbols = tuple(config.data.instruments)
    rules = Rules.from_config(config.environment, instruments, symbols)
    policy = load_hierarchy(models, rules)
    manifest = policy.manifest
    if manifest.symbols != symbols:
        raise CheckpointError(
            str(models),
            f"must have been trained on {symbols}",
            manifest.symbols,
            "Use the configuration of the training (the default without --config).",
        )
    require_domains(manifest, config.domains, models)
    names = without_ages(manifest.feature_names)
    pipeline = TimeframePipeline.from_config(config, instruments, symbols, names)
    _require_features(models, manifest.features_hash, pipeline.hash())
    warnings = []
    if rules.hash() != manifest.rules_hash:
        warnings.append("The hierarchy was trained under other rules than it trades under here.")
    return Trained(
        policy,
        manifest.phase,
        manifest.bars_sha256,
        dict.fromkeys(symbols, manifest.known_until_ns),
        manifest.reward_scale,
        {policy.name: manifest.weights_sha256},
        tuple(warnings),
    )


def _ensemble(models: Path, config: Config, instruments: Mapping[str, Instrument]) -> Trained:
    """The configured specialists under inverse-volatility weights."""
    warnings: list[str] = []
    specialists = load_specialists(models, config.domains)
    for name, specialist in specialists.items():
        manifest = specialist.manifest
        features = without_ages(manifest.feature_names)
        pipeline = TimeframePipeline.from_config(config, instruments, manifest.symbols, features)
        _require_features(models / name, manifest.features_hash, pipeline.hash())
        rules = Rules.from_config(config.environment, instruments, manifest.symbols)
        if rules.hash() != manifest.rules_hash:
            warnings.append(f"{name} was trained under other rules than it trades under here.")
    runs = {each.manifest.config_hash for each in specialists.values()}
    if len(runs) > 1:
        raise CheckpointError(
            str(models),
            "must hold specialists of one configuration",
            sorted(runs),
            "Train all of them in one run, into an empty folder.",
        )
    environment = config.environment
    caps = environment.max_position_size, environment.max_gross_exposure
    manifests = {name: each.manifest for name, each in specialists.items()}
    traded = [(own, symbol) for own in manifests.values() for symbol in own.symbols]
    return Trained(
        SpecialistEnsemble(specialists, *caps, symbols=config.data.instruments),
        1,
        {symbol: manifest.bars_sha256[symbol] for manifest, symbol in traded},
        {symbol: manifest.known_until_ns for manifest, symbol in traded},
        float(np.mean([manifest.reward_scale for manifest in manifests.values()])),
        {name: manifest.weights_sha256 for name, manifest in manifests.items()},
        tuple(warnings),
    )


def _require_features(folder: Path, found: str, expected: str) -> None:
    if found != expected:
        raise CheckpointError(
            str(folder),
            "must have been trained on this version of the features, and the same sessions",
            found,
            "Train it again.",
        )
