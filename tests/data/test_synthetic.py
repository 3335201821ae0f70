# SPDX-License-Identifier: Apache-2.0
"""Scenarios do what their names say, and every dial moves what it is named after."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import kurtosis, spearmanr

from mtquant.core.config import EnvironmentConfig
from mtquant.core.errors import DataError
from mtquant.core.seeding import SeedTree
from mtquant.data.bars import Bars
from mtquant.data.bundled import load_bundled
from mtquant.data.moves import moves_from_bars
from mtquant.data.synthetic import SCENARIOS, Dials, fit_garch, generate
from tests.support.builders import make_bars

DAY = 86_400
SYMBOLS = ("A", "B", "C")
QUOTES = ("USD", "USD", "USD")
REAL = {name: make_bars(name, 900, n, DAY) for n, name in enumerate(SYMBOLS)}
BASE = Dials()
Float = NDArray[np.float64]


def made(
    scenario: str, dials: Dials = BASE, seed: int = 1, bars: int = 3_000, real: bool = True
) -> dict[str, Bars]:
    known = REAL if real else None
    return generate(scenario, SYMBOLS, QUOTES, bars, DAY, dials, SeedTree(seed), known)


def returns(bars: dict[str, Bars]) -> Float:
    """Log returns from close to close, float64 [T - 1, N]."""
    return np.column_stack([np.diff(np.log(own.close)) for own in bars.values()])


def mean_correlation(changes: Float) -> float:
    return float(np.corrcoef(changes.T)[np.triu_indices(changes.shape[1], 1)].mean())


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_same_seed_same_bytes_and_clean_bars(scenario: str) -> None:
    """`check_bars` ran inside; another seed gives other bars."""
    first, again, other = made(scenario), made(scenario), made(scenario, seed=2)
    for symbol in SYMBOLS:
        for name in ("open", "high", "low", "close", "volume", "stamps"):
            assert getattr(first[symbol], name).tobytes() == getattr(again[symbol], name).tobytes()
        assert (first[symbol].close != other[symbol].close).any()
        assert scenario in first[symbol].notes[0]


def test_gbm_has_the_volatility_and_correlation_of_its_dials() -> None:
    changes = returns(made("gbm", bars=20_000))
    yearly = changes.std(axis=0) * np.sqrt(365.25)
    # Relative standard error of a deviation: 1 / sqrt(2 x 20,000) = 0.5 per cent.
    np.testing.assert_allclose(yearly, BASE.volatility, rtol=0.02)
    # Of a correlation: (1 - 0.3^2) / sqrt(20,000) = 0.0064 each.
    assert mean_correlation(changes) == pytest.approx(BASE.correlation, abs=0.025)


def test_gbm_ranges_give_back_its_volatility() -> None:
    """Parkinson (1980): the mean squared log range over 4 ln 2 is the variance. The two extremes
    are drawn independently, which is why it is near and not equal.
    """
    bars = made("gbm", bars=20_000)["A"]
    variance = np.mean(np.log(bars.high / bars.low) ** 2) / (4.0 * np.log(2.0))
    assert np.sqrt(variance * 365.25) == pytest.approx(BASE.volatility, rel=0.05)


def test_garch_remembers() -> None:
    """Squared returns are correlated from bar to bar, which those of a gbm are not."""

    def memory(scenario: str) -> float:
        squared = np.minimum(np.abs(returns(made(scenario, bars=10_000, real=False))[:, 0]), 0.05)
        return float(np.corrcoef(squared[1:], squared[:-1])[0, 1])

    assert memory("garch") > 0.1
    assert abs(memory("gbm")) < 0.04  # four standard errors of 1 / sqrt(10,000)


def test_garch_fit_is_what_arch_finds() -> None:
    """S&P 500, 1999-2018, as read off `arch` 8.0.0 itself: alpha 0.0995, beta 0.8995 after the
    bound on their sum, 6.5 degrees of freedom.
    """
    found = fit_garch(load_bundled("SPX500"))
    assert found.alpha == pytest.approx(0.0995, abs=0.002)
    assert found.beta == pytest.approx(0.8995, abs=0.002)
    assert found.freedom == pytest.approx(6.51, abs=0.1)


def test_correlated_crash_falls_together() -> None:
    bars = made("correlated_crash", replace(BASE, shock=0.4, breakdown=1.0))
    changes = returns(bars)
    window = 150  # a twentieth of 3,000
    falls = np.array([changes[t : t + window].sum(axis=0) for t in range(0, 2_849)])
    worst = falls[falls.mean(axis=1).argmin()]
    assert (worst < np.log(0.75)).all()
    start = int(falls.mean(axis=1).argmin())
    assert mean_correlation(changes[start + 20 : start + 130]) > 0.85


def test_flash_crash_falls_and_recovers() -> None:
    bars = made("flash_crash", replace(BASE, shock=0.3, volatility=0.05))
    changes = returns(bars)
    row = int(changes.mean(axis=1).argmin())
    np.testing.assert_allclose(changes[row], np.log(0.7), atol=0.02)
    np.testing.assert_allclose(
        changes[row + 1 : row + 11].sum(axis=0), -0.9 * np.log(0.7), atol=0.05
    )


def test_gaps_open_away_from_the_close() -> None:
    bars = made("gap")["A"]
    jumps = np.abs(np.log(bars.open[1:] / bars.close[:-1]))
    far = jumps > 1e-9
    # 6 a year over 3,000 days is 49; four deviations of a Poisson number around it.
    assert 20 < far.sum() < 78
    assert set(np.round(np.exp(jumps[far]), 6)) <= {1.1, round(1.0 / 0.9, 6)}


def test_dead_market_does_nothing_for_a_third() -> None:
    bars = made("dead")["A"]
    dead = bars.volume == 0.0
    assert dead.sum() == 1_000
    assert (bars.high[dead] == bars.low[dead]).all()
    assert np.unique(bars.close[dead]).size == 1


def test_bootstrap_keeps_instruments_together() -> None:
    """Each row of the panel is one real row, for all instruments at once."""
    real = moves_from_bars(REAL).returns
    rows = {tuple(np.round(row, 9)) for row in real}
    drawn = returns(made("bootstrap"))
    assert all(tuple(np.round(row, 9)) in rows for row in drawn)


def _switches(bars: dict[str, Bars]) -> float:
    """Crossings of 1.3 calm deviations by the mean absolute return of 8 bars and 3 instruments,
    which is 0.8 of them in calm and 2.0 in stress.
    """
    size = np.abs(returns(bars)).mean(axis=1) / (BASE.volatility / 365.25**0.5)
    smooth = np.convolve(size, np.full(8, 1 / 8), mode="valid")
    return float(np.count_nonzero(np.diff((smooth > 1.3).astype(int))))


def _made_up(bars: dict[str, Bars]) -> float:
    known = set(np.round(moves_from_bars(REAL).returns[:, 0], 9))
    return float(np.mean([value not in known for value in np.round(returns(bars)[:, 0], 9)]))


@pytest.mark.parametrize(
    ("dial", "values", "scenario", "statistic"),
    [
        ("volatility", (0.1, 0.2, 0.3, 0.4, 0.5), "gbm", lambda b: float(returns(b).std())),
        ("correlation", (0.0, 0.2, 0.4, 0.6, 0.8), "gbm", lambda b: mean_correlation(returns(b))),
        (
            "jumps_a_year",
            (0.0, 2.0, 6.0, 12.0, 24.0),
            "jumps",
            lambda b: float(np.mean(np.abs(returns(b)) > 4.0 * BASE.volatility / 365.25**0.5)),
        ),
        ("switches_a_year", (0.5, 1.5, 4.0, 9.0, 18.0), "regimes", _switches),
        (
            "breakdown",
            (0.0, 0.25, 0.5, 0.75, 1.0),
            "regimes",
            lambda b: mean_correlation(returns(b)),
        ),
        (
            "shock",
            (0.05, 0.1, 0.2, 0.3, 0.4),
            "flash_crash",
            lambda b: -float(returns(b).mean(axis=1).min()),
        ),
        ("synthetic_share", (0.0, 0.25, 0.5, 0.75, 1.0), "mixed", _made_up),
    ],
)
def test_a_dial_moves_its_statistic(
    dial: str,
    values: tuple[float, ...],
    scenario: str,
    statistic: Callable[[dict[str, Bars]], float],
) -> None:
    """Rank correlation of dial and statistic over 5 values x 4 seeds at least 0.9, and the means
    over the seeds rise at every step.
    """
    table = np.array(
        [
            [statistic(made(scenario, replace(BASE, **{dial: value}), seed)) for value in values]
            for seed in range(4)
        ]
    )
    assert spearmanr(np.tile(values, 4), table.ravel()).statistic >= 0.9
    assert (np.diff(table.mean(axis=0)) > 0.0).all()


def test_jumps_make_tails() -> None:
    assert kurtosis(returns(made("jumps"))[:, 0]) > 3.0
    assert abs(kurtosis(returns(made("gbm"))[:, 0])) < 0.4  # four times sqrt(24 / 3,000)


def test_difficulty_turns_every_dial() -> None:
    rows = [vars(Dials.at(d)) for d in (0.0, 0.3, 0.7, 1.0)]
    for name in rows[0]:
        values = [row[name] for row in rows]
        assert values == sorted(values)
        assert name == "correlation" or values[0] < values[-1]


def test_costs_and_episodes_reach_the_environment() -> None:
    base = EnvironmentConfig()
    easy, hard = (Dials.at(d).environment(base) for d in (0.0, 1.0))
    assert easy.cost_draw_range == (0.25, 1.0)
    assert hard.cost_draw_range == (1.0, 4.0)
    assert (easy.episode_length, hard.episode_length) == (250, 1_000)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scenario": "boom"}, "scenario must be known; found 'boom'"),
        ({"scenario": "bootstrap", "real": False}, "is required for the scenario bootstrap"),
    ],
)
def test_refusals(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        made(**arguments)  # type: ignore[arg-type]


def test_dials_out_of_range_are_refused() -> None:
    with pytest.raises(DataError, match=r"dials\.shock must lie between 0 and 0\.9"):
        Dials(shock=1.0)
    with pytest.raises(DataError, match="difficulty must lie between 0 and 1"):
        Dials.at(1.5)
