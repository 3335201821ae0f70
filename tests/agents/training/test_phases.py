# SPDX-License-Identifier: Apache-2.0
"""Phases 2 and 3 from the results of phase 1: what they keep, refuse and repeat."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mtquant.agents.hierarchy import FILE_NAME, META, load_hierarchy, read_hierarchy
from mtquant.agents.training.joint_rollout import JointCollector
from mtquant.agents.training.phase1_trainer import Phase1Trainer
from mtquant.agents.training.phase2_trainer import Phase2Trainer
from mtquant.agents.training.phase3_joint_training import Phase3JointTrainer
from mtquant.backtest.runner import run_backtest
from mtquant.core import outcome as oc
from mtquant.core.config import Config
from mtquant.core.errors import CheckpointError, RulesError
from mtquant.core.seeding import SeedTree
from mtquant.envs.hierarchy import FORECAST
from mtquant.envs.meta import MetaControllerBatch
from mtquant.envs.pettingzoo import JointTrainingEnv
from tests.support.markets import (
    DOMAIN_SYMBOLS,
    DOMAINS,
    INSTRUMENTS,
    SHARED_OUT,
    SYMBOLS,
    TINY_STEPS,
    drop_bars,
    tiny_config,
    write_market,
)


@dataclass(frozen=True)
class Trained:
    """All three phases of a tiny run."""

    root: Path
    config: Config
    market: Path
    results: dict[int, dict[str, Any]]

    def trainer(self, kind: Any, name: str, **named: Any) -> Any:
        folders = self.root / name, self.root / "logs" / name
        return kind(self.config, *folders, INSTRUMENTS, timesteps=TINY_STEPS, **named)


def train_all(root: Path, market: Path, *overrides: str, symbols: tuple[str, ...]) -> Trained:
    """All phases in a row."""
    found = Trained(root, tiny_config(market, *overrides, symbols=symbols), market, {})
    kinds = (Phase1Trainer, Phase2Trainer, Phase3JointTrainer)
    for phase, kind in enumerate(kinds, start=1):
        found.results[phase] = found.trainer(kind, f"phase{phase}").train()
    return found


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    root = tmp_path_factory.mktemp("phases")
    return train_all(root, write_market(root / "bars"), symbols=SYMBOLS)


@pytest.fixture(scope="module")
def shared_out(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A specialist of two instruments, one of which has holes, and a specialist of one."""
    root = tmp_path_factory.mktemp("domains")
    market = write_market(root / "bars", DOMAIN_SYMBOLS)
    drop_bars(market, DOMAIN_SYMBOLS[0], 0.1)
    return train_all(root, market, SHARED_OUT, symbols=DOMAIN_SYMBOLS)


@pytest.fixture(scope="module", params=["trained", "shared_out"])
def either(request: pytest.FixtureRequest) -> Trained:
    """One specialist per instrument, or unequally many instruments."""
    found: Trained = request.getfixturevalue(request.param)
    return found


@pytest.mark.parametrize("phase", [2, 3])
def test_the_kept_hierarchy_trades_as_it_was_validated(either: Trained, phase: int) -> None:
    """The policy, one bar at a time through the backtest's desk, is what the batch validated."""
    kind = Phase2Trainer if phase == 2 else Phase3JointTrainer
    world = either.trainer(kind, f"again{phase}", **source(either, phase)).world
    policy = load_hierarchy(either.root / f"phase{phase}", world.rules)
    assert policy.manifest.phase == phase
    assert policy.manifest.symbols == either.config.data.instruments
    assert policy.manifest.domains == either.config.domains
    rows = world.rows["validation"]
    ledger = run_backtest(policy, world.tape, world.rules, world.features, rows, world.reward)
    result = either.results[phase]
    turnover = ledger.outcomes[:, oc.TURNOVER].mean()
    assert turnover == pytest.approx(result["validation/turnover"], rel=1e-4)
    assert turnover > 0.0


def source(trained: Trained, phase: int) -> dict[str, Path]:
    name = "specialists_dir" if phase == 2 else "hierarchy_dir"
    return {name: trained.root / f"phase{phase - 1}"}


