# SPDX-License-Identifier: Apache-2.0
"""What each part of the training is good for: the same run without it, over several seeds.

python scripts/benchmarks/ablation.py                       # planted and bundled bars, 5 seeds
python scripts/benchmarks/ablation.py --markets planted --seeds 8
python scripts/benchmarks/ablation.py --quick               # does it run?

Every variant is trained by the phase trainers and trades the test rows, which nobody has trained
on, through the desk at the true costs: what phase 3 kept, which is phase 2's where nothing was
better on the validation rows, and what it ended with, kept or not. Variants of one seed share bars,
first weights and episodes, so differences are compared seed by seed (paired t intervals).

*planted*: two markets whose returns follow the return before (AR(1), 0.15) and two random walks,
all of one volatility, at 1 bp: there is something to find, in half of them. The rule that knows it
is printed beside. *bundled*: S&P 500, NASDAQ and WTI, daily; the seeds train on the same bars.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import common  # the folder of this script comes first on the path
import numpy as np
from numpy.typing import NDArray
from scipy import stats

# isort: split

from mtquant.agents.baselines import observed
from mtquant.agents.crew import Crew
from mtquant.agents.hierarchy import save_hierarchy
from mtquant.agents.training.phase3_joint_training import Phase3JointTrainer
from mtquant.backtest.runner import run_backtest
from mtquant.core import outcome as oc
from mtquant.core.config import Config, load_config
from mtquant.core.protocols import Observation
from mtquant.core.seeding import SeedTree
from mtquant.data.bars import Bars
from mtquant.data.files import write_parquet
from mtquant.data.instruments import load_instruments
from mtquant.evaluation.metrics import periods_per_year, sharpe
from mtquant.market.ledger import Ledger
from mtquant.rewards.compose import Reward
from mtquant.workflows.backtesting import Market, trade
from mtquant.workflows.models import load_trained
from mtquant.workflows.training import train_phase

PERSISTENCE, VOLATILITY, COST = 0.15, 0.01, 1e-4
MOMENTUM, WALKS = ("EURUSD", "XAUUSD"), ("GBPUSD", "SPX500")
BARS = 6_000
FIRST_DAY = np.datetime64("2000-01-03T21:00", "ns")
LIMITS = (
    "environment.max_position_size=1.0",
    "environment.max_portfolio_var=null",
    "environment.max_correlation_exposure=null",
    "environment.max_sector_allocation=null",
    "environment.stop_loss_pct=0",
)
PLANTED = (
    "data.source=parquet",
    "data.stamped=close",
    f"data.instruments=[{', '.join((*MOMENTUM, *WALKS))}]",
    "environment.cost_model=flat",
    f"environment.transaction_cost={COST}",
    "environment.cost_draw_range=[1.0, 1.0]",
    *LIMITS,
)
REWARDS = tuple(f"reward.phase_{phase}={{growth: 1.0}}" for phase in (1, 2, 3))
BASE = "upgrad"
DONE, LAST = "trained.json", "last"


@dataclass(frozen=True)
class Result:
    """Of one variant and seed.

    Attributes:
        sharpe: Yearly, on the test rows, of what was kept.
        last: The same of the last weights of phase 3; NaN without a phase 3.
        learnt: Phase 3 kept something else than what phase 2 had left.
    """

    sharpe: float
    last: float
    learnt: bool


@dataclass(frozen=True)
class Variant:
    """A way to train.

    Attributes:
        name: In the tables.
        settings: What differs from BASE.
        begins: The first phase that they change.
        ends: The last phase that is trained.
    """

    name: str
    settings: tuple[str, ...] = ()
    begins: int = 3
    ends: int = 3


VARIANTS = (
    Variant(BASE),
    Variant("phase 2 alone", ends=2),
    *(
        Variant(method, (f"training.gradient_method={method}",))
        for method in ("sum", "pcgrad", "mgda", "cagrad")
    ),
    Variant("paid by the whole portfolio", ("training.specialist_reward=portfolio",)),
    Variant("without message head", ("training.forecast_coef=0",), begins=1),
    Variant("paid for luck", ("training.recommended.surprise=1",), begins=1),
    Variant("with curriculum", ("training.curriculum_learning=true",), begins=1),
)


@dataclass(frozen=True)
class Scale:
    """How much of everything."""

    steps: Mapping[int, int]
    bars: int = BARS


FULL = Scale({1: 200_000, 2: 100_000, 3: 200_000})
QUICK = Scale({1: 16_384, 2: 16_384, 3: 16_384}, bars=2_000)


def planted_bars(symbol: str, persistent: bool, bars: int, seeds: SeedTree) -> Bars:
    """Daily closes of an AR(1) or of a random walk; bars open at the close before them."""
    noise = seeds.generator().standard_normal(bars)
    returns = np.zeros(bars)
    share = PERSISTENCE if persistent else 0.0
    for t in range(bars):
        returns[t] = share * returns[t - 1] + np.sqrt(1.0 - share**2) * VOLATILITY * noise[t]
    close = 100.0 * np.exp(np.cumsum(returns))
    start = np.concatenate(([100.0], close[:-1]))
    stamps = FIRST_DAY.astype(np.int64) + np.arange(bars) * 86_400 * 10**9
    high, low = np.maximum(start, close), np.minimum(start, close)
    return Bars(symbol, stamps, start, high, low, close, np.ones(bars), "USD", 86_400)


@dataclass(frozen=True)
class Following:
    """The rule that knows: an equal share of each momentum market, long behind a gain, else short.

    It pays for every turn, so it is no optimum, only what a reader of the market would do.
    """

    name: str = "the rule that knows"
    feature_names: tuple[str, ...] = ("log_return_1",)
    window_bars: int = 1

    def initial_state(self) -> None:
        """No memory."""
        return None

    def act(self, observation: Observation, state: None) -> tuple[NDArray[np.float64], None]:
        """Exposures, float64 [N]."""
        moved = observed(observation, "log_return_1")
        trades = np.isin(observation.symbols, MOMENTUM)
        return np.sign(moved) * trades / len(MOMENTUM), None


def settings_of(market: str, folder: Path) -> tuple[str, ...]:
    """``--set`` texts of a market."""
    own = (*PLANTED, f"data.folder={folder}", *REWARDS) if market == "planted" else ()
    return ("training.preset=recommended", *own)


class LastToo(Phase3JointTrainer):
    """Keeps the latest hierarchy that was validated beside the best one."""

    def keep_best(self, metrics: Mapping[str, float], step: int, crew: Crew, meta: Crew) -> None:
        """Writes both."""
        super().keep_best(metrics, step, crew, meta)
        save_hierarchy(self.output_dir / LAST, self.weights(crew, meta), self.manifest(step))


class Study:
    """All variants of one market and seed.

    Args:
        market: "planted" or "bundled".
        seed: Of bars and training.
        scale: How long to train.
        root: Where everything is written.
    """

    def __init__(self, market: str, seed: int, scale: Scale, root: Path) -> None:
        self._market, self._seed, self._scale, self._root = market, seed, scale, root
        self._instruments = load_instruments(None)
        self._folder = root / "bars"
        if market == "planted":
            for symbol in (*MOMENTUM, *WALKS):
                seeds = SeedTree(seed).child("ablation", symbol)
                bars = planted_bars(symbol, symbol in MOMENTUM, scale.bars, seeds)
                write_parquet(bars, self._folder / f"{symbol}.parquet")

    def run(self, variant: Variant) -> Result:
        """Trains a variant from the phase on that it changes, and trades the test rows."""
        before = self._root / "base"
        for phase in range(1, variant.ends + 1):
            changed = bool(variant.settings) and phase >= variant.begins
            root = self._root / (variant.name if changed else "base")
            config = self._config(variant if changed else VARIANTS[0])
            if not (root / f"phase{phase}" / DONE).exists():
                self._train(phase, config, root, before)
            before = root
        folder = before / f"phase{variant.ends}"
        last = self._traded(folder / LAST, config) if variant.ends == 3 else float("nan")
        kept = json.loads((folder / DONE).read_text())
        learnt = kept["best_step"] > 0 or variant.ends < 3
        return Result(self._traded(folder, config), last, learnt)

    def _traded(self, folder: Path, config: Config) -> float:
        """Yearly Sharpe ratio of the models in a folder on the test rows."""
        return yearly(trade(load_trained(folder, config, self._instruments), self._test(config)))

    def knows(self) -> float:
        """Yearly Sharpe ratio of the rule that knows, on the same rows."""
        config = self._config(VARIANTS[0])
        market = self._test(config)
        policy = Following()
        features = market.features_for(policy)
        reward = Reward({"growth": 1.0}, 1.0)
        rules = market.rules
        return yearly(run_backtest(policy, market.tape, rules, features, market.rows, reward))

    def _test(self, config: Config) -> Market:
        return Market.build(config, self._instruments, "test")

    def _train(self, phase: int, config: Config, root: Path, before: Path) -> None:
        folder = root / f"phase{phase}"
        logs, steps = root / "logs" / f"phase{phase}", self._scale.steps[phase]
        source = None if phase == 1 else before / f"phase{phase - 1}"
        if phase == 3:
            found = LastToo(
                config, folder, logs, self._instruments, timesteps=steps, hierarchy_dir=source
            ).train()
        else:
            result = train_phase(
                phase, config, self._instruments, folder, logs, source=source, timesteps=steps
            )
            found = next(iter(result.results.values()))
        (folder / DONE).write_text(json.dumps({"best_step": found["best_step"]}))

    def _config(self, variant: Variant) -> Config:
        own = (f"training.seed={self._seed}", *variant.settings)
        return load_config(None, (*settings_of(self._market, self._folder), *own))


def yearly(ledger: Ledger) -> float:
    """Sharpe ratio; 0 without a trade."""
    returns = ledger.outcomes[:, oc.SIMPLE_RETURN]
    return float(np.nan_to_num(sharpe(returns, periods_per_year(ledger.stamps))))


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean and half of its 95 % t interval."""
    if len(values) < 2:
        return values[0], float("nan")
    error = float(np.std(values, ddof=1)) / len(values) ** 0.5  # NaN of what was not measured
    return float(np.mean(values)), float(stats.t.ppf(0.975, len(values) - 1)) * error


