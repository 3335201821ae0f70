# SPDX-License-Identifier: Apache-2.0
"""Scenarios on the training rows' calendar: what is read, what stays, and what each dial moves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.stats import spearmanr

from mtquant.agents.training.curriculum import AdvancedCurriculumLearning, Scenario
from mtquant.agents.training.portfolio import PortfolioWorld
from mtquant.agents.training.scenarios import lay_out, scenario_env
from mtquant.core.config import EnvironmentConfig
from mtquant.core.curriculum_config import CurriculumConfig
from mtquant.core.errors import DataError
from mtquant.core.seeding import SeedTree
from mtquant.data.bars import NANOSECONDS, Bars
from mtquant.data.moves import moves_from_bars
from mtquant.data.splits import Part, Split
from mtquant.envs.market_env import MarketEnv
from tests.support.builders import assert_same_bars, bars_from_closes, make_bars, replaced
from tests.support.markets import INSTRUMENTS, tiny_config, walk_world

DAY = 86_400
SYMBOLS = ("EURUSD", "GBPUSD", "XAUUSD")
OWN = (0.006, 0.009, 0.015)  # deviation of a bar
PRICES = (1.1, 1.4, 1_800.0)
BARS = 3_200
Float = NDArray[np.float64]

# Dials that the tests turn one at a time; the others stand still.
STILL = {
    "volatility_factor": (1.0, 1.0),
    "jumps_a_year": (0.0, 0.0),
    "switches_a_year": (4.0, 4.0),
    "breakdown": (0.5, 0.5),
    "cost_factor": (1.0, 1.0),
    "episode_factor": (1.0, 1.0),
    "synthetic_share": (1.0, 1.0),
}


def real_bars(seed: int = 0) -> dict[str, Bars]:
    """Random walks of own volatility and price, all sharing a third of their variance, that skip
    weekends.
    """
    random = np.random.default_rng(seed)
    shared = random.standard_normal(BARS)
    days = np.arange(BARS) + 2 * (np.arange(BARS) // 5)
    bars = {}
    for symbol, deviation, price in zip(SYMBOLS, OWN, PRICES, strict=True):
        shocks = np.sqrt(1 / 3) * shared + np.sqrt(2 / 3) * random.standard_normal(BARS)
        walk = bars_from_closes(
            price * np.exp(np.cumsum(deviation * shocks)), symbol, bar_seconds=DAY
        )
        stamps = walk.stamps[0] + days * DAY * NANOSECONDS
        bars[symbol] = replaced(walk, stamps=stamps, volume=random.uniform(5e5, 2e6, BARS))
    return bars


REAL = real_bars()
STAMPS = REAL["EURUSD"].stamps
SPLIT = Split(
    train=Part(int(STAMPS[0]), int(STAMPS[2_700])),
    validation=Part(int(STAMPS[2_700]), int(STAMPS[3_000])),
    test=Part(int(STAMPS[3_000]), int(STAMPS[-1]) + 1),
)
ENVIRONMENT = EnvironmentConfig()


def scenario_at(difficulty: float, seed: int = 0, **dials: tuple[float, float]) -> Scenario:
    config = CurriculumConfig(**{**STILL, **dials}) if dials else CurriculumConfig()
    return AdvancedCurriculumLearning(config, SeedTree(seed)).generate_scenario(difficulty)


def made(scenario: Scenario) -> dict[str, Bars]:
    return lay_out(scenario, REAL, SPLIT, ENVIRONMENT)[0]


def returns(bars: dict[str, Bars]) -> Float:
    """Log returns from close to close in units of the instrument's own deviation, [T - 1, N]."""
    return np.column_stack([np.diff(np.log(own.close)) for own in bars.values()]) / np.array(OWN)


def correlation(bars: dict[str, Bars]) -> float:
    return float(np.corrcoef(returns(bars).T)[np.triu_indices(3, 1)].mean())


def switches(bars: dict[str, Bars]) -> float:
    """Crossings of 1.3 own deviations by the mean absolute return of 8 bars and 3 instruments,
    which is 0.8 of them in calm and 2.0 in stress.
    """
    size = np.convolve(np.abs(returns(bars)).mean(axis=1), np.full(8, 1 / 8), mode="valid")
    return float(np.count_nonzero(np.diff((size > 1.3).astype(int))))