def test_phase_2_leaves_the_specialists_as_they_are(either: Trained) -> None:
    _, before = read_hierarchy(either.root / "phase2")
    trainer = either.trainer(Phase2Trainer, "fresh", **source(either, 2))
    for k, owner in enumerate(either.config.domains):
        for name, tensor in trainer.crew.stack.weights(k).items():
            assert torch.equal(tensor, before[owner][name])


def test_recommended_phase_2_learns_oftener_and_is_checked_as_often(trained: Trained) -> None:
    training = trained.config.training.model_copy(update={"preset": "recommended"})
    own = replace(trained, config=trained.config.model_copy(update={"training": training}))
    second = own.trainer(Phase2Trainer, "oftener", **source(trained, 2))
    loop = second.build_loop()
    loop.iterate()
    assert loop.steps == 64 * 32
    third = own.trainer(Phase3JointTrainer, "as_ever", **source(trained, 3))
    assert third.settings.rollout_steps == 64 * 256
    # Two updates of phase 3 (`TINY`), sixteen of phase 2.
    assert second.check_every == third.check_every == 2 * 64 * 256


def test_phase_3_moves_everybody(either: Trained) -> None:
    trainer = either.trainer(Phase3JointTrainer, "moved", **source(either, 3))
    crew, meta = trainer.crew.stack.parameters.clone(), trainer.meta.stack.parameters.clone()
    loop = trainer.build_loop()
    loop.iterate()
    assert bool((loop.updater.crew.stack.parameters != crew).any(1).all())
    assert bool((loop.updater.meta.stack.parameters != meta).any())
    crew = loop.updater.crew.stack.parameters.clone()
    loop.iterate()  # off the specialists' beat
    assert torch.equal(loop.updater.crew.stack.parameters, crew)


def test_a_meta_controller_whose_gradient_is_not_finite_goes_back_alone(trained: Trained) -> None:
    trainer = trained.trainer(Phase3JointTrainer, "spoilt", **source(trained, 3))
    loop = trainer.build_loop()
    env, step = loop.collector.env, loop.collector.env.step
    crew, meta = (level.stack.parameters for level in (loop.updater.crew, loop.updater.meta))
    crew_before, meta_before = crew.clone(), meta.clone()

    def spoil(targets: Any) -> Any:
        ended = step(targets)
        env.rewards[0] = np.nan
        return ended

    env.step = spoil  # type: ignore[method-assign]
    metrics, specialists = loop.iterate()
    assert metrics["train/restored"] == 1.0
    assert torch.equal(meta, meta_before)
    assert loop.updater.meta_adam.scales == [0.5]
    assert [own["train/restored"] for own in specialists] == [0.0] * len(crew)
    assert bool((crew != crew_before).any(1).all())


def test_the_meta_loss_reaches_every_specialist(either: Trained) -> None:
    """Also the hidden layers, and of every specialist: through its messages."""
    trainer = either.trainer(Phase3JointTrainer, "reach", **source(either, 3))
    loop = trainer.build_loop()
    loop.iterate()
    gradients = loop.updater._meta_gradients
    first = loop.updater.crew.stack.actor.shape.split(gradients)[0][0]
    assert bool((first.abs().sum((1, 2)) > 0.0).all())


def test_the_gradient_through_messages_is_autograds(either: Trained) -> None:
    """The meta-controller's loss by every specialist's parameters, by finite differences."""
    trainer = either.trainer(Phase3JointTrainer, "finite", **source(either, 3))
    loop = trainer.build_loop()
    updater, rollout = loop.updater, loop.collector.collect(0.99, 0.95)
    crew, meta = updater.crew.stack, updater.meta.stack
    from mtquant.agents.training.joint_loop import JointReport
    from mtquant.learning.losses import ppo_gradients

    order = torch.arange(rollout.noise[0, ..., 0].numel())
    told, lived = next(rollout.minibatches(order, 64, specialists=True))
    assert lived is not None
    report = JointReport(len(crew))

    def observed() -> torch.Tensor:
        spoken = updater._speak(lived)
        seen = told.observations
        return seen.index_copy(2, updater._entries, spoken.entries(seen, updater._entries))

    def loss() -> float:
        said = meta.forward(observed())
        own = ppo_gradients(said.mean, meta.log_std, said.value, told.samples, 0.2, 0.0, 0.5)
        return float(own.figures[0, 0] + 0.5 * own.figures[0, 1])

    # Before any update, what is said again is what was heard.
    torch.testing.assert_close(observed(), told.observations, rtol=0.0, atol=1e-4)
    with torch.no_grad():
        spoken = updater._speak(lived)
        back = updater._meta_loss(observed(), told.samples, report, final=False)
        updater._meta_goal(spoken, back)
        wanted = updater._meta_gradients.clone()
        for k in range(len(crew)):
            direction = wanted[k] / wanted[k].norm()
            step = 1e-3
            crew.parameters[k] += step * direction
            above = loss()
            crew.parameters[k] -= 2.0 * step * direction
            below = loss()
            crew.parameters[k] += step * direction
            slope = (above - below) / (2.0 * step)
            assert slope == pytest.approx(float(wanted[k].norm()), rel=0.05)


