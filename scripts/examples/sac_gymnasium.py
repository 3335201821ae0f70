#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""stable-baselines3's SAC on one account under its Gymnasium id.

python scripts/examples/sac_gymnasium.py --steps 2000
"""

from __future__ import annotations

from collections.abc import Sequence

import gymnasium
import numpy as np
from common import SHORT, SYMBOL, arguments, episode, report, scaling, specialist_world
from stable_baselines3 import SAC

from mtquant.core.seeding import SeedTree
from mtquant.envs.gym import MarketGymEnv


def main(argv: Sequence[str] | None = None) -> None:
    options = arguments(argv, steps=2000)
    env = gymnasium.make(
        "mtquant.workflows.environments:mtquant/Market-v0", symbol=SYMBOL, overrides=SHORT
    )
    world = specialist_world()
    model = SAC(
        "MlpPolicy",
        env,
        learning_starts=100,
        train_freq=4,
        batch_size=128,
        buffer_size=10_000,
        seed=options.seed,
        device="cpu",
        policy_kwargs={**scaling(world), "net_arch": [32, 32]},
    )
    model.learn(options.steps)
    held_out = MarketGymEnv(world.evaluation_env(1, SeedTree(options.seed), whole=True))
    bars, result = episode(held_out, lambda seen: model.predict(seen, deterministic=True)[0])
    _, holding = episode(held_out, lambda seen: np.ones(1, dtype=np.float32))
    did = f"SAC trained for {model.num_timesteps} bars of {SYMBOL}"
    report(did, bars, result, "always long", holding)


if __name__ == "__main__":
    main()