def made_up(bars: dict[str, Bars]) -> float:
    """Share of rows that are none of the training rows."""
    rows = moves_from_bars({s: b.rows(slice(0, 2_700)) for s, b in REAL.items()}).returns
    known = set(np.round(rows[:, 0] / OWN[0], 6))
    return float(np.mean([value not in known for value in np.round(returns(bars)[:, 0], 6)]))


@pytest.mark.parametrize(
    ("dial", "ends", "statistic"),
    [
        ("volatility_factor", (0.5, 2.0), lambda b: float(returns(b).std())),
        ("jumps_a_year", (0.0, 48.0), lambda b: float(np.mean(np.abs(returns(b)) > 8.0))),
        ("switches_a_year", (0.2, 12.0), switches),
        ("breakdown", (0.0, 1.0), correlation),
        ("synthetic_share", (0.0, 1.0), made_up),
    ],
)
def test_difficulty_moves_each_statistic(
    dial: str, ends: tuple[float, float], statistic: Callable[[dict[str, Bars]], float]
) -> None:
    """Rank correlation of difficulty and statistic over 5 levels x 6 seeds at least 0.9, and the
    means over the seeds rise at every step.
    """
    levels = np.linspace(0.0, 1.0, 5)
    table = np.array(
        [
            [statistic(made(scenario_at(level, seed, **{dial: ends}))) for level in levels]
            for seed in range(6)
        ]
    )
    assert spearmanr(np.tile(levels, 6), table.ravel()).statistic >= 0.9
    assert (np.diff(table.mean(axis=0)) > 0.0).all()


def test_the_shipped_dials_together_make_wilder_bars() -> None:
    """Mean over 12 seeds: volatility and correlation rise with the difficulty as shipped."""
    table = np.array(
        [
            [
                (returns(bars).std(), correlation(bars))
                for level in (0.0, 0.5, 1.0)
                for bars in [made(scenario_at(level, seed))]
            ]
            for seed in range(12)
        ]
    )
    assert (np.diff(table.mean(axis=0), axis=0) > 0.0).all()
    # At 0 nothing is made up: the training rows' own volatility.
    assert table[:, 0, 0].mean() == pytest.approx(1.0, rel=0.03)


def test_same_numbers_same_bytes() -> None:
    first, again = made(scenario_at(0.7)), made(scenario_at(0.7))
    for symbol in SYMBOLS:
        assert_same_bars(first[symbol], again[symbol])
    assert (made(scenario_at(0.7, 1))["EURUSD"].close != first["EURUSD"].close).any()


@pytest.mark.parametrize("difficulty", [0.0, 0.6, 1.0])
def test_nothing_behind_the_training_rows_is_read(difficulty: float) -> None:
    """Validation and test rows may be anything, even missing: the bytes are the same."""
    other = {
        symbol: replaced(
            bars,
            **{
                name: np.where(SPLIT.train.end_ns > STAMPS, getattr(bars, name), 7.0)
                for name in ("open", "high", "low", "close", "volume")
            },
        )
        for symbol, bars in REAL.items()
    }
    gone = {symbol: bars.rows(slice(0, 2_700)) for symbol, bars in REAL.items()}
    scenario = scenario_at(difficulty)
    for real in (other, gone):
        found, _ = lay_out(scenario, real, SPLIT, ENVIRONMENT)
        for symbol in SYMBOLS:
            assert_same_bars(found[symbol], made(scenario)[symbol])


def test_bars_keep_calendar_price_and_level_of_volume() -> None:
    bars = made(scenario_at(1.0, synthetic_share=(1.0, 1.0)))
    for symbol, price in zip(SYMBOLS, PRICES, strict=True):
        own = bars[symbol]
        assert (own.stamps == STAMPS[1:2_700]).all()
        assert (own.bar_seconds, own.quote) == (DAY, "USD")
        assert own.open[0] == pytest.approx(REAL[symbol].close[0], rel=1e-12)
        assert 0.5 < own.open[0] / price < 2.0
        # Log-normal with median 1 around the real median of 1.25 million.
        assert np.median(own.volume) == pytest.approx(1.25e6, rel=0.1)


