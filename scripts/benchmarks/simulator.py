# SPDX-License-Identifier: Apache-2.0
"""Account-steps per second of the simulator on one core, beside two other environments.

    python scripts/benchmarks/simulator.py [--quick] [--seed 0]

What is measured and how is written in docs/benchmarks.md. Exit code 1 where a batch is not, byte
for byte, its accounts stepped one by one: then nothing is timed.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import Any

import common  # first: it sets threads and paths

# isort: split
import numpy as np
from cost_profile import profile
from peers import SIMULATES, anytrading, gymnasium_run, trading_env
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from worlds import (
    DAY_ROWS,
    DAY_SECONDS,
    HOUR_ROWS,
    HOUR_SECONDS,
    Market,
    batch_equals_singles,
    make_market,
    random_actions,
    random_ledger,
    stagger,
)

from mtquant.core.seeding import SeedTree
from mtquant.envs.market_env import MarketEnv

ACCOUNTS = (1, 8, 64, 512, 2048, 4096)
INSTRUMENTS = (1, 8)
PROFILED_ACCOUNTS = 512
VAR_METHODS = ("ewma", "parametric", "historical", "cornish_fisher")
LEVERAGE = 25.0  # of the stress rows: more than a margin of 5 % allows
TARGETS = {
    "steps_per_s_1": 15e6,
    "instrument_steps_per_s_8": 10e6,
    "instrument_steps_per_s_8_ewma_var": 8e6,
    "vs_gym_anytrading": 80.0,
}
CONSOLE = Console(width=110)


@dataclass(frozen=True)
class Effort:
    """How much to measure."""

    rounds: int  # bursts per case; every round visits all cases, so that noise hits all alike
    burst_s: float
    check_steps: int
    profile_steps: int


FULL = Effort(rounds=40, burst_s=0.02, check_steps=1000, profile_steps=2000)
QUICK = Effort(rounds=5, burst_s=0.006, check_steps=250, profile_steps=250)


@dataclass
class Case:
    """One thing to time: `run(steps)` steps it; a step is worth `accounts` account-steps."""

    name: str
    accounts: int
    instruments: int
    run: Callable[[int], float]
    steps: int = 1
    seconds: list[float] = field(default_factory=list)  # per step, one entry a burst

    def calibrate(self, burst_s: float) -> None:
        """Warms up and sets how many steps a burst takes."""
        self.run(3)
        start = time.thread_time()
        self.run(5)
        self.steps = max(3, round(5 * burst_s / (time.thread_time() - start)))

    def burst(self) -> None:
        """One measurement, after a tenth of it to warm the caches."""
        self.run(self.steps // 10 + 1)
        start = time.thread_time()
        self.run(self.steps)
        self.seconds.append((time.thread_time() - start) / self.steps)

    @property
    def rate(self) -> float:
        """Account-steps per second of the median burst."""
        return self.accounts / statistics.median(self.seconds)

    @property
    def best_rate(self) -> float:
        """Account-steps per second of the fastest burst."""
        return self.accounts / min(self.seconds)


def kernel_run(env: MarketEnv, pool: list[Any], checksum: bool) -> Callable[[int], float]:
    """Steps `MarketEnv`, other actions at every call; adds up one column of each observation array
    (another one at every call) and the rewards, when asked to.
    """
    columns = [env.observations[:, k] for k in range(env.layout.size)]
    feed = zip(cycle(pool), cycle(columns), strict=False)
    add = np.add.reduce

    def run(steps: int) -> float:
        total = 0.0
        for actions, column in islice(feed, steps):
            env.step(actions)
            if checksum:
                total += float(add(column)) + float(add(env.rewards))
        return total

    return run


def vec_env_run(env: MarketEnv, pool: list[Any]) -> Callable[[int], float]:
    """Steps the same batch as a stable-baselines3 VecEnv, with the checksum."""
    from mtquant.envs.sb3 import MarketVecEnv

    wrapped: Any = MarketVecEnv(env)  # the base class allows dictionaries of observations
    feed = zip(cycle(pool), cycle(range(env.layout.size)), strict=False)
    add = np.add.reduce

    def run(steps: int) -> float:
        total = 0.0
        for actions, k in islice(feed, steps):
            observations, rewards, _, _ = wrapped.step(actions)
            total += float(add(observations[:, k])) + float(add(rewards))
        return total

    return run


def batch(market: Market, accounts: int, seeds: SeedTree) -> tuple[MarketEnv, list[Any]]:
    """A running batch and its pool of actions."""
    env = market.env(accounts, seeds)
    env.reset()
    stagger(env, seeds)
    return env, random_actions(env, min(8192, max(64, 65_536 // accounts)), seeds)


def our_cases(seeds: SeedTree) -> list[Case]:
    """Kernel with and without checksum, VecEnv, hourly bars, leverage, one account as a Gymnasium
    environment.
    """
    from mtquant.envs.gym import MarketGymEnv

    cases = []
    for n in INSTRUMENTS:
        daily = make_market(n, DAY_ROWS, DAY_SECONDS, seeds)
        hourly = make_market(n, HOUR_ROWS, HOUR_SECONDS, seeds)
        levered = make_market(n, DAY_ROWS, DAY_SECONDS, seeds, leverage=LEVERAGE)
        for accounts in ACCOUNTS:
            shape = (accounts, n)
            env, pool = batch(daily, accounts, seeds)
            cases.append(Case("kernel", *shape, kernel_run(env, pool, checksum=True)))
            cases.append(Case("no checksum", *shape, kernel_run(env, pool, checksum=False)))
            cases.append(Case("VecEnv", *shape, vec_env_run(env, pool)))
            env, pool = batch(hourly, accounts, seeds)
            run = kernel_run(env, pool, checksum=True)
            cases.append(Case("kernel, hourly", accounts, n, run))
        for method in VAR_METHODS if n > 1 else ():
            limited = make_market(n, DAY_ROWS, DAY_SECONDS, seeds, var_method=method)
            env, pool = batch(limited, PROFILED_ACCOUNTS, seeds)
            run = kernel_run(env, pool, checksum=True)
            cases.append(Case(f"VaR {method}", PROFILED_ACCOUNTS, n, run))
        env, pool = batch(levered, PROFILED_ACCOUNTS, seeds)
        stress = kernel_run(env, pool, checksum=True)
        cases.append(Case("kernel, levered", PROFILED_ACCOUNTS, n, stress))
        if n == 1:
            env, pool = batch(daily, 1, seeds)
            single = gymnasium_run(MarketGymEnv(env), [actions[0] for actions in pool])
            cases.append(Case("gymnasium", 1, 1, single))
    return cases


def peer_cases(seeds: SeedTree) -> list[Case]:
    """The other environments on the closes of the one-instrument market; none where the `bench`
    extra is missing.
    """
    market = make_market(1, DAY_ROWS, DAY_SECONDS, seeds)
    generator = seeds.child("peers").generator()
    try:
        simple = anytrading(market.closes())
        rich = trading_env(market.closes(), market.features[:, 0])
    except ModuleNotFoundError as error:
        CONSOLE.print(f"[yellow]No comparison: {error}. Install the extra `bench`.")
        return []
    two, three = generator.integers(0, 2, 8192).tolist(), generator.integers(0, 3, 8192).tolist()
    return [
        Case("gym-anytrading", 1, 1, gymnasium_run(simple, two)),
        Case("gym-trading-env", 1, 1, gymnasium_run(rich, three)),
    ]


def check_batches(effort: Effort, seeds: SeedTree) -> bool:
    """Batches against singles, episodes ending by time and by bankruptcy among the steps."""
    table = Table(title="A batch is its singles, byte for byte")
    for heading in (
        "instruments",
        "leverage",
        "accounts",
        "compared",
        "steps",
        "episodes",
        "equal",
    ):
        table.add_column(heading, justify="right")
    everything = True
    for n in INSTRUMENTS:
        for leverage in (1.0, LEVERAGE):
            market = make_market(n, DAY_ROWS, DAY_SECONDS, seeds, leverage, episode_length=100)
            for accounts, compared in ((8, list(range(8))), (512, [0, 1, 255, 511])):
                steps = effort.check_steps
                same, ends = batch_equals_singles(market, accounts, compared, steps, seeds)
                same &= ends > len(compared)  # without an end of an episode it proves little
                everything &= same
                figures = (n, f"{leverage:g}", accounts, len(compared), steps, ends)
                table.add_row(*map(str, figures), "yes" if same else "[red]NO")
    CONSOLE.print(table)
    return everything


def show_markets(seeds: SeedTree) -> None:
    """What random actions make happen in the markets that are timed."""
    table = Table(title="What happens in 100 bars of random actions (daily bars)")
    headings = ("instruments", "leverage", "orders filled", "cut or refused", "stops and profits")
    for heading in (*headings, "liquidations", "bars a limit bound", "bars lived"):
        table.add_column(heading, justify="right")
    for n in INSTRUMENTS:
        for leverage in (1.0, LEVERAGE):
            market = make_market(n, DAY_ROWS, DAY_SECONDS, seeds, leverage)
            ledger = random_ledger(market, 2000, seeds)
            frame, per = ledger.fills_frame(), 100.0 / len(ledger)
            kind = frame["origin"]
            done = frame["reason"] == "filled as ordered"
            counts = (
                ((kind == "order") & done).sum(),
                (~done).sum(),
                kind.isin(["stop-loss", "take-profit"]).sum(),
                (kind == "liquidation").sum(),
                (ledger.column("binding") > 0).sum(),
            )
            rates = [f"{per * float(count):.1f}" for count in counts]
            table.add_row(str(n), f"{leverage:g}", *rates, str(len(ledger)))
    CONSOLE.print(table)


def measure(cases: list[Case], effort: Effort) -> None:
    """Times all cases, round by round."""
    with Progress(console=CONSOLE, transient=True) as progress:
        for case in cases:
            case.calibrate(effort.burst_s)
        for _ in progress.track(range(effort.rounds), description="timing"):
            for case in cases:
                case.burst()


def show_cases(cases: list[Case]) -> None:
    """One line per case: nanoseconds per account-step, and millions of steps per second."""
    table = Table(title="One core; a step is one account through one bar; M: millions per second")
    table.add_column("what", no_wrap=True)
    headings = (
        "instr.",
        "accounts",
        "ns median",
        "best",
        "worst",
        "no checksum",
        "M steps",
        "best",
    )
    for heading in (*headings, "M instr.-steps"):
        table.add_column(heading, justify="right")
    bare = {
        (case.instruments, case.accounts): f"{1e9 / case.rate:,.1f}"
        for case in cases
        if case.name == "no checksum"
    }
    shown = [case for case in cases if case.name != "no checksum"]
    order = {name: k for k, name in enumerate(dict.fromkeys(case.name for case in shown))}
    last = None
    for case in sorted(shown, key=lambda one: (order[one.name], one.instruments)):
        if last not in (None, (case.name, case.instruments)):
            table.add_section()
        last = (case.name, case.instruments)
        nanoseconds = (
            1e9 / case.rate,
            1e9 / case.best_rate,
            1e9 * max(case.seconds) / case.accounts,
        )
        table.add_row(
            case.name,
            str(case.instruments),
            f"{case.accounts:,}",
            *(f"{one:,.1f}" for one in nanoseconds),
            bare.get((case.instruments, case.accounts), "") if case.name == "kernel" else "",
            f"{case.rate / 1e6:,.3f}",
            f"{case.best_rate / 1e6:,.3f}",
            f"{case.rate * case.instruments / 1e6:,.3f}",
        )
    CONSOLE.print(table)


def show_profile(effort: Effort, seeds: SeedTree) -> dict[str, dict[str, float]]:
    """Prints and returns where the nanoseconds go, by number of instruments."""
    columns = {}
    for n in INSTRUMENTS:
        market = make_market(n, DAY_ROWS, DAY_SECONDS, seeds)
        profile(market, PROFILED_ACCOUNTS, 16, seeds)  # compiles
        columns[str(n)] = profile(market, PROFILED_ACCOUNTS, effort.profile_steps, seeds)
    table = Table(title=f"Where the time goes: ns per account-step, {PROFILED_ACCOUNTS} accounts")
    table.add_column("stage")
    for count in columns:
        table.add_column(f"{count} instrument{'s' if count != '1' else ''}", justify="right")
    for stage in columns["1"]:
        table.add_row(stage, *(f"{column[stage]:,.1f}" for column in columns.values()))
        if stage in (
            "observation: written with its features, what comes next asked for",
            "sum of the stages",
        ):
            table.add_section()
    CONSOLE.print(table)
    return {
        count: {stage: round(value, 1) for stage, value in column.items()}
        for count, column in columns.items()
    }


def show_peers() -> None:
    """What each environment simulates."""
    table = Table(title="What each one simulates")
    for heading in ("environment", "simulates", "does not"):
        table.add_column(heading)
    for row in SIMULATES:
        table.add_row(*row)
    CONSOLE.print(table)


def figures_of(cases: list[Case]) -> dict[str, Any]:
    """The figures of the RESULT line; rates are of median bursts, ours with the checksum."""
    top: dict[tuple[str, int], Case] = {}
    for case in cases:
        key = (case.name, case.instruments)
        top[key] = max(top.get(key, case), case, key=lambda one: one.rate)
    one, eight, single = top["kernel", 1], top["kernel", 8], top["gymnasium", 1]

    def against(ours: Case, peer: str) -> float | None:
        return round(ours.rate / top[peer, 1].rate, 2) if (peer, 1) in top else None

    peers = [name for name in ("gym-anytrading", "gym-trading-env") if (name, 1) in top]
    return {
        "steps_per_s_1": round(one.rate),
        "instrument_steps_per_s_8": round(8 * eight.rate),
        **{
            f"instrument_steps_per_s_8_{method}_var": round(8 * top[f"VaR {method}", 8].rate)
            for method in VAR_METHODS
        },
        "vs_gym_anytrading": against(one, "gym-anytrading"),
        "vs_gym_trading_env": against(one, "gym-trading-env"),
        "one_account_vs_gym_anytrading": against(single, "gym-anytrading"),
        "steps_per_s_1_best_burst": round(one.best_rate),
        "instrument_steps_per_s_8_best_burst": round(8 * eight.best_rate),
        "steps_per_s_1_without_checksum": round(top["no checksum", 1].rate),
        "accounts_1": one.accounts,
        "accounts_8": eight.accounts,
        "vec_env_steps_per_s_1": round(top["VecEnv", 1].rate),
        "vec_env_instrument_steps_per_s_8": round(8 * top["VecEnv", 8].rate),
        "gymnasium_steps_per_s": round(single.rate),
        "peer_steps_per_s": {name: round(top[name, 1].rate) for name in peers},
    }


def main() -> int:
    """Checks, times, prints."""
    arguments = common.options(__doc__.splitlines()[0])
    effort = QUICK if arguments.quick else FULL
    seeds = SeedTree(arguments.seed).child("simulator")
    core = common.pin_to_one_core()
    CONSOLE.print(common.machine(core))
    same = check_batches(effort, seeds)
    if not same:
        common.print_result({"batch_equals_singles": False})
        return 1
    show_markets(seeds)
    cases = our_cases(seeds) + peer_cases(seeds)
    measure(cases, effort)
    show_cases(cases)
    stages = show_profile(effort, seeds)
    show_peers()
    figures = figures_of(cases)
    table = Table(title="Against what was asked for")
    for heading in ("figure", "found", "asked", "met"):
        table.add_column(heading, justify="left" if heading == "figure" else "right")
    for name, asked in TARGETS.items():
        found = figures[name]
        met = found is not None and found >= asked
        table.add_row(name, f"{found or 0:,.0f}", f"{asked:,.0f}", "yes" if met else "[red]no")
    CONSOLE.print(table)
    common.print_result({**figures, "batch_equals_singles": same, "ns_by_stage": stages})
    return 0


if __name__ == "__main__":
    sys.exit(main())
