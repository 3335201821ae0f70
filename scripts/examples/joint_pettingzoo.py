#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The whole hierarchy as a PettingZoo `AECEnv`, driven by random agents.

python scripts/examples/joint_pettingzoo.py --steps 250
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from common import arguments, portfolio_world

from mtquant.core.seeding import SeedTree
from mtquant.envs.pettingzoo import JointTrainingEnv


def main(argv: Sequence[str] | None = None) -> None:
    options = arguments(argv, steps=250)
    world = portfolio_world()
    env = JointTrainingEnv(world.training_env(1, SeedTree(options.seed)))
    env.reset(seed=options.seed)
    for agent in env.possible_agents:
        env.action_space(agent).seed(options.seed)
    earned: dict[str, float] = defaultdict(float)
    for agent in env.agent_iter(options.steps * env.max_num_agents):
        _, reward, terminated, truncated, _ = env.last()
        earned[agent] += reward
        env.step(None if terminated or truncated else env.action_space(agent).sample())
    ledger = env.ledger()
    shares = ", ".join(f"{agent} {sum_:+.2f}" for agent, sum_ in earned.items())
    growth = ledger.column("growth").sum()
    print(
        f"Random agents traded {', '.join(ledger.symbols)} for {len(ledger)} bars: log growth "
        f"{growth:+.4f}; rewards in units of the reward scale: {shares}. Nothing was learnt."
    )


if __name__ == "__main__":
    main()
