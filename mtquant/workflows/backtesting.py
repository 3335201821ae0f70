# SPDX-License-Identifier: Apache-2.0
"""Trained specialists on bars they have not seen: backtest, audit, baselines, report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mtquant.agents.baselines import baselines
from mtquant.agents.ensemble import SpecialistEnsemble
from mtquant.agents.specialist import Specialist, bars_digest, load_specialist
from mtquant.backtest.runner import run_backtest
from mtquant.backtest.vectorbt_audit import Audit, audit
from mtquant.backtest.vectorbt_views import vectorbt_figures, vectorbt_tables
from mtquant.core.config import Config, EnvironmentConfig
from mtquant.core.errors import CheckpointError, DataError
from mtquant.core.protocols import Policy
from mtquant.core.runs import RunFolder
from mtquant.data.bars import Bars
from mtquant.data.instruments import Instrument
from mtquant.data.panel import Panel
from mtquant.data.sources import load_bars, split_bars
from mtquant.evaluation.metrics import summarize
from mtquant.evaluation.report import report_markdown, write_report
from mtquant.features.timeframes import TimeframePipeline, warmup_rows, without_ages
from mtquant.market.ledger import Ledger
from mtquant.market.rules import Rules
from mtquant.market.tape import Tape
from mtquant.rewards.compose import Reward

TRADING_DAYS_PER_YEAR = 252
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class BacktestResult:
    """What a backtest leaves behind.

    Attributes:
        report: The HTML page.
        ledgers: The policy's, then the baselines'.
        audit: vectorbt's replay of the policy's.
        markdown: Verdict and metrics for a terminal.
        ledger_hash: sha256 of the policy's ledger.
        weights_hashes: Symbol -> sha256 of the specialist's weights.
        warnings: What the user should know, such as models trained under other rules.
    """

    report: Path
    ledgers: tuple[Ledger, ...]
    audit: Audit
    markdown: str
    ledger_hash: str
    weights_hashes: Mapping[str, str]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Market:
    """All configured instruments on one panel, as a portfolio policy meets them."""

    config: Config
    instruments: Mapping[str, Instrument]
    bars: tuple[Bars, ...]
    panel: Panel
    rules: Rules
    tape: Tape
    rows: slice

    @classmethod
    def build(cls, config: Config, instruments: Mapping[str, Instrument], part: str) -> Market:
        """Loads the configured bars and finds the rows of ``"validation"`` or ``"test"``."""
        by_symbol = load_bars(config.data, instruments)
        split = split_bars(by_symbol, config.data)
        panel = Panel.from_bars(list(by_symbol.values()))
        rules = Rules.from_config(config.environment, instruments, panel.symbols)
        tape = Tape.from_panel(panel, rules)
        rows = panel.rows(getattr(split, part))
        bars = tuple(by_symbol.values())
        return cls(config, instruments, bars, panel, rules, tape, rows)

    def features_for(self, policy: Policy) -> NDArray[np.float32]:
        """The policy's own features on this panel, float32 [T, N, F] in its order.

        Raises:
            DataError: They are not yet known where trading begins.
        """
        pipeline = TimeframePipeline.from_config(
            self.config, self.instruments, self.panel.symbols, without_ages(policy.feature_names)
        )
        computed = pipeline.on_panel(self.panel, self.bars)
        columns = [pipeline.panel_names.index(name) for name in policy.feature_names]
        features: NDArray[np.float32] = computed[:, :, columns]
        if not np.isfinite(features[self.rows.start]).all():
            raise DataError(
                f"features of {policy.name}",
                f"must be known where trading begins: they need {warmup_rows(features)} bars",
                f"row {self.rows.start}",
                "Use bars that begin earlier, or other split fractions.",
            )
        return features


def load_ensemble(
    models: Path, config: Config, instruments: Mapping[str, Instrument]
) -> tuple[SpecialistEnsemble, list[str]]:
    """The configured instruments' specialists as one policy, and warnings.

    Raises:
        CheckpointError: A specialist is missing, damaged, or was trained on another version of the
            features.
    """
    warnings: list[str] = []
    specialists: dict[str, Specialist] = {}
    for symbol in config.data.instruments:
        specialist = load_specialist(models / symbol)
        manifest = specialist.manifest
        names = without_ages(manifest.feature_names)
        pipeline = TimeframePipeline.from_config(config, instruments, [symbol], names)
        if pipeline.hash() != manifest.features_hash:
            raise CheckpointError(
                str(models / symbol),
                "must have been trained on this version of the features, and the same sessions",
                manifest.features_hash,
                "Train the specialist again.",
            )
        rules = Rules.from_config(config.environment, instruments, [symbol])
        if rules.hash() != manifest.rules_hash:
            warnings.append(f"{symbol} was trained under other rules than it trades under here.")
        specialists[symbol] = specialist
    runs = {each.manifest.config_hash for each in specialists.values()}
    if len(runs) > 1:
        raise CheckpointError(
            str(models),
            "must hold specialists of one configuration",
            sorted(runs),
            "Train all of them in one run, into an empty folder.",
        )
    environment = config.environment
    ensemble = SpecialistEnsemble(
        specialists, environment.max_position_size, environment.max_gross_exposure
    )
    return ensemble, warnings


def backtest(
    config: Config,
    instruments: Mapping[str, Instrument],
    models: Path,
    output: Path,
    *,
    part: str = "test",
    command: Sequence[str] = (),
    progress: Progress | None = None,
) -> BacktestResult:
    """Replays the specialists out of sample, audits the ledger and writes the report.

    Args:
        config: Bars, rules and reward; models trained under others are used with a warning.
        instruments: Configured instruments.
        models: Folder of phase 1: one folder per instrument.
        output: Receives ``report.html``, ``card.json`` and one ledger folder per policy.
        part: ``"test"`` or ``"validation"``.
        command: What was typed, for the card.
        progress: Called with the policy's name, bars done and bars in all.
    """
    ensemble, warnings = load_ensemble(models, config, instruments)
    market = Market.build(config, instruments, part)
    _check_unseen(ensemble, market, part)
    run = RunFolder.create(
        output, config=config, seed=config.training.seed, command=command, overwrite=True
    )
    reward = ensemble_reward(ensemble, config, market.tape.bars_per_year)
    ledger = _trade(ensemble, market, market.rules, reward, progress)
    others = _baselines(config.environment, market, progress)
    ledgers = (ledger, *others)
    for each in ledgers:  # before the audit: a ledger that fails it is what one wants to look at
        each.save(output / "ledgers" / each.name.replace(" ", "_"))
    found = audit(ledger, market.rules)
    hashes = {
        symbol: specialist.manifest.weights_sha256
        for symbol, specialist in ensemble.specialists.items()
    }
    run.stage(f"backtest/{part}", {**summarize(ledger, config.training.seed)})
    title = f"Specialists out of sample: {part} period"
    report = write_report(
        output / "report.html",
        ledgers,
        title=title,
        seed=config.training.seed,
        figures=vectorbt_figures(found, ledger, market.tape.bars_per_year),
        tables=vectorbt_tables(found, ledger, market.tape.bars_per_year),
        card={**_short(run.card), "weights": hashes, "warnings": warnings},
        audit={
            "largest relative difference to vectorbt": found.largest_relative_difference,
            "bars replayed": found.bars,
            "fills replayed": found.fills,
        },
    )
    markdown = report_markdown(ledgers, title=title, seed=config.training.seed)
    return BacktestResult(report, ledgers, found, markdown, ledger.hash(), hashes, tuple(warnings))


def _check_unseen(ensemble: SpecialistEnsemble, market: Market, part: str) -> None:
    """Refuses other bars than those of the training, and a test that begins inside them."""
    for bars, specialist in zip(market.bars, ensemble.specialists.values(), strict=True):
        manifest = specialist.manifest
        if bars_digest(bars, manifest.known_until_ns) != manifest.bars_sha256:
            raise CheckpointError(
                f"bars of {bars.symbol}",
                "must go on from those the specialist was trained on",
                f"{len(bars)} bars of {bars.bar_seconds} s from {bars.stamps[0]}",
                "Use the configuration of the training (the default without --config).",
            )
        begin = int(market.panel.stamps[market.rows.start])
        if part == "test" and begin < manifest.known_until_ns:
            raise CheckpointError(
                "start of the test part",
                f"must lie behind the bars that {bars.symbol} was trained and chosen on",
                str(np.datetime64(begin, "ns")),
                "Use the split of the training (the default without --config).",
            )


def ensemble_reward(ensemble: SpecialistEnsemble, config: Config, bars_per_year: float) -> Reward:
    """The reward whose state the specialists observe, at the mean of their scales."""
    scales = [each.manifest.reward_scale for each in ensemble.specialists.values()]
    scale = float(np.mean(scales))
    return Reward.from_config(config.reward, config.reward.phase_1, scale, bars_per_year)


def _baselines(
    environment: EnvironmentConfig, market: Market, progress: Progress | None
) -> list[Ledger]:
    """Cash, buy and hold, inverse volatility and momentum in the same world, without stops."""
    # Windows count an instrument's own bars: the panel has more rows where hours differ.
    per_year = float(np.median([bars.bars_per_year for bars in market.bars]))
    per_day = max(1, round(per_year / TRADING_DAYS_PER_YEAR))
    policies = baselines(per_day, environment.max_position_size, environment.max_gross_exposure)
    reward = Reward({"growth": 1.0}, 1.0)  # baselines do not look at its state
    rules = market.rules.without_stops()
    return [_trade(policy, market, rules, reward, progress) for policy in policies]


def _trade(
    policy: Policy, market: Market, rules: Rules, reward: Reward, progress: Progress | None
) -> Ledger:
    bars = market.rows.stop - market.rows.start - 1
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(policy.name, done, bars)

    features = market.features_for(policy)
    return run_backtest(policy, market.tape, rules, features, market.rows, reward, advance)


def _short(card: Mapping[str, object]) -> dict[str, object]:
    """The card without what the report shows anyway."""
    return {name: value for name, value in card.items() if name != "stages"}