def run_market(market: str, seeds: int, scale: Scale) -> dict[str, list[Result]]:
    """All variants on one market, seed by seed; prints as it goes."""
    found: dict[str, list[Result]] = {variant.name: [] for variant in VARIANTS}
    known = []
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as folder:
            study = Study(market, seed, scale, Path(folder))
            for variant in VARIANTS:
                found[variant.name].append(study.run(variant))
            if market == "planted":
                known.append(study.knows())
        shown = "  ".join(
            f"{name} {own[-1].sharpe:.2f}/{own[-1].last:.2f}" for name, own in found.items()
        )
        print(f"{market} seed {seed}: {shown}", flush=True)
    if known:
        print(f"{market}: {Following.name} {interval(known)[0]:.2f}")
    return found


def show(market: str, found: Mapping[str, Sequence[Result]]) -> None:
    """A Markdown table: each variant, and its difference to BASE seed by seed."""
    base = found[BASE]
    print(
        f"\n{market}\n\n| variant | Sharpe, kept | less {BASE} | Sharpe, last | less {BASE} |",
        end="",
    )
    print(" phase 3 kept something |\n|---|---|---|---|---|---|")
    for name, own in found.items():
        cells = [*compared(own, base, name, "sharpe"), *compared(own, base, name, "last")]
        learnt = sum(result.learnt for result in own)
        kept = "-" if name == "phase 2 alone" else f"{learnt} of {len(own)}"
        print(f"| {name} | {' | '.join(cells)} | {kept} |")