def test_made_up_bars_are_correlated_as_the_real_ones() -> None:
    """With no breakdown; the real correlation is 1/3 by construction."""
    bars = made(scenario_at(0.0, breakdown=(0.0, 0.0)))
    assert correlation(bars) == pytest.approx(1 / 3, abs=0.06)


def alternating(env: MarketEnv, steps: int) -> tuple[float, list[float]]:
    """Mean cost per turnover and the lengths of the episodes of accounts that turn around."""
    env.reset()
    cost = turnover = 0.0
    lengths = []
    actions = np.ones((len(env), len(env.unit)), dtype=np.float32)
    for t in range(steps):
        for e in env.step(actions * (-1) ** t).tolist():
            end = env.episode_end(e)
            cost, turnover = cost + end.totals["cost"], turnover + end.totals["turnover"]
            lengths.append(end.totals["length"])
    return cost / turnover, lengths


def test_costs_and_episodes_grow_in_the_accounts() -> None:
    """Measured over 64 accounts: the same draws of costs and starts at every difficulty."""
    world = walk_world("environment.episode_length=40", "environment.stop_loss_pct=0")
    found = []
    for difficulty in (0.0, 0.5, 1.0):
        scenario = scenario_at(difficulty, cost_factor=(0.5, 2.0), episode_factor=(0.25, 1.0))
        real = world.bars
        env = scenario_env(world, scenario, real, world.split, 64, SeedTree(1))
        cost, lengths = alternating(env, 41)
        found.append((cost, np.mean(lengths)))
    (easy, short), (middle, longer), (hard, whole) = found
    assert easy < middle < hard
    assert hard / easy == pytest.approx(4.0, rel=0.15)
    assert (short, longer, whole) == (10, 25, 40)


def test_accounts_of_a_portfolio_observe_what_they_are_used_to() -> None:
    overrides = ("data.instruments=[EURUSD, GBPUSD, XAUUSD]",)
    config = tiny_config(Path("unread"), *overrides, symbols=SYMBOLS)
    world = PortfolioWorld.build(REAL, SPLIT, config, INSTRUMENTS)
    scenario = scenario_at(0.5)
    env = scenario_env(world, scenario, REAL, SPLIT, 4, SeedTree(2), np.ones(3))
    usual = world.training_env(4, SeedTree(2))
    assert env.layout == usual.layout
    assert np.isfinite(env.reset()).all()
    for _ in range(60):
        env.step(np.full((4, 3), 0.2, dtype=np.float32))
        assert np.isfinite(env.observations).all()
        assert np.isfinite(env.rewards).all()


def test_nothing_was_predicted_of_made_up_bars(tmp_path: Path) -> None:
    known_at = pd.to_datetime(STAMPS, utc=True)
    columns = {"chance_up": 0.9, "confidence": 0.8, "says": "", "template_hash": ""}
    table = pd.DataFrame({"symbol": "EURUSD", "known_at": known_at, **columns})
    table.to_parquet(tmp_path / "signals.parquet")
    overrides = (
        "data.instruments=[EURUSD]",
        "features.catalog=[log_return_1, predicted_up]",
        f"features.signals={tmp_path / 'signals.parquet'}",
    )
    config = tiny_config(Path("unread"), *overrides, symbols=("EURUSD",))
    real = {"EURUSD": REAL["EURUSD"]}
    world = PortfolioWorld.build(real, SPLIT, config, INSTRUMENTS)
    assert world.training_env(2, SeedTree(2)).reset()[:, 1] == pytest.approx(0.8)
    assert (
        not scenario_env(world, scenario_at(0.5), real, SPLIT, 2, SeedTree(2)).reset()[:, 1].any()
    )


def test_too_little_training_is_refused() -> None:
    world = walk_world()
    short = {"EURUSD": make_bars("EURUSD", 600, 0, DAY).rows(slice(0, 40))}
    split = Split(Part(0, 2**62), world.split.validation, world.split.test)
    with pytest.raises(DataError, match=r"training rows must go on behind the first .* found 39"):
        scenario_env(world, scenario_at(0.5), short, split, 2, SeedTree(0))
