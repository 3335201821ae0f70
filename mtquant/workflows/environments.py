# SPDX-License-Identifier: Apache-2.0
"""The market under a Gymnasium id, for programs that build environments by name.

    gymnasium.make("mtquant.workflows.environments:mtquant/Market-v0", symbol="SPX500")
    gymnasium.make_vec("mtquant.workflows.environments:mtquant/Market-v0", 64, symbol="SPX500")

Importing this module registers the id, and the part before the colon makes Gymnasium import it.
That is Gymnasium's convention, and the only form that also works in the worker processes of
`AsyncVectorEnv` and `SubprocVecEnv`, where no other code of the program has run. The registry is
Gymnasium's; nothing here keeps state. Arguments are plain values, as a specification needs them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import gymnasium

from mtquant.agents.training.world import SpecialistWorld
from mtquant.core.checked import did_you_mean
from mtquant.core.config import load_config
from mtquant.core.errors import ConfigError
from mtquant.core.seeding import SeedTree
from mtquant.data.instruments import load_instruments
from mtquant.data.sources import load_bars, split_bars
from mtquant.envs.gym import MarketGymEnv
from mtquant.envs.gym_vector import MarketVectorEnv

MARKET_ID = "mtquant/Market-v0"


def market_world(
    symbol: str, config: str | None = None, overrides: Sequence[str] = ()
) -> SpecialistWorld:
    """One instrument's bars, features, rules and reward, as phase 1 trains on them.

    Args:
        symbol: One of the config's instruments.
        config: Path of a configuration file; the defaults (bundled bars) when None.
        overrides: ``"section.key=value"`` texts.

    Raises:
        MtquantError: Whatever is wrong with the configuration or the bars.
    """
    settings = load_config(None if config is None else Path(config), overrides)
    known = settings.data.instruments
    if symbol not in known:
        rule = f"must be one of data.instruments ({', '.join(known)})"
        raise ConfigError("symbol", rule, symbol, did_you_mean(symbol, known))
    instruments = load_instruments()
    bars = load_bars(settings.data, instruments)
    return SpecialistWorld.build(
        symbol, {symbol: bars[symbol]}, split_bars(bars, settings.data), settings, instruments
    )


def make_market(
    symbol: str, config: str | None = None, overrides: Sequence[str] = (), seed: int = 0
) -> MarketGymEnv:
    """One account on the training rows; ``reset(seed=...)`` overrules `seed`."""
    world = market_world(symbol, config, overrides)
    return MarketGymEnv(world.training_env(1, SeedTree(seed)))


def make_markets(
    num_envs: int,
    symbol: str,
    config: str | None = None,
    overrides: Sequence[str] = (),
    seed: int = 0,
) -> MarketVectorEnv:
    """As many accounts in one compiled loop."""
    world = market_world(symbol, config, overrides)
    return MarketVectorEnv(world.training_env(num_envs, SeedTree(seed)))


gymnasium.register(
    MARKET_ID,
    entry_point=f"{__name__}:{make_market.__name__}",
    vector_entry_point=f"{__name__}:{make_markets.__name__}",
)
