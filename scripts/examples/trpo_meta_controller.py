#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""sb3-contrib's TRPO as the meta-controller over frozen specialists (`MetaControllerBatch`).

The specialists are a rule here, so that the example needs no trained models: each is long after
its instrument rose over 20 bars, short after it fell, and the more confident the further it went.

python scripts/examples/trpo_meta_controller.py --steps 4096
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from common import arguments, episode, portfolio_world, report
from numpy.typing import NDArray
from sb3_contrib import TRPO

from mtquant.core.seeding import SeedTree
from mtquant.envs.hierarchy import MESSAGE
from mtquant.envs.meta import MetaControllerBatch, MetaControllerTrainingEnv
from mtquant.envs.sb3 import MarketVecEnv

Float32 = NDArray[np.float32]


class TrendFollowers:
    """Messages float32 [E, N, MESSAGE] from views; signal and confidence, the rest is 0."""

    def __init__(self, feature_names: Sequence[str]) -> None:
        self.trend = feature_names.index("log_return_20")
        self.risk = feature_names.index("volatility_20")

    def __call__(self, views: Sequence[Float32]) -> Float32:
        messages = np.zeros((len(views[0]), len(views), MESSAGE), dtype=np.float32)
        for n, view in enumerate(views):
            distance = view[:, self.trend] / np.maximum(view[:, self.risk] * 20**0.5, 1e-6)
            messages[:, n, 0] = np.sign(distance)
            messages[:, n, 1] = np.minimum(np.abs(distance), 1.0)
        return messages


def main(argv: Sequence[str] | None = None) -> None:
    options = arguments(argv, steps=4096)
    world, seeds = portfolio_world(), SeedTree(options.seed)
    speak = TrendFollowers(world.pipeline.panel_names)
    batch = MetaControllerBatch(world.training_env(16, seeds.child("train")), speak)
    model = TRPO("MlpPolicy", MarketVecEnv(batch), n_steps=128, seed=options.seed, device="cpu")
    model.learn(options.steps)
    held_out = MetaControllerTrainingEnv(world.evaluation_env(seeds.child("check")), speak)
    bars, result = episode(held_out, lambda seen: model.predict(seen, deterministic=True)[0])
    # All logits equal and half of the risk budget.
    even = np.zeros(len(batch.unit), dtype=np.float32)
    _, equal = episode(held_out, lambda seen: even)
    did = f"TRPO trained for {model.num_timesteps} bars of {', '.join(world.tape.symbols)}"
    report(did, bars, result, "equal weights", equal)


if __name__ == "__main__":
    main()
