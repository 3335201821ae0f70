# SPDX-License-Identifier: Apache-2.0
"""Specialists of unequally many instruments learn in one stack as each would alone."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import torch

from mtquant.agents.scaling import Scaling
from mtquant.agents.stack import ActorCriticStack, PolicyShape
from mtquant.agents.training.loop import PPOLoop
from mtquant.agents.training.rollout import Rollout
from mtquant.agents.training.world import SpecialistWorld
from mtquant.core.seeding import SeedTree
from mtquant.core.states import part
from mtquant.data.bars import Bars
from tests.support.builders import make_bars
from tests.support.markets import DAY, domain_world, tiny_config
from tests.support.parity import ACCOUNTS, SETTINGS

NUMBERS = {"forecast_coef": 0.5, "n_epochs": 2}
HELD = ("observations", "actions", "forecasts", "log_probs", "values", "rewards", "advantages")


@cache
def worlds() -> tuple[SpecialistWorld, ...]:
    """Of one instrument, of three and of two, with some bars missing."""
    config = tiny_config(Path("unread"))
    domains = (("EURUSD",), ("GBPUSD", "XAUUSD", "WTIUSD"), ("SPX500", "NAS100"))
    seeds = iter(range(6))

    def bars(symbol: str) -> Bars:
        return make_bars(symbol, 600, next(seeds), DAY, volatility=0.01, missing_frac=0.1)

    return tuple(domain_world(config, [bars(symbol) for symbol in own]) for own in domains)


def loop_of(places: tuple[int, ...], dtype: torch.dtype, rate: float) -> PPOLoop:
    """The specialists at these places of `worlds`, from seeds of their own."""
    settings = SETTINGS.model_copy(update={**NUMBERS, "learning_rate": rate})
    own, seeds = [worlds()[k] for k in places], [SeedTree(5).child(k) for k in places]
    envs = [
        world.training_env(ACCOUNTS, node.child("episodes"))
        for world, node in zip(own, seeds, strict=True)
    ]
    shapes = [PolicyShape(e.layout.size, (8, 8), len(e.unit), len(e.unit)) for e in envs]
    stack = ActorCriticStack.fresh(shapes, [node.integer() for node in seeds], dtype=dtype)
    scaling = Scaling.of([world.scaling() for world in own], stack.parameters)
    return PPOLoop(envs, stack, scaling, settings, 10 * settings.rollout_steps, seeds)


def cut_into(rollout: Rollout, k: int, own: Rollout) -> None:
    """What network k lived through, without padding."""
    for name in (*HELD, "returns", "last"):
        held, mine = getattr(rollout, name), getattr(own, name)
        mine.copy_(held[k : k + 1, ..., : mine.shape[3]] if mine.dim() == 4 else held[k : k + 1])


@pytest.mark.parametrize(
    ("dtype", "rate", "tolerance"), [(torch.float64, 1e-2, 1e-12), (torch.float32, 3e-4, 1e-6)]
)
def test_an_update_is_that_of_each_alone(dtype: torch.dtype, rate: float, tolerance: float) -> None:
    together = loop_of((0, 1, 2), dtype, rate)
    rollout = together.collector.collect(0.99, 0.95)
    orders = together._permutations()
    before = together.stack.parameters.clone()
    report = together.updater.update(rollout, rate, orders)
    adam = together.updater.adam.state()
    for k in range(3):
        alone = loop_of((k,), dtype, rate)
        cut_into(rollout, k, alone.collector.rollout)
        own = alone.updater.update(
            alone.collector.rollout, rate, [order[k : k + 1] for order in orders]
        )
        stack = together.stack
        learnt = stack.cut(k, stack.parameters[k])
        apart = (learnt - alone.stack.parameters[0]).abs().max()
        assert float(apart) <= tolerance
        assert float((learnt - stack.cut(k, before[k])).abs().max()) > rate
        torch.testing.assert_close(report.figures[k], own.figures[0], rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(report.forecast_loss[k], own.forecast_loss[0])
        mine, its = stack.weights(k), alone.stack.weights(0)
        assert {name: held.shape for name, held in mine.items()} == {
            name: held.shape for name, held in its.items()
        }
        # Padding has not moved, nor have its moments begun to.
        for held in (stack.parameters, adam["exp_avg"], adam["exp_avg_sq"]):
            row = held[k].to(stack.parameters)
            assert torch.equal(stack.padded(k, stack.cut(k, row)), row)


def test_a_rollout_is_that_of_each_alone() -> None:
    """The same episodes, noise and answers; in float64, in which no order of sums shows."""
    together = loop_of((0, 1, 2), torch.float64, 1e-2)
    for _ in range(2):
        rollout = together.collector.collect(0.99, 0.95)
    for k in range(3):
        alone = loop_of((k,), torch.float64, 1e-2)
        for _ in range(2):
            own = alone.collector.collect(0.99, 0.95)
        cut = loop_of((k,), torch.float64, 1e-2).collector.rollout
        cut_into(rollout, k, cut)
        for name in HELD:
            found, expected = getattr(cut, name), getattr(own, name)
            torch.testing.assert_close(found, expected, rtol=0.0, atol=1e-9, equal_nan=True)
        assert torch.equal(cut.last, own.last)
        padded = rollout.forecasts[k, ..., alone.stack.shape.forecasts :]
        assert bool(padded.isnan().all())
    assert bool(rollout.forecasts[2, ..., :2].isnan().any())  # where a bar is missing


def test_a_state_does_not_depend_on_who_is_trained_beside() -> None:
    """Put together in another way it goes on: a checkpoint of two processes in one."""
    together = loop_of((0, 1, 2), torch.float32, 1e-2)
    together.iterate()
    state = together.state()
    pair = loop_of((0, 2), torch.float32, 1e-2)
    moved = {"steps": state["steps"]}
    for place, k in enumerate((0, 2)):
        own = part(f"network{k}", state)
        moved |= {f"network{place}/{name}": held for name, held in own.items()}
    pair.load_state(moved)
    for place, k in enumerate((0, 2)):
        found, expected = pair.stack.weights(place), together.stack.weights(k)
        assert all(torch.equal(found[name], expected[name]) for name in expected)
    again = pair.state()
    assert all(again[name].tobytes() == held.tobytes() for name, held in moved.items())
    pair.iterate()
    assert pair.steps == 2 * together.steps


def test_metrics_leave_padding_out() -> None:
    together = loop_of((0, 1), torch.float64, 1e-12)
    (first, second) = together.iterate()
    # A standard deviation of 1: the entropy of one action, and of three.
    assert -first["train/entropy_loss"] == pytest.approx(1.4189385, rel=1e-6)
    assert -second["train/entropy_loss"] == pytest.approx(3.0 * 1.4189385, rel=1e-6)
    assert first["train/std"] == pytest.approx(1.0, rel=1e-6)