def compared(
    own: Sequence[Result], base: Sequence[Result], name: str, figure: str
) -> tuple[str, str]:
    """A figure's mean, and its difference to BASE seed by seed."""
    mine, theirs = ([getattr(result, figure) for result in each] for each in (own, base))
    mean, half = interval(mine)
    apart, apart_half = interval([a - b for a, b in zip(mine, theirs, strict=True)])
    if np.isnan(mean):
        return "-", "-"
    return f"{mean:.2f} ± {half:.2f}", "-" if name == BASE else f"{apart:+.2f} ± {apart_half:.2f}"


def main() -> None:
    """Trains everything and prints the tables."""
    parser = common.option_parser(__doc__.splitlines()[0])
    parser.add_argument("--markets", default="planted,bundled")
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    scale, seeds = (QUICK, 1) if arguments.quick else (FULL, arguments.seeds)
    print(common.machine(None))
    figures = {}
    for market in arguments.markets.split(","):
        if market not in ("planted", "bundled"):
            sys.exit(f"--markets: must be planted or bundled, found {market}")
        found = run_market(market, seeds, scale)
        show(market, found)
        figures[market] = {
            name: [[round(result.sharpe, 3), round(result.last, 3)] for result in own]
            for name, own in found.items()
        }
    common.print_result({"sharpe_kept_and_last": figures, "seeds": seeds, "quick": arguments.quick})


if __name__ == "__main__":
    main()
