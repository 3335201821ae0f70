# SPDX-License-Identifier: Apache-2.0
"""The training environment on data whose future is another, and on data that ends there:
observations up to the cut and rewards of bars up to the cut have to be the same bytes.

What is lived through is what the phase trains in: accounts (phase 1, and policies of one's own),
portfolios as the meta-controller sees them (phase 2), or the rollout in which all learn (phase 3).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtquant.agents.hierarchy import META, HierarchyPolicy
from mtquant.agents.training.joint_rollout import JointCollector
from mtquant.envs.batch import Batch
from mtquant.envs.market_env import MarketEnv
from mtquant.envs.meta import MetaControllerBatch
from mtquant.workflows.backtesting import Market
from mtquant.workflows.verify.behaviour import other_futures
from mtquant.workflows.verify.compare import Differences, deviations
from mtquant.workflows.verify.draws import Effort, cut_rows
from mtquant.workflows.verify.record import Record
from mtquant.workflows.verify.subject import Rows32, Subject

NAME = "look-ahead: environment"
REMEDY = (
    "An observation may hold rows up to the decision, and a reward the bar that follows it. "
    "Mend the environment and train again."
)
STEPS, ACCOUNTS = 60, 2
Float = NDArray[np.float64]


@dataclass(frozen=True)
class _Life:
    """What the first account saw and was paid.

    `observations` [D, entries] at the decisions, `rewards` [D, R] for the bars behind them, and
    the names of the columns of both.
    """

    observations: Float
    rewards: Float
    entries: tuple[str, ...]
    payments: tuple[str, ...]


def check_environment(subject: Subject, effort: Effort) -> Record:
    """Random decisions in two accounts up to every cut."""
    drawn = cut_rows(subject, effort, effort.decisions, "environment")
    rows = [row for row in drawn if row > subject.first_row + 1]
    seen: Differences | None = None
    paid: Differences | None = None
    for row in rows:
        lived = slice(max(subject.first_row, row - STEPS), row + 2)
        expected = _live(subject, effort, subject.market, subject.features, lived)
        if seen is None or paid is None:
            seen = _differences(subject, expected.entries, expected.observations)
            paid = _differences(subject, expected.payments, expected.rewards)
        for how, market in other_futures(subject, effort, row):
            found = _live(subject, effort, market, market.features_of(subject.policy), lived)
            same, start = min(len(expected.rewards), len(found.rewards)), lived.start
            seen.add(expected.observations[:same], found.observations[:same], start, row, how)
            # The decision at the cut is paid by the bar behind it, which is another.
            bars = min(same, row - start)
            paid.add(expected.rewards[:bars], found.rewards[:bars], start, row, how)
    findings = [own for each in (seen, paid) if each is not None for own in each.findings()]
    looked = (
        f"observations and rewards before {len(rows)} rows are the same bytes whatever comes "
        f"behind them, or nothing ({_what(subject)})"
    )
    return Record.of(NAME, findings, looked, REMEDY)


def _what(subject: Subject) -> str:
    name = subject.environment.__name__
    if isinstance(subject.policy, HierarchyPolicy):
        batch = MetaControllerBatch if subject.policy.manifest.phase == 2 else JointCollector
        return f"{batch.__name__} over {name}"
    return name


def _live(subject: Subject, effort: Effort, market: Market, features: Rows32, rows: slice) -> _Life:
    env, policy = subject.env(market, features, rows, ACCOUNTS), subject.policy
    if not isinstance(policy, HierarchyPolicy):
        return _batch_life(env, env, effort, rows, 1.0 / len(env.unit))
    if policy.manifest.phase > 2:
        return _joint_life(subject, policy, env, effort, rows)
    crew, spoken = policy.crew, policy.hierarchy.spoken
    domains = policy.manifest.domains
    batch = MetaControllerBatch(env, lambda views: crew.speak(views)[:, spoken], domains)
    return _batch_life(batch, env, effort, rows, 1.0, batch.hierarchy.meta_names())


def _batch_life(
    batch: Batch,
    env: MarketEnv,
    effort: Effort,
    rows: slice,
    size: float,
    names: tuple[str, ...] = (),
) -> _Life:
    """Random actions of a size; what the batch shows of its own stands behind the account's."""
    draw = effort.node("actions", rows.start).generator()
    observed, rewards = list[Float](), list[float]()
    batch.reset()
    for _ in range(rows.stop - rows.start - 1):
        own = batch.observations[0] if names else np.empty(0)
        observed.append(np.concatenate((env.observations[0], own), dtype=np.float64))
        actions = draw.uniform(-1.0, 1.0, (ACCOUNTS, len(batch.unit))) * size
        ended = batch.step(actions.astype(np.float32))
        rewards.append(float(batch.rewards[0]))
        if 0 in ended:
            break
    entries = (*env.layout.names(), *names)
    return _Life(np.array(observed), np.array(rewards)[:, None], entries, ("reward",))


def _joint_life(
    subject: Subject, policy: HierarchyPolicy, env: MarketEnv, effort: Effort, rows: slice
) -> _Life:
    """One rollout of phase 3, with the noise of the draws in everybody's actions."""
    domains, manifest = policy.manifest.domains, policy.manifest
    node = effort.node("noise", rows.start)
    collector = JointCollector(
        env,
        domains,
        policy.crew,
        policy.meta,
        rows.stop - rows.start - 1,
        [node.child(name).generator() for name in (*domains, META)],
        np.array([manifest.forecast_units[symbol] for symbol in manifest.symbols]),
        subject.config.training.specialist_reward,
    )
    rollout = collector.collect(1.0, 1.0)
    own, meta = rollout.own, rollout.meta
    # Behind the end of an episode the account lives another one.
    lived = int(np.append(np.flatnonzero(meta.last[0, :, 0].numpy()), len(meta.last[0]))[0]) + 1
    sizes = collector.hierarchy.view_sizes
    views = [own.observations[k, :lived, 0, :size].numpy() for k, size in enumerate(sizes)]
    names = [
        *(name for view in policy.view_names() for name in view),
        *collector.hierarchy.meta_names(),
    ]
    payments = [*(f"reward of {name}" for name in domains), "reward"]
    return _Life(
        np.concatenate((*views, meta.observations[0, :lived, 0].numpy()), axis=1, dtype=np.float64),
        np.concatenate((own.rewards[:, :lived, 0], meta.rewards[:, :lived, 0])).T.astype(float),
        tuple(names),
        tuple(payments),
    )


def _differences(subject: Subject, names: tuple[str, ...], rows: Float) -> Differences:
    unit = np.maximum(deviations(rows), 1e-9)
    return Differences(subject, names, [""] * len(names), unit)
