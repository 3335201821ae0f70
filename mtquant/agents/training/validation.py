# SPDX-License-Identifier: Apache-2.0
"""How good a specialist is on rows it was not trained on: whole parts, and random episodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtquant.core import outcome as oc
from mtquant.envs.market_env import EpisodeEnd, MarketEnv
from mtquant.envs.meta import MetaControllerBatch
from mtquant.evaluation.metrics import max_drawdown, sharpe, win_rate
from mtquant.market.simulator import Simulator
from mtquant.risk.limits import portfolio_deviation
from mtquant.risk.measures import NORMAL_QUANTILE_95

Act = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Raw observations float32 [E, size] -> actions in [-1, 1], float32 [E, actions]."""
Held = list[tuple[int, NDArray[np.float64]]]
"""Panel row and exposures float64 [N], by close."""
LIMITS = {
    oc.LIMIT_NAME: "name",
    oc.LIMIT_GROSS: "gross",
    oc.LIMIT_NET: "net",
    oc.LIMIT_SECTOR: "sector",
    oc.LIMIT_CORRELATION: "correlation",
    oc.LIMIT_VAR: "value_at_risk",
    oc.LIMIT_VOLATILITY: "volatility",
    oc.LIMIT_TURNOVER: "turnover",
    oc.LIMIT_UNKNOWN: "unknown_risk",
}
ActTogether = Callable[[Sequence[NDArray[np.float32]]], Sequence[NDArray[np.float32]]]
"""Raw observations, float32 [B, size] each -> actions in [-1, 1], float32 [B, actions] each; of K
policies."""


def evaluate_parts(
    act: ActTogether, envs: Sequence[MarketEnv | MetaControllerBatch]
) -> list[dict[str, float]]:
    """One pass of each policy over a whole part (``evaluation_env(1, ..., whole=True)``).

    Args:
        act: Raw observations, float32 [1, size] each -> actions in [-1, 1], float32 [1, actions]
            each.
        envs: One per policy, each of one account.

    Returns:
        For each the ``validation/*`` metrics of `docs/metrics.md`, and the ``limits/*`` ones of the
        limits that ever bound; ratios that are undefined, for want of trades, are 0. Win rate here
        is the share of bars in the market that gained.
    """
    return [
        {**_metrics(outcomes, env.simulator.tape.bars_per_year), **_var_use(held, env.simulator)}
        for env, (outcomes, held) in zip(envs, _live(act, envs), strict=True)
    ]


def _metrics(outcomes: NDArray[np.float64], bars_per_year: float) -> dict[str, float]:
    binding = outcomes[:, oc.BINDING].astype(np.int64)
    bound = {name: float(((binding & code) > 0).mean()) for code, name in LIMITS.items()}
    returns = outcomes[:, oc.SIMPLE_RETURN]
    equity = outcomes[:, oc.EQUITY]
    invested = returns[outcomes[:, oc.GROSS] > 0.0]
    return {
        "validation/sharpe": float(np.nan_to_num(sharpe(returns, bars_per_year))),
        "validation/drawdown": max_drawdown(equity, float(outcomes[0, oc.EQUITY_BEFORE])),
        "validation/turnover": float(outcomes[:, oc.TURNOVER].mean()),
        "validation/win_rate": float(np.nan_to_num(win_rate(invested))),
        **{f"limits/{name}": rate for name, rate in bound.items() if rate},
    }


def _var_use(held: Held, simulator: Simulator) -> dict[str, float]:
    """Mean one-day value at risk of the book at the close, EWMA, over its limit; nothing without
    that limit, or while the risk of every position is unknown.
    """
    largest = simulator.rules.max_portfolio_var
    if not np.isfinite(largest):
        return {}
    risk = simulator.tape.risk("ewma").rows
    deviations = np.array([portfolio_deviation(risk[row], book) for row, book in held])
    known = deviations[np.isfinite(deviations)]
    if not len(known):
        return {}
    return {"validation/var_use": float(NORMAL_QUANTILE_95 * known.mean() / largest)}


def evaluate_episodes(act: Act, env: MarketEnv | MetaControllerBatch) -> dict[str, Any]:
    """One episode in every account of `env`, actions by `act`.

    Returns:
        ``episodes``; means over them of ``growth`` (log), ``reward``, ``turnover`` and ``cost`` per
        bar and ``drawdown`` at the end; ``growth_standard_error``; ``win_rate``, the share of
        episodes that gained.
    """
    ends: dict[int, EpisodeEnd] = {}
    observations = env.reset()
    while len(ends) < len(env):
        for e in env.step(act(observations)).tolist():
            ends.setdefault(e, env.episode_end(e))
    growth = np.array([end.totals["growth"] for end in ends.values()])
    length = np.array([end.totals["length"] for end in ends.values()])

    def per_bar(name: str) -> float:
        return float(np.mean([end.totals[name] for end in ends.values()] / length))

    return {
        "episodes": len(ends),
        "growth": float(growth.mean()),
        "growth_standard_error": float(growth.std(ddof=1) / np.sqrt(len(growth)))
        if len(growth) > 1
        else float("nan"),
        "reward": float(np.mean([end.totals["reward"] for end in ends.values()])),
        "turnover": per_bar("turnover"),
        "cost": per_bar("cost"),
        "drawdown": float(np.mean([end.drawdown for end in ends.values()])),
        "win_rate": float((growth > 0.0).mean()),
    }


def _live(
    act: ActTogether, envs: Sequence[MarketEnv | MetaControllerBatch]
) -> list[tuple[NDArray[np.float64], Held]]:
    """Outcomes of each account until its episode ends, float64 [T, len(OUTCOME_COLUMNS)], and
    what it held at each close but the last.
    """
    rows: list[list[NDArray[np.float64]]] = [[] for _ in envs]
    held: list[Held] = [[] for _ in envs]
    accounts = [env.env if isinstance(env, MetaControllerBatch) else env for env in envs]
    exposures = [_exposures(account) for account in accounts]
    observations = [env.reset() for env in envs]
    alive = set(range(len(envs)))
    while alive:
        actions = act(observations)
        for k in sorted(alive):
            env = envs[k]
            ended = len(env.step(actions[k]))
            rows[k].append(env.episode_end(0).outcome if ended else env.outcome(0).copy())
            observations[k] = env.observations
            if ended:
                alive.remove(k)
            else:
                book = accounts[k].observations[0, exposures[k]].astype(np.float64)
                held[k].append((int(env.simulator.row[0]), book))
    return [(np.array(own), books) for own, books in zip(rows, held, strict=True)]


def _exposures(env: MarketEnv) -> NDArray[np.int64]:
    """Where an observation holds the exposure of each instrument."""
    names = env.layout.names()
    return np.array([names.index(f"{symbol}.exposure") for symbol in env.layout.symbols])
