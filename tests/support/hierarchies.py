# SPDX-License-Identifier: Apache-2.0
"""Hierarchies without training: random weights, or weights that are known to use messages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from mtquant.agents.hierarchy import META, HierarchyManifest, HierarchyPolicy
from mtquant.agents.stack import ActorCriticStack, PolicyShape, Weights
from mtquant.core.config import Config
from mtquant.core.domains import Domains, domains_of
from mtquant.data.files import write_parquet
from mtquant.envs.hierarchy import Hierarchy
from mtquant.market.observation import ObservationLayout
from mtquant.rewards.compose import STATE_NAMES
from mtquant.workflows.backtesting import Market
from mtquant.workflows.models import Trained
from tests.support.markets import FEATURES, INSTRUMENTS, SYMBOLS, momentum_bars, tiny_config

# Trading is a choice between two instruments that no limit disturbs.
FREE = (
    "environment.max_position_size=1.0",
    "environment.max_portfolio_var=null",
    "environment.max_correlation_exposure=null",
    "environment.max_sector_allocation=null",
    "environment.stop_loss_pct=0",
)
RETURN_UNIT = 0.01  # of the markets below: deviation of a bar's return, roughly


def momentum_market(folder: Path, *overrides: str, symbols: tuple[str, ...] = SYMBOLS) -> Market:
    """Instruments whose returns go on: what rose will rise. The first two gain on the test rows."""
    for n, symbol in enumerate(symbols):
        bars = momentum_bars(600, 9 + n, persistence=0.8, noise=0.006, symbol=symbol)
        write_parquet(bars, folder / f"{symbol}.parquet")
    return market_of(tiny_config(folder, *FREE, *overrides, symbols=symbols))


def market_of(config: Config) -> Market:
    """The test rows of a configuration."""
    return Market.build(config, INSTRUMENTS, "test")


def random_hierarchy(
    market: Market, seed: int = 0, size: float = 1.0, domains: Domains | None = None
) -> Trained:
    """Networks drawn at random, whose last layers are `size` times larger than fresh ones; one
    specialist per instrument unless told otherwise.
    """
    domains, (_, entries) = domains or one_each(market), sizes(market)
    views = Hierarchy(layout_of(market), market.rules, domains).view_sizes
    shapes = [
        PolicyShape(inputs, (8,), len(own), len(own))
        for inputs, own in zip(views, domains.values(), strict=True)
    ]
    count = len(shapes)
    crew = ActorCriticStack.fresh(shapes, range(seed, seed + count))
    meta = ActorCriticStack.fresh(PolicyShape(entries, (8,), count + 2), [seed + count])
    weights = {name: scaled(crew.weights(k), views[k], size) for k, name in enumerate(domains)}
    weights[META] = scaled(meta.weights(0), entries, size)
    return hierarchy_of(market, weights, domains)


def listening_hierarchy(market: Market, attention: float = 1.0) -> Trained:
    """Specialists are always long and forecast that the last return goes on; the meta-controller
    gives the capital to whom the higher forecast belongs, as far as `attention` says.
    """
    inputs, entries = sizes(market)
    names = layout_of(market).names()[:inputs]
    own = linear_weights(inputs, [names.index(f"{SYMBOLS[0]}.log_return_1")], 1, 1)
    own["action_net.bias"][:] = 1.0
    own["message_net.weight"][0, 0] = 1.0
    places = [meta_names(market).index(f"{symbol}.forecast_return") for symbol in SYMBOLS]
    meta = linear_weights(entries, places, 4, 0)
    # Logits of both specialists and of cash, then the risk budget, all of it.
    meta["action_net.weight"][0] = attention * torch.tensor([2.0, -2.0])
    meta["action_net.weight"][1] = attention * torch.tensor([-2.0, 2.0])
    meta["action_net.bias"][:] = torch.tensor([0.0, 0.0, -1.0, 1.0])
    return hierarchy_of(market, {**{symbol: own for symbol in SYMBOLS}, META: meta})


def linear_weights(inputs: int, reads: list[int], actions: int, forecasts: int) -> Weights:
    """A hidden unit per entry that is read, tanh of it; nothing comes of them yet."""
    first = torch.zeros(len(reads), inputs)
    for row, entry in enumerate(reads):
        first[row, entry] = 1.0
    weights = {
        "mlp_extractor.policy_net.0.weight": first,
        "mlp_extractor.policy_net.0.bias": torch.zeros(len(reads)),
        "action_net.weight": torch.zeros(actions, len(reads)),
        "action_net.bias": torch.zeros(actions),
        "mlp_extractor.value_net.0.weight": torch.zeros(len(reads), inputs),
        "mlp_extractor.value_net.0.bias": torch.zeros(len(reads)),
        "value_net.weight": torch.zeros(1, len(reads)),
        "value_net.bias": torch.zeros(1),
        "log_std": torch.zeros(actions),
    }
    if forecasts:
        weights["message_net.weight"] = torch.zeros(2 * forecasts, len(reads))
        weights["message_net.bias"] = torch.zeros(2 * forecasts)
    unit = torch.ones(inputs)
    if forecasts:  # a specialist: its features are returns
        unit[reads] = RETURN_UNIT
    return {**weights, **scaling(torch.zeros(inputs), unit)}


def scaled(weights: Weights, inputs: int, size: float) -> Weights:
    """With identity scaling, and larger last layers."""
    larger = {
        name: tensor * size if name.startswith(("action_net", "message_net")) else tensor
        for name, tensor in weights.items()
    }
    return {**larger, **scaling(torch.zeros(inputs), torch.ones(inputs))}


def scaling(mean: torch.Tensor, scale: torch.Tensor) -> Weights:
    return {"features_extractor.mean": mean, "features_extractor.scale": scale}


def layout_of(market: Market) -> ObservationLayout:
    symbols = market.panel.symbols
    return ObservationLayout(symbols, (*FEATURES, "age_bars"), 1, STATE_NAMES)


def meta_names(market: Market) -> tuple[str, ...]:
    return Hierarchy(layout_of(market), market.rules).meta_names()


def sizes(market: Market) -> tuple[int, int]:
    """Entries of a specialist's view, and of the meta-controller's observation."""
    hierarchy = Hierarchy(layout_of(market), market.rules)
    return hierarchy.view_sizes[0], len(hierarchy.meta_names())


def one_each(market: Market) -> Domains:
    return domains_of({}, market.panel.symbols)


def hierarchy_of(
    market: Market, weights: dict[str, Weights], domains: Domains | None = None
) -> Trained:
    """As `load_trained` gives one."""
    symbols, layout = market.panel.symbols, layout_of(market)
    manifest = HierarchyManifest(
        phase=3,
        domains=domains or one_each(market),
        feature_names=layout.feature_names,
        window_bars=1,
        meta_names=meta_names(market),
        reward_scale=0.01,
        forecast_units=dict.fromkeys(symbols, RETURN_UNIT),
        rules_hash=market.rules.hash(),
        features_hash="0" * 64,
        config_hash="0" * 64,
        bars_sha256=dict.fromkeys(symbols, "0" * 64),
        known_until_ns=0,
        seed=0,
        timesteps=0,
        weights_sha256="0" * 64,
    )
    policy = HierarchyPolicy(weights, manifest, market.rules)
    known = dict.fromkeys(symbols, 0)
    return Trained(policy, 3, manifest.bars_sha256, known, 0.01, {policy.name: "0" * 64}, ())


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)