def test_the_trainer_is_the_order_of_agents_ledger_for_ledger(either: Trained) -> None:
    """One portfolio by the collector, and the same drawn actions told to `JointTrainingEnv`."""
    trainer = either.trainer(Phase3JointTrainer, "order", **source(either, 3))
    crew, meta, steps = trainer.crew, trainer.meta, 40
    units = np.array([trainer.forecast_units[symbol] for symbol in trainer.bars])
    noise = [np.random.default_rng(k) for k in range(3)]
    seeds, domains = SeedTree(11), either.config.domains
    env = trainer.world.training_env(1, seeds)
    collector = JointCollector(env, domains, crew, meta, steps, noise, units)
    told, decided = [], []
    decide = collector._decide

    def watched(t: int, drawn: Any) -> Any:
        targets = decide(t, drawn)
        told.append(collector.messages[0].copy())
        decided.append(collector.rollout.meta.actions[0, t, 0].clamp(-1.0, 1.0).numpy().copy())
        return targets

    collector._decide = watched  # type: ignore[method-assign]
    rollout = collector.collect(0.99, 0.95)
    twin = JointTrainingEnv(trainer.world.training_env(1, seeds), domains)
    twin.reset()
    for t in range(steps):
        for own in collector.hierarchy.instruments:
            twin.step(told[t][own].ravel())
        np.testing.assert_allclose(
            trainer.meta.scaling.apply(torch.from_numpy(twin.observe("meta_0"))[None, None])[0, 0],
            rollout.meta.observations[0, t, 0],
            rtol=1e-6,
        )
        twin.step(decided[t])
        if twin.terminations["meta_0"] or twin.truncations["meta_0"]:
            break
        paid = [twin.rewards[f"specialist_{k}"] for k in range(2)]
        assert paid == pytest.approx(rollout.own.rewards[:, t, 0].tolist(), rel=1e-5, abs=1e-7)
        assert twin.rewards["meta_0"] == pytest.approx(float(rollout.meta.rewards[0, t, 0]))
    assert t > 20


@pytest.mark.parametrize("kind", ["difference", "portfolio"])
def test_specialists_are_not_paid_for_luck(either: Trained, kind: Any) -> None:
    """A reward leaves out what its own specialist did not foresee, of its own instruments. The
    meta-controller is paid what came.
    """
    trainer = either.trainer(Phase3JointTrainer, f"luck_{kind}", **source(either, 3))
    units = np.array([trainer.forecast_units[symbol] for symbol in trainer.bars])
    rollouts, beyond = [], []
    for surprise in (1.0, 0.0):
        env = trainer.world.training_env(3, SeedTree(11))
        noise = [np.random.default_rng(k) for k in range(3)]
        networks = (trainer.crew, trainer.meta)
        options = (30, noise, units, kind, surprise)
        collector = JointCollector(env, either.config.domains, *networks, *options)
        decide = collector._decide

        def watched(t: int, drawn: Any, own: Any = collector, decide: Any = decide) -> Any:
            targets = decide(t, drawn)
            came = own.env.next_returns(units)
            said = own.messages[:, :, FORECAST]
            gained = own._luck.planned(targets) * (came - said) * units / own.env.reward.scale
            beyond.append(np.nan_to_num(gained))
            return targets

        collector._decide = watched  # type: ignore[method-assign]
        rollouts.append(collector.collect(0.99, 0.95))
    whole, none = rollouts
    alone = np.array(beyond[:30])
    assert np.array_equal(alone, beyond[30:])  # the same lives
    assert np.abs(alone).max() > 0.01
    assert torch.equal(whole.meta.rewards, none.meta.rewards)
    left_out = (whole.own.rewards - none.own.rewards).numpy()
    for k, instruments in enumerate(collector.hierarchy.instruments):
        expected = alone[:, :, instruments].sum(2)
        np.testing.assert_allclose(left_out[k], expected, rtol=1e-3, atol=1e-5)


