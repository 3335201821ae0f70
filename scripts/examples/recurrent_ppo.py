#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""sb3-contrib's RecurrentPPO on a batch of accounts (`MarketVecEnv`).

python scripts/examples/recurrent_ppo.py --steps 2048
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from common import SYMBOL, arguments, episode, report, scaling, specialist_world
from numpy.typing import NDArray
from sb3_contrib import RecurrentPPO

from mtquant.core.seeding import SeedTree
from mtquant.envs.gym import MarketGymEnv
from mtquant.envs.sb3 import MarketVecEnv


class Remembering:
    """A recurrent policy with its memory, one bar after the other."""

    def __init__(self, model: RecurrentPPO) -> None:
        self.model, self.memory = model, None

    def __call__(self, seen: NDArray[np.float32]) -> NDArray[np.float32]:
        first = np.array([self.memory is None])
        action, self.memory = self.model.predict(seen, self.memory, first, deterministic=True)
        return action


def main(argv: Sequence[str] | None = None) -> None:
    options = arguments(argv, steps=2048)
    world, seeds = specialist_world(), SeedTree(options.seed)
    env = MarketVecEnv(world.training_env(8, seeds.child("train")))
    model = RecurrentPPO(
        "MlpLstmPolicy",
        env,
        n_steps=64,
        batch_size=128,
        n_epochs=2,
        seed=options.seed,
        device="cpu",
        policy_kwargs={**scaling(world), "lstm_hidden_size": 32},
    )
    model.learn(options.steps)
    held_out = MarketGymEnv(world.evaluation_env(1, seeds.child("check"), whole=True))
    bars, result = episode(held_out, Remembering(model))
    _, holding = episode(held_out, lambda seen: np.ones(1, dtype=np.float32))
    did = f"RecurrentPPO trained for {model.num_timesteps} bars of {SYMBOL}"
    report(did, bars, result, "always long", holding)


if __name__ == "__main__":
    main()
