# SPDX-License-Identifier: Apache-2.0
"""Phase 1 through the stacked engine: all specialists of a job at once."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import torch

from mtquant.agents.crew import Crew, kept
from mtquant.agents.scaling import Scaling, observation_scaling
from mtquant.agents.stack import ActorCriticStack, PolicyShape
from mtquant.agents.training.job import Best, Job
from mtquant.agents.training.loop import PPOLoop
from mtquant.agents.training.session import Session
from mtquant.agents.training.validation import evaluate_parts
from mtquant.core.seeding import SeedTree
from mtquant.core.telemetry import Telemetry


def train_stacked(job: Job) -> dict[str, dict[str, Any]]:
    """Trains all specialists of a job; by symbol what `Phase1Trainer.train_specialist` returns."""
    torch.set_num_threads(job.config.training.torch_threads)
    loop = build_loop(job)
    watch = Watch(job, loop)
    session = Session(
        job.output_dir,
        job.identity(),
        job.device,
        job.logger,
        different_numerics=job.different_numerics,
    )
    begun = session.begin(loop, watch.best, resume=job.resume)
    every = job.config.training.checkpoint_every_updates * job.settings.rollout_steps
    with ExitStack() as stack:
        boards = {
            symbol: stack.enter_context(Telemetry(job.log_dir / symbol, job.logger, begun))
            for symbol in job.worlds
        }
        while not loop.done:
            found = loop.iterate()
            checked = loop.done or loop.steps % every == 0
            if checked:
                for own, validation in zip(found, watch.validate(), strict=True):
                    own.update(validation)
            for symbol, metrics in zip(job.worlds, found, strict=True):
                boards[symbol].scalars(metrics, loop.steps)
            if checked:
                session.save(loop, watch.best, boards.values())
            for symbol, metrics in zip(job.worlds, found, strict=True):
                job.report(symbol, loop.steps, metrics)
    return {symbol: watch.best[symbol].result(job, symbol, loop.steps) for symbol in job.worlds}


def build_loop(job: Job) -> PPOLoop:
    """The engine, ready to begin."""
    settings = job.settings
    seeds = [job.seeds.child(symbol) for symbol in job.worlds]
    batches = [
        world.training_env(settings.n_envs, node.child("episodes"))
        for world, node in zip(job.worlds.values(), seeds, strict=True)
    ]
    layout, actions = batches[0].layout, len(batches[0].unit)
    forecasts = actions if settings.forecast_coef else 0
    shape = PolicyShape(layout.size, settings.hidden_units, actions, forecasts)
    networks = ActorCriticStack.fresh(
        shape, [node.child("torch").integer() for node in seeds], device=job.device
    )
    pairs = [
        observation_scaling(layout, world.scaler, world.environment.max_position_size)
        for world in job.worlds.values()
    ]
    scaling = Scaling.of(pairs, networks.parameters)
    return PPOLoop(batches, networks, scaling, settings, job.timesteps, seeds)


class Watch:
    """Validates specialists together, and keeps the best of each."""

    def __init__(self, job: Job, loop: PPOLoop) -> None:
        self._job, self._loop = job, loop
        self._crew = Crew(loop.stack, loop.scaling)
        self.best = {symbol: Best() for symbol in job.worlds}

    def validate(self) -> list[Mapping[str, float]]:
        """The ``validation/*`` metrics of all, on the whole of their validation rows."""
        worlds = self._job.worlds
        envs = [world.evaluation_env(1, SeedTree(0), whole=True) for world in worlds.values()]
        found = evaluate_parts(self._crew.act, envs)
        for k, (symbol, metrics) in enumerate(zip(worlds, found, strict=True)):
            if self.best[symbol].beaten_by(metrics, self._loop.steps):
                self._job.keep(symbol, kept(self._crew, k), self._loop.steps)
        return list(found)