def test_the_same_seed_is_the_same_hierarchy(either: Trained) -> None:
    for phase, kind in ((2, Phase2Trainer), (3, Phase3JointTrainer)):
        again = either.trainer(kind, f"twice{phase}", **source(either, phase)).train()
        assert again == either.results[phase]
        files = [either.root / name / FILE_NAME for name in (f"phase{phase}", f"twice{phase}")]
        assert files[0].read_bytes() == files[1].read_bytes()


def test_evaluation_lives_different_episodes(either: Trained) -> None:
    trainer = either.trainer(Phase3JointTrainer, "phase3", hierarchy_dir=either.root / "phase2")
    found = trainer.evaluate(8)
    assert found["episodes"] == 8
    assert found["growth_standard_error"] > 0.0


def test_environments_of_the_trainers(either: Trained) -> None:
    phase2 = either.trainer(Phase2Trainer, "envs", **source(either, 2))
    env = phase2.create_portfolio_environment()
    assert env.reset(seed=1)[0].shape == env.observation_space.shape
    phase3 = either.trainer(Phase3JointTrainer, "envs", **source(either, 3))
    joint = phase3.create_joint_training_env()
    joint.reset(seed=1)
    assert joint.agents == ["specialist_0", "specialist_1", "meta_0"]
    assert isinstance(phase2.batch(phase2.crew, 2, SeedTree(0)), MetaControllerBatch)


def test_a_missing_phase_is_named_before_any_work(trained: Trained, tmp_path: Path) -> None:
    folders = tmp_path / "out", tmp_path / "logs"
    with pytest.raises(CheckpointError, match="Train phase 1 first"):
        Phase2Trainer(trained.config, *folders, INSTRUMENTS, specialists_dir=tmp_path / "none")
    with pytest.raises(CheckpointError, match="Train phase 2 first"):
        Phase3JointTrainer(trained.config, *folders, INSTRUMENTS, hierarchy_dir=tmp_path / "none")


def test_an_instrument_that_phase_1_has_not_trained_is_named(
    trained: Trained, tmp_path: Path
) -> None:
    symbols = (*SYMBOLS, "XAUUSD")
    config = tiny_config(write_market(tmp_path / "bars", symbols), symbols=symbols)
    for symbol in SYMBOLS:  # the very bars that phase 1 saw
        shutil.copy(trained.market / f"{symbol}.parquet", tmp_path / "bars")
    folders = tmp_path / "out", tmp_path / "logs"
    with pytest.raises(CheckpointError, match=r"XAUUSD.*Train phase 1 first"):
        Phase2Trainer(config, *folders, INSTRUMENTS, specialists_dir=trained.root / "phase1")
    with pytest.raises(CheckpointError, match=r"instruments of .*must be those of phase 3"):
        Phase3JointTrainer(config, *folders, INSTRUMENTS, hierarchy_dir=trained.root / "phase2")


@pytest.mark.parametrize("kind", [Phase1Trainer, Phase2Trainer, Phase3JointTrainer])
def test_an_unknown_instrument_is_named_before_any_work(
    kind: Any, trained: Trained, tmp_path: Path
) -> None:
    config = tiny_config(trained.market, symbols=("EURUSD", "GBPUSB"))
    folders = tmp_path / "out", tmp_path / "logs"
    with pytest.raises(RulesError, match=r"must be a configured symbol.*Did you mean GBPUSD"):
        kind(config, *folders, INSTRUMENTS)
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


