# SPDX-License-Identifier: Apache-2.0
"""Scenarios: made-up bars of several instruments, from one seed, as hard as a dial says.

    dials = Dials.at(difficulty=0.5)
    bars = generate("jumps", ["EURUSD", "XAUUSD"], ["USD", "USD"], 5_000, 86_400, dials, seeds)

gbm               geometric Brownian motion, correlated over instruments
jumps             the same with Poisson jumps (Merton 1976)
garch             GARCH(1,1) with Student's t shocks (Bollerslev 1987), fitted to real bars if given
regimes           calm and stress in turn (Hamilton 1989); stress is wilder, falls and moves as one
correlated_crash  one stretch in which all fall together and correlation goes to 1
flash_crash       a fall within minutes, most of it recovered within ten bars
gap               opens far from the close before
dead              a third of the bars without any movement or volume
bootstrap         blocks of real bars, all instruments together (Politis & Romano 1994)
mixed             regimes and jumps, in blocks between blocks of real bars

Every draw comes from a branch of the seed tree: the same node gives the same bytes. A panel made
from real bars knows them: give training rows only where something is to be tested on the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from mtquant.core.config import EnvironmentConfig
from mtquant.core.errors import DataError
from mtquant.core.seeding import SeedTree
from mtquant.core.synthetic_config import ScenarioName
from mtquant.data.bars import YEAR_SECONDS, Bars
from mtquant.data.moves import Moves, block_rows, diffuse, moves_from_bars, neighbours

Float = NDArray[np.float64]

SCENARIOS: tuple[str, ...] = get_args(ScenarioName)
FROM_REAL_BARS = ("bootstrap", "mixed")
CRASH_CORRELATION = 0.95
STRESS_VOLATILITY = 2.5  # times that of calm
STRESS_SHARPE = -1.0  # yearly drift of stress, in units of its volatility
JUMP_DEVIATIONS = 6.0  # deviation of a jump, in units of one bar's volatility
TYPICAL_VOLUME = 1_000.0
# What daily GARCH fits of the bundled S&P 500 come to, roughly; only where no real bars are given.
GARCH_ALPHA, GARCH_BETA, GARCH_FREEDOM = 0.09, 0.90, 6.0


@dataclass(frozen=True)
class Dials:
    """How hard the bars are; each moves a statistic of them.

    Attributes:
        volatility: Yearly, of calm bars.
        correlation: Of any two instruments in calm bars.
        jumps_a_year: Expected number per instrument.
        switches_a_year: Expected number of changes between calm and stress.
        breakdown: From 0 to 1, how far correlation goes from its calm value to 0.95 in stress and
            crashes: how much of diversification is lost when it is needed.
        shock: Depth of crashes and size of gaps, fraction of the price.
        cost_factor: Multiplies trading costs; bars do not show it (see `environment`).
        episode_factor: Multiplies the episode's length; bars do not show it.
        synthetic_share: Share of made-up bars in ``mixed``.
    """

    volatility: float = 0.15
    correlation: float = 0.3
    jumps_a_year: float = 6.0
    switches_a_year: float = 6.0
    breakdown: float = 0.5
    shock: float = 0.1
    cost_factor: float = 1.0
    episode_factor: float = 1.0
    synthetic_share: float = 0.5

    def __post_init__(self) -> None:
        bounded = {"breakdown": 1.0, "shock": 0.9, "synthetic_share": 1.0, "correlation": 0.94}
        for name, value in vars(self).items():
            if not 0.0 <= value <= bounded.get(name, np.inf):
                raise DataError(
                    f"dials.{name}",
                    f"must lie between 0 and {bounded.get(name, 'infinity')}",
                    value,
                    "Dials.at(difficulty) gives a set that fits.",
                )

    @classmethod
    def at(cls, difficulty: float) -> Dials:
        """All dials at a difficulty in [0, 1], on straight lines.

        Raises:
            DataError: The difficulty is outside.
        """
        if not 0.0 <= difficulty <= 1.0:
            remedy = "0 is the easiest, 1 the hardest."
            raise DataError("difficulty", "must lie between 0 and 1", difficulty, remedy)
        return cls(
            volatility=0.10 + 0.40 * difficulty,
            jumps_a_year=24.0 * difficulty,
            switches_a_year=1.0 + 23.0 * difficulty,
            breakdown=difficulty,
            shock=0.02 + 0.38 * difficulty,
            cost_factor=0.5 + 1.5 * difficulty,
            episode_factor=0.25 + 0.75 * difficulty,
            synthetic_share=difficulty,
        )

    def environment(self, environment: EnvironmentConfig) -> EnvironmentConfig:
        """The same environment with costs and episode length as the dials say."""
        low, high = environment.cost_draw_range
        return environment.model_copy(
            update={
                "cost_draw_range": (low * self.cost_factor, high * self.cost_factor),
                "episode_length": max(2, round(environment.episode_length * self.episode_factor)),
            }
        )


def generate(
    scenario: str,
    symbols: Sequence[str],
    quotes: Sequence[str],
    bars: int,
    bar_seconds: int,
    dials: Dials,
    seeds: SeedTree,
    real: Mapping[str, Bars] | None = None,
    mean_block_bars: float = 20.0,
    own_volatility: Sequence[float] | None = None,
) -> dict[str, Bars]:
    """Makes up bars.

    Args:
        scenario: One of SCENARIOS.
        symbols: N instruments.
        quotes: Quote currency of each.
        bars: T.
        bar_seconds: Length of a bar; markets never close here.
        dials: How hard.
        seeds: Node of the seed tree.
        real: Bars of the same instruments, for ``bootstrap``, ``mixed`` and a fitted ``garch``.
        mean_block_bars: Mean length of the blocks that real bars come in.
        own_volatility: Of each instrument, yearly; `dials.volatility` then counts multiples of it.

    Raises:
        DataError: There is no such scenario, or it needs real bars and there are none.
    """
    if scenario not in SCENARIOS:
        remedy = f"Known: {', '.join(SCENARIOS)}."
        raise DataError("scenario", "must be known", scenario, remedy)
    if scenario in FROM_REAL_BARS and real is None:
        remedy = "Give bars of the same instruments, or take another scenario."
        raise DataError("real", f"is required for the scenario {scenario}", None, remedy)
    years, seeds_of_it = bar_seconds / YEAR_SECONDS, seeds.child(scenario)
    scale = np.ones(len(symbols)) if own_volatility is None else np.array(own_volatility)
    world = _World(len(symbols), bars, years, dials, seeds_of_it, scale)
    known = None if real is None else {symbol: real[symbol] for symbol in symbols}
    if scenario == "garch":
        models = None if known is None else [fit_garch(own) for own in known.values()]
        moves = world.garch(models)
    elif known is not None and scenario in FROM_REAL_BARS:
        moves = world.resampled(known, mean_block_bars, mixed=scenario == "mixed")
    else:
        moves = getattr(world, scenario)()
    note = f"made-up bars, scenario {scenario}, seed {seeds.root}"
    return moves.to_bars(symbols, quotes, bar_seconds, note)


@dataclass(frozen=True)
class Garch:
    """A GARCH(1,1) with Student's t shocks: h' = omega + alpha e^2 + beta h, of log returns.

    Attributes:
        omega, alpha, beta: Of the variance of a bar.
        freedom: Degrees of freedom of the shocks, above 2.
    """

    omega: float
    alpha: float
    beta: float
    freedom: float

    @property
    def variance(self) -> float:
        """Variance of a bar in the long run."""
        return self.omega / max(1.0 - self.alpha - self.beta, 1e-3)


def fit_garch(bars: Bars) -> Garch:
    """Fits a GARCH(1,1) with t shocks to the closes by maximum likelihood (`arch`); steps across
    missing bars (`moves.neighbours`) are left out.

    A fit without a finite variance in the long run (alpha + beta >= 1) gets the beta 0.999 - alpha.
    """
    from arch import arch_model

    returns = np.diff(np.log(bars.close))[neighbours(bars.stamps, bars.bar_seconds)]
    scale = 10.0 / float(returns.std())  # the optimiser asks for a variance between 1 and 1,000
    found = arch_model(scale * returns, mean="Constant", vol="GARCH", p=1, q=1, dist="t").fit(
        disp="off", show_warning=False
    )
    values = found.params
    alpha = min(float(values["alpha[1]"]), 0.999)
    return Garch(
        omega=float(values["omega"]) / scale**2,
        alpha=alpha,
        beta=min(float(values["beta[1]"]), 0.999 - alpha),
        freedom=max(float(values["nu"]), 2.1),
    )


@dataclass(frozen=True)
class _World:
    """T bars of N instruments about to be drawn.

    `years` is the length of a bar; `scale` [N] multiplies the dials' volatility.
    """

    count: int
    bars: int
    years: float
    dials: Dials
    seeds: SeedTree
    scale: Float

    @property
    def volatility(self) -> Float:
        """Yearly, of calm bars, [N]."""
        return self.scale * self.dials.volatility

    @property
    def bar_volatility(self) -> Float:
        """Standard deviation of a calm bar's log return, [N]."""
        return self.volatility * np.sqrt(self.years)

    def gbm(self) -> Moves:
        return self._diffusion(np.ones(self.bars))

    def jumps(self) -> Moves:
        return self._with_jumps(self.gbm())

    def regimes(self) -> Moves:
        stress = self._stress()
        correlation = np.where(stress, self._stressed_correlation(), self.dials.correlation)
        moves = self._diffusion(np.where(stress, STRESS_VOLATILITY, 1.0), correlation)
        drift = STRESS_SHARPE * STRESS_VOLATILITY * self.volatility * self.years
        return replace(moves, body=moves.body + drift * stress[:, None])

    def correlated_crash(self) -> Moves:
        """Over a twentieth of the bars all fall by `shock`, on top of a wilder common motion."""
        length = max(2, self.bars // 20)
        crash = self._stretch(length)
        correlation = np.where(crash, self._stressed_correlation(), self.dials.correlation)
        moves = self._diffusion(np.where(crash, STRESS_VOLATILITY, 1.0), correlation)
        fall = np.log1p(-self.dials.shock) / length
        return replace(moves, body=moves.body + fall * crash[:, None])

    def flash_crash(self) -> Moves:
        """One bar falls by `shock`; the ten after it regain nine tenths of the fall."""
        moves = self.gbm()
        row = int(self.seeds.child("when").generator().integers(1, self.bars - 10))
        fall = np.log1p(-self.dials.shock)
        body = moves.body.copy()
        body[row] += fall
        body[row + 1 : row + 11] -= 0.09 * fall
        return replace(moves, body=body)

    def gap(self) -> Moves:
        """Opens `shock` above or below the close before, as often as jumps come."""
        moves = self.gbm()
        draws = self.seeds.child("gaps").generator()
        shape = (self.bars, self.count)
        there = draws.random(shape) < self.dials.jumps_a_year * self.years
        sign = np.where(draws.random(shape) < 0.5, 1.0, -1.0)
        return replace(moves, gap=np.where(there, np.log1p(sign * self.dials.shock), 0.0))

    def dead(self) -> Moves:
        moves = self.gbm()
        alive = ~self._stretch(max(1, self.bars // 3))
        nothing = Moves(*(np.zeros((self.bars, self.count)) for _ in range(5)))
        return moves.where(alive, nothing)

    def garch(self, models: Sequence[Garch] | None) -> Moves:
        """Variances that remember; without models, the usual ones at the dials' volatility."""
        if models is None:
            left = self.bar_volatility**2 * (1.0 - GARCH_ALPHA - GARCH_BETA)
            models = [Garch(own, GARCH_ALPHA, GARCH_BETA, GARCH_FREEDOM) for own in left.tolist()]
        from scipy.stats import chi2

        omega, alpha, beta, freedom = (
            np.array([getattr(model, name) for model in models])
            for name in ("omega", "alpha", "beta", "freedom")
        )
        # One quantile per bar for all instruments: they have their extreme bars together.
        quantile = self.seeds.child("tails").generator().random((self.bars, 1))
        fat = np.sqrt((freedom - 2.0) / chi2.ppf(quantile, freedom))
        shocks = fat * self._normals(np.full(self.bars, self.dials.correlation))
        body = np.empty((self.bars, self.count))
        variance = np.empty_like(body)
        now = np.array([model.variance for model in models])
        for t in range(self.bars):
            variance[t] = now
            body[t] = np.sqrt(now) * shocks[t]
            now = omega + alpha * body[t] ** 2 + beta * now
        return self._moves(body - 0.5 * variance, np.sqrt(variance))

    def resampled(self, real: Mapping[str, Bars], mean_block_bars: float, mixed: bool) -> Moves:
        """Blocks of real bars; where mixed, blocks of made-up ones between them."""
        known = moves_from_bars(real)
        draws = self.seeds.child("blocks").generator()
        drawn = known.take(block_rows(len(known), self.bars, mean_block_bars, draws))
        if not mixed:
            return drawn
        made = self._with_jumps(self.regimes())
        # At the usual volume of the real bars: its level must not give the made-up ones away.
        level = np.median(known.volume, axis=0) / TYPICAL_VOLUME
        made = replace(made, volume=made.volume * level)
        # A block is made up as a whole: one draw per block of a second chain of blocks.
        kinds = draws.random(self.bars) < self.dials.synthetic_share
        blocks = block_rows(self.bars, self.bars, mean_block_bars, draws)
        begins = np.concatenate(([True], np.diff(blocks) != 1))
        first = np.maximum.accumulate(np.where(begins, np.arange(self.bars), 0))
        return made.where(kinds[first], drawn)

    def _diffusion(self, factor: Float, correlation: Float | None = None) -> Moves:
        """Brownian bars without drift of the price; factor [T] multiplies the volatility."""
        if correlation is None:
            correlation = np.full(self.bars, self.dials.correlation)
        deviation = factor[:, None] * self.bar_volatility
        return self._moves(deviation * self._normals(correlation) - 0.5 * deviation**2, deviation)

    def _moves(self, body: Float, deviation: Float) -> Moves:
        draws = self.seeds.child("inside").generator()
        up, down = diffuse(body, deviation, draws)
        volume = TYPICAL_VOLUME * np.exp(0.5 * draws.standard_normal(body.shape))
        return Moves(np.zeros_like(body), body, up, down, volume)

    def _normals(self, correlation: Float) -> Float:
        """Standard normals [T, N]; correlation [T] is that of any two in the row."""
        draws = self.seeds.child("normals").generator()
        common = draws.standard_normal((self.bars, 1))
        own = draws.standard_normal((self.bars, self.count))
        shared = np.sqrt(correlation)[:, None]
        normals: Float = shared * common + np.sqrt(1.0 - shared**2) * own
        return normals

    def _with_jumps(self, moves: Moves) -> Moves:
        draws = self.seeds.child("jumps").generator()
        shape = (self.bars, self.count)
        number = draws.poisson(self.dials.jumps_a_year * self.years, shape)
        spread = JUMP_DEVIATIONS * self.bar_volatility
        # Less half the variance per jump: jumps add risk, not drift (Merton's compensator).
        sizes = spread * np.sqrt(number) * draws.standard_normal(shape)
        return replace(moves, body=moves.body + sizes - 0.5 * spread**2 * number)

    def _stress(self) -> NDArray[np.bool_]:
        draws = self.seeds.child("stress").generator()
        switches = draws.random(self.bars) < self.dials.switches_a_year * self.years
        stressed: NDArray[np.bool_] = np.cumsum(switches) % 2 == 1
        return stressed

    def _stressed_correlation(self) -> float:
        calm = self.dials.correlation
        return calm + self.dials.breakdown * (CRASH_CORRELATION - calm)

    def _stretch(self, length: int) -> NDArray[np.bool_]:
        """`length` bars in a row, bool [T]."""
        first = int(self.seeds.child("when").generator().integers(1, self.bars - length))
        rows = np.arange(self.bars)
        return (rows >= first) & (rows < first + length)
