# SPDX-License-Identifier: Apache-2.0
"""Phase 1 through the stacked engine: all specialists of a job at once, on one core or several."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import pairwise
from typing import Any, Protocol

from mtquant.agents.crew import Crew, kept
from mtquant.agents.scaling import Scaling
from mtquant.agents.stack import ActorCriticStack, PolicyShape
from mtquant.agents.training.curriculum_env import move_on, training_env
from mtquant.agents.training.job import Best, Job
from mtquant.agents.training.loop import PPOLoop, network
from mtquant.agents.training.replay import Recorder
from mtquant.agents.training.session import Session, weights_digest
from mtquant.agents.training.validation import evaluate_parts
from mtquant.agents.training.world import SpecialistWorld
from mtquant.core.config import trained_under
from mtquant.core.processes import Workers
from mtquant.core.seeding import SeedTree
from mtquant.core.states import Arrays, below, part
from mtquant.core.telemetry import Telemetry
from mtquant.features.signals import signals_digest
from mtquant.learning.threads import use_threads

Metrics = dict[str, float]


def train_stacked(job: Job) -> dict[str, dict[str, Any]]:
    """Trains all specialists of a job; by name what `Phase1Trainer.train_specialist` returns."""
    best = {name: Best() for name in job.worlds}
    session = Session(
        job.output_dir,
        identity(job),
        job.device,
        job.logger,
        threads=job.config.training.torch_threads,
        workers=len(shares(job)),
        different_numerics=job.different_numerics,
    )
    every = job.config.training.checkpoint_every_updates * job.settings.rollout_steps
    with ExitStack() as stack:
        team = stack.enter_context(team_of(job))
        begun = session.begin(team, best, resume=job.resume)
        recorder = Recorder(job.output_dir, job.replay_record(), begun)
        boards = {
            name: stack.enter_context(Telemetry(job.log_dir / name, job.logger, begun))
            for name in job.worlds
        }
        for board in boards.values():
            board.settings(job.config.training.hyper_parameters())
        steps = team.steps
        while steps < job.timesteps:
            found = team.iterate()
            steps = team.steps
            if recorder.wants:
                recorder.add(team.digests())
            checked = steps >= job.timesteps or steps % every == 0
            validated = team.validate() if checked else None
            if validated is not None:
                team.keep([s for s in best if best[s].beaten_by(validated[s], steps)])
            for metrics_of in (validated or {}, team.move_on(validated)):
                for name, metrics in metrics_of.items():
                    found[name] |= metrics
            for name, metrics in found.items():
                boards[name].scalars(metrics, steps)
            if checked:
                session.save(team, best, boards.values())
            for name, metrics in found.items():
                job.report(name, steps, metrics)
    return {name: best[name].result(job, name, steps) for name in job.worlds}


def identity(job: Job) -> dict[str, Any]:
    """What a checkpoint of this job must have been made under."""
    until = max(world.split.known_until_ns for world in job.worlds.values())
    return {
        "signals": signals_digest(job.config.features, until),
        "phase": 1,
        "config_hash": trained_under(job.config),
        "timesteps": job.timesteps,
        "bars": {name: world.manifest()["bars_sha256"] for name, world in job.worlds.items()},
        "domains": {name: list(world.bars) for name, world in job.worlds.items()},
    }


class Team(Protocol):
    """Specialists in training, wherever they are."""

    @property
    def steps(self) -> int:
        """Bars that each has lived through."""
        ...

    def iterate(self) -> dict[str, Metrics]:
        """One rollout and one update of all; metrics by name."""
        ...

    def validate(self) -> dict[str, Metrics]:
        """The ``validation/*`` metrics of all, on the whole of their validation rows."""
        ...

    def keep(self, names: Sequence[str]) -> None:
        """Writes these as they are now."""

    def digests(self) -> dict[str, str]:
        """sha256 of everybody's weights, by name."""
        ...

    def move_on(self, validated: Mapping[str, Metrics] | None) -> dict[str, Metrics]:
        """Lets the curriculum go on (`curriculum_env.move_on`); its metrics by name."""
        ...

    def state(self) -> Arrays:
        """Everything that goes on, by name: the same whatever process it is in."""
        ...

    def load_state(self, state: Arrays) -> None:
        """Goes on from an earlier `state`."""


@contextmanager
def team_of(job: Job) -> Iterator[Team]:
    """All specialists of a job: in this process, or in `training.workers` others."""
    parts = shares(job)
    if len(parts) == 1:
        yield Shift(job)
        return
    # Whoever watches cannot go along, and is served from here.
    jobs = [replace(job, worlds=worlds, progress=None) for worlds in parts]
    with Workers(Shift, [(own,) for own in jobs]) as workers:
        yield Shifts(workers)


def shares(job: Job) -> list[dict[str, SpecialistWorld]]:
    """The worlds of each process: as equal in number as can be, in the job's order."""
    names = list(job.worlds)
    count = min(job.config.training.workers, len(names))
    cuts = [len(names) * k // count for k in range(count + 1)]
    return [{name: job.worlds[name] for name in names[begin:end]} for begin, end in pairwise(cuts)]


class Shift:
    """The specialists of one process."""

    def __init__(self, job: Job) -> None:
        use_threads(job.config.training.torch_threads)
        self._job, self._loop = job, build_loop(job)
        self._crew = Crew(self._loop.stack, self._loop.scaling)

    @property
    def steps(self) -> int:
        """See `Team`."""
        return self._loop.steps

    def lived(self) -> int:
        """The same, for who asks from another process."""
        return self.steps

    def iterate(self) -> dict[str, Metrics]:
        """See `Team`."""
        return dict(zip(self._job.worlds, self._loop.iterate(), strict=True))

    def validate(self) -> dict[str, Metrics]:
        """See `Team`."""
        worlds = self._job.worlds
        envs = [world.evaluation_env(1, SeedTree(0), whole=True) for world in worlds.values()]
        return dict(zip(worlds, evaluate_parts(self._crew.act, envs), strict=True))

    def keep(self, names: Sequence[str]) -> None:
        """See `Team`."""
        for k, name in enumerate(self._job.worlds):
            if name in names:
                self._job.keep(name, kept(self._crew, k), self._loop.steps)

    def digests(self) -> dict[str, str]:
        """See `Team`."""
        stack = self._loop.stack
        return {
            name: weights_digest(stack.cut(k, stack.parameters[k]))
            for k, name in enumerate(self._job.worlds)
        }

    def move_on(self, validated: Mapping[str, Metrics] | None) -> dict[str, Metrics]:
        """See `Team`."""
        found = {}
        for name, batch in zip(self._job.worlds, self._loop.collector.batches, strict=True):
            validation = None if validated is None else validated[name]
            found[name] = move_on(batch, self.steps, validation, batch.reset)
        return found

    def state(self) -> Arrays:
        """See `Team`."""
        state = self._loop.state()
        found = {"steps": state["steps"]}
        for k, name in enumerate(self._job.worlds):
            found |= below(name, part(network(k), state))
        return found

    def load_state(self, state: Arrays) -> None:
        """See `Team`."""
        found = {"steps": state["steps"]}
        for k, name in enumerate(self._job.worlds):
            found |= below(network(k), part(name, state))
        self._loop.load_state(found)


class Shifts:
    """Shifts in other processes.

    Args:
        workers: Around one `Shift` each.
    """

    def __init__(self, workers: Workers) -> None:
        self._workers = workers

    @property
    def steps(self) -> int:
        """See `Team`."""
        return int(self._workers.ask("lived")[0])

    def iterate(self) -> dict[str, Metrics]:
        """See `Team`."""
        return self._merged("iterate")

    def validate(self) -> dict[str, Metrics]:
        """See `Team`."""
        return self._merged("validate")

    def keep(self, names: Sequence[str]) -> None:
        """See `Team`."""
        self._workers.ask("keep", list(names))

    def digests(self) -> dict[str, str]:
        """See `Team`."""
        found: dict[str, str] = {}
        for own in self._workers.ask("digests"):
            found |= own
        return found

    def move_on(self, validated: Mapping[str, Metrics] | None) -> dict[str, Metrics]:
        """See `Team`."""
        return self._merged("move_on", validated)

    def state(self) -> Arrays:
        """See `Team`."""
        found: Arrays = {}
        for own in self._workers.ask("state"):
            found |= own
        return found

    def load_state(self, state: Arrays) -> None:
        """See `Team`."""
        self._workers.ask("load_state", state)

    def _merged(self, method: str, *arguments: Any) -> dict[str, Metrics]:
        found: dict[str, Metrics] = {}
        for own in self._workers.ask(method, *arguments):
            found |= own
        return found


def build_loop(job: Job) -> PPOLoop:
    """The engine, ready to begin."""
    settings = job.settings
    seeds = [job.seeds.child(name) for name in job.worlds]
    batches = [
        training_env(
            world,
            job.config.training,
            world.bars,
            world.split,
            settings.n_envs,
            node.child("episodes"),
            name=name,
            logger=job.logger,
        )
        for (name, world), node in zip(job.worlds.items(), seeds, strict=True)
    ]
    shapes = []
    for batch in batches:
        actions = len(batch.unit)
        forecasts = actions if settings.forecast_coef else 0
        shapes.append(PolicyShape(batch.layout.size, settings.hidden_units, actions, forecasts))
    networks = ActorCriticStack.fresh(
        shapes, [node.child("torch").integer() for node in seeds], device=job.device
    ).compute_in(job.config.training.precision)
    pairs = [world.scaling() for world in job.worlds.values()]
    scaling = Scaling.of(pairs, networks.parameters)
    return PPOLoop(batches, networks, scaling, settings, job.timesteps, seeds)