def test_phase_3_says_so_where_it_kept_what_phase_2_has_left(
    trained: Trained, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What it began with scores 1, all that comes later 0."""
    scores = iter([1.0])
    metrics = {f"validation/{name}": 0.0 for name in ("drawdown", "turnover", "win_rate")}
    monkeypatch.setattr(
        Phase3JointTrainer,
        "validate",
        lambda *_: {**metrics, "validation/sharpe": next(scores, 0.0)},
    )
    with caplog.at_level("INFO"):
        found = trained.trainer(Phase3JointTrainer, "kept", **source(trained, 3)).train()
    assert found["best_step"] == 0
    assert found["note"].startswith("kept the weights of phase 2: nothing that phase 3 learnt")
    assert "phase 3 kept the weights of phase 2" in caplog.text
    _, before = read_hierarchy(trained.root / "phase2")
    _, after = read_hierarchy(trained.root / "kept")
    for name, weights in before.items():
        assert all(torch.equal(weights[key], after[name][key]) for key in weights)
    assert "note" not in trained.results[2]


@pytest.mark.parametrize(
    ("override", "what"),
    [
        ("environment.stop_loss_pct=0.05", "rules"),
        ("features.catalog=[log_return_1, zscore_20, volatility_20]", "features"),
    ],
)
def test_another_world_is_refused(
    trained: Trained, tmp_path: Path, override: str, what: str
) -> None:
    config = tiny_config(trained.market, override)
    folders = tmp_path / "out", tmp_path / "logs"
    with pytest.raises(CheckpointError, match=f"{what} of .*must be those of phase 2"):
        Phase2Trainer(config, *folders, INSTRUMENTS, **source(trained, 2))
    with pytest.raises(CheckpointError, match=f"{what} of .*must be those of phase 3"):
        Phase3JointTrainer(config, *folders, INSTRUMENTS, **source(trained, 3))


def test_a_damaged_hierarchy_is_refused(trained: Trained, tmp_path: Path) -> None:
    content = bytearray((trained.root / "phase2" / FILE_NAME).read_bytes())
    content[-1] ^= 1
    (tmp_path / FILE_NAME).write_bytes(content)
    with pytest.raises(CheckpointError, match="must match the manifest's sha256"):
        read_hierarchy(tmp_path)
    (tmp_path / FILE_NAME).write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match="must hold a hierarchy"):
        read_hierarchy(tmp_path)


def test_owners_of_the_weights(either: Trained) -> None:
    manifest, weights = read_hierarchy(either.root / "phase3")
    assert set(weights) == {*either.config.domains, META}
    assert tuple(manifest.forecast_units) == either.config.data.instruments


def test_specialists_of_unequal_networks_are_cut_to_their_own(shared_out: Trained) -> None:
    """2 instruments of 3 features, their age and 5 entries each, or 1; 8 of the account."""
    _, weights = read_hierarchy(shared_out.root / "phase3")
    assert shared_out.config.domains == DOMAINS
    for name, inputs, actions in (("forex", 26, 2), ("metals", 17, 1)):
        own = weights[name]
        assert own["mlp_extractor.policy_net.0.weight"].shape == (8, inputs)
        assert own["mlp_extractor.value_net.0.weight"].shape == (8, inputs)
        assert own["action_net.weight"].shape == (actions, 8)
        assert own["message_net.bias"].shape == (2 * actions,)
        assert own["log_std"].shape == (actions,)
        assert own["features_extractor.scale"].shape == (inputs,)


def test_models_of_other_specialists_are_refused(
    trained: Trained, shared_out: Trained, tmp_path: Path
) -> None:
    """Each of the two folders under the other's configuration, and phase 1's own."""
    folders = tmp_path / "out", tmp_path / "logs"
    alone = tiny_config(shared_out.market, symbols=DOMAIN_SYMBOLS)
    said = r"specialists of .*must be those of the configuration.*\['EURUSD', 'GBPUSD'\].*train"
    with pytest.raises(CheckpointError, match=said):
        Phase2Trainer(alone, *folders, INSTRUMENTS, **source(shared_out, 2))
    with pytest.raises(CheckpointError, match=r"specialists of .*forex \[EURUSD, GBPUSD\]"):
        Phase3JointTrainer(alone, *folders, INSTRUMENTS, **source(shared_out, 3))
    together = tiny_config(trained.market, "training.specialists={forex: [EURUSD, GBPUSD]}")
    said = r"of which forex trades EURUSD, GBPUSD; found \{'EURUSD': \['EURUSD'\]"
    with pytest.raises(CheckpointError, match=said):
        Phase2Trainer(together, *folders, INSTRUMENTS, **source(trained, 2))
