# SPDX-License-Identifier: Apache-2.0
"""Token-level PPO: its parts against plain formulas, its updates, what it learns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mtquant.core.errors import CheckpointError, ConfigError
from mtquant.llm.config import KlConfig, LoraSettings, PpoConfig
from mtquant.llm.job import numpy_of, tensor_of
from mtquant.llm.models import load_model, with_adapters
from mtquant.llm.ppo import PpoTrainer, swapped
from mtquant.llm.ppo_parts import Leash, beyond_others, score, token_advantages, token_rewards
from tests.support.nano import CPU, PLAIN, toy_job

pytestmark = pytest.mark.llm

LORA = LoraSettings(r=8, alpha=32, dropout=0.05)
FAST = PpoConfig(
    num_rollouts=4,
    rollout_batch_size=16,
    answers_per_prompt=4,
    ppo_epochs=1,
    minibatches=2,
    micro_batch_size=8,
    entropy_coef=0.01,
    gamma=1.0,
    learning_rate=3e-3,
    value_learning_rate=3e-3,
    save_rollouts=2,
)


@pytest.fixture
def trainer(toy_folder, tmp_path):
    return PpoTrainer(toy_job(toy_folder, tmp_path), FAST)


def round_of(trainer, rewards=None):
    """The completions and the batch of a first round."""
    rows = trainer._rows(0)
    completions = trainer._answers(rows, 0)
    rewards = np.linspace(0.0, 1.0, len(rows)) if rewards is None else rewards
    return trainer._batch(completions, rewards, trainer._log_ratio(completions))


@given(answers=st.integers(2, 6), groups=st.integers(1, 5), seed=st.integers(0, 99))
def test_luck_that_all_answers_to_a_prompt_share_cancels(answers, groups, seed):
    generator = np.random.default_rng(seed)
    rewards = generator.normal(size=answers * groups)
    luck = np.repeat(generator.normal(size=groups), answers)
    found = beyond_others(rewards + luck, answers)
    np.testing.assert_allclose(found, beyond_others(rewards, answers), atol=1e-12)
    first = rewards[0] - rewards[1:answers].mean()
    assert found[0] == pytest.approx(first, abs=1e-12)


def test_advantages_of_tokens_by_hand():
    real = np.array([[True, True, True], [True, False, False]])
    earned = token_rewards(np.array([1.0, 2.0]), real, np.full((2, 3), 0.5), 0.1)
    np.testing.assert_allclose(earned, [[-0.05, -0.05, 0.95], [1.95, 0.0, 0.0]])
    values = np.array([[0.2, 0.4, 0.5], [1.0, 9.0, 9.0]])
    found, returns = token_advantages(earned, values, real, gamma=0.9, lam=0.8)
    last = 0.95 - 0.5
    middle = -0.05 + 0.9 * 0.5 - 0.4 + 0.9 * 0.8 * last
    first = -0.05 + 0.9 * 0.4 - 0.2 + 0.9 * 0.8 * middle
    np.testing.assert_allclose(found, [[first, middle, last], [0.95, 0.0, 0.0]])
    np.testing.assert_allclose(returns[real], (found + values)[real])


def test_the_reference_is_the_start_and_the_first_ratio_is_1(trainer):
    batch, divergence = round_of(trainer)
    assert divergence == pytest.approx(0.0, abs=1e-4)
    with torch.no_grad():
        said = score(trainer.model.eval(), batch.completions, 1.0).log_probs
    real = batch.completions.real
    ratio = torch.exp(said - batch.completions.log_probs)[real]
    torch.testing.assert_close(ratio, torch.ones_like(ratio), atol=1e-5, rtol=0.0)


def test_answers_are_learnt_from_as_they_were_drawn(toy_folder, tmp_path):
    """Dropout of the adapters is off: else the first ratio would be noise."""
    job = toy_job(toy_folder, tmp_path, LORA.model_copy(update={"dropout": 0.5}))
    trainer = PpoTrainer(job, FAST)
    torch.manual_seed(0)
    for parameter in trainer.policy.values():  # adapters that do something
        parameter.data.normal_(0.0, 0.1)
    completions = trainer._answers(trainer._rows(0), 0)
    trainer.model.train()
    with torch.no_grad():
        again = score(trainer.model, completions, job.temperature).log_probs
    real = completions.real
    torch.testing.assert_close(again[real], completions.log_probs[real], rtol=0.0, atol=1e-4)


def test_a_step_s_loss_is_the_plain_formula(trainer):
    batch, _ = round_of(trainer)
    figures = trainer.accumulate(batch)
    completions, real = batch.completions, batch.completions.real
    with torch.no_grad():
        said = score(trainer.model, completions, 1.0)
        values = trainer.head(said.hidden)
    gained = batch.advantages[real]
    level = (gained - gained.mean()) / (gained.std() + 1e-8)
    ratio = torch.exp(said.log_probs - completions.log_probs)[real]
    clipped = ratio.clamp(0.8, 1.2)
    policy = -torch.min(ratio * level, clipped * level).mean()
    near = completions.values + (values - completions.values).clamp(-0.2, 0.2)
    worse = torch.maximum((values - batch.returns) ** 2, (near - batch.returns) ** 2)
    k3 = (ratio - 1.0 - torch.log(ratio)).mean()
    expected = [policy, worse[real].mean(), -said.entropy[real].mean(), k3]
    torch.testing.assert_close(figures[:4], torch.stack(expected), atol=1e-5, rtol=1e-4)


def test_micro_batches_give_the_gradient_of_the_whole(toy_folder, tmp_path):
    found = []
    for size in (16, 5):
        config = FAST.model_copy(update={"micro_batch_size": size})
        trainer = PpoTrainer(toy_job(toy_folder, tmp_path / str(size)), config)
        trainer.accumulate(round_of(trainer)[0])
        found.append(torch.cat([p.grad.flatten() for p in trainer._learning()]))
    torch.testing.assert_close(found[0], found[1], atol=1e-6, rtol=1e-4)


def test_the_estimate_of_the_divergence_is_right_on_average(trainer):
    """Against the sum over all tokens, for the first token of an answer."""
    other = {name: p.detach() + 0.05 * torch.randn_like(p) for name, p in trainer.policy.items()}
    trainer._reference = other
    rows = trainer._rows(0)[:1] * 400
    trainer.job = replace(trainer.job, max_new_tokens=1, generation_batch=400)
    completions = trainer._answers(rows, 0)
    estimate = trainer._log_ratio(completions)
    with torch.no_grad():
        one = completions.take(torch.arange(1))
        own = next_token(trainer, one)
        with swapped(trainer.policy, other):
            theirs = next_token(trainer, one)
    exact = float((own.exp() * (own - theirs)).sum())
    error = estimate.std() / np.sqrt(len(rows))
    assert exact > 0.01
    assert estimate.mean() == pytest.approx(exact, abs=4.0 * error)


def next_token(trainer, completions):
    output = trainer.model(
        input_ids=completions.prompt, attention_mask=completions.prompt_real, logits_to_keep=1
    )
    return torch.log_softmax(output.logits[0, -1], 0)


def test_the_leash_is_steered_to_its_target():
    leash = Leash(KlConfig(coefficient=0.1, target=2.0, gain=0.5))
    leash.follow(8.0)  # far beyond: the error is cut at a fifth
    assert leash.coefficient == pytest.approx(0.1 * (1.0 + 0.5 * 0.2))
    leash.follow(1.9)
    assert leash.coefficient == pytest.approx(0.11 * (1.0 - 0.5 * 0.05))
    still = Leash(KlConfig(coefficient=0.1, target=None))
    still.follow(9.0)
    assert still.coefficient == 0.1


@pytest.mark.parametrize("lora", [LoraSettings(enabled=False), LORA], ids=["full", "lora"])
def test_it_learns_what_is_paid(toy_folder, tmp_path, lora):
    rate = 3e-2 if lora.enabled else 1e-2
    config = FAST.model_copy(
        update={"num_rollouts": 12, "learning_rate": rate, "kl": KlConfig(coefficient=0.0)}
    )
    job = toy_job(toy_folder, tmp_path, lora)
    frozen = {n: p.clone() for n, p in job.model.named_parameters() if not p.requires_grad}
    trained = PpoTrainer(job, config).train()
    assert np.mean(trained.rewards[-3:]) > np.mean(trained.rewards[:3]) + 0.15
    assert all(torch.equal(p, dict(job.model.named_parameters())[n]) for n, p in frozen.items())
    assert trained.updates == 12 and len(list((tmp_path / "logs").iterdir())) == 1


def test_2_and_resume_and_2_is_4(toy_folder, tmp_path):
    whole = toy_job(toy_folder, tmp_path / "whole", LORA)
    together = PpoTrainer(whole, FAST).train()
    half = toy_job(toy_folder, tmp_path / "half", LORA)
    first = PpoTrainer(half, FAST)
    first.step(), first.step()
    first.save()
    again = toy_job(toy_folder, tmp_path / "half", LORA, resume=True)
    resumed = PpoTrainer(again, FAST).train()
    assert (resumed.rewards, resumed.losses) == (together.rewards, together.losses)
    ours, theirs = (dict(job.model.named_parameters()) for job in (again, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_adapters_on_bfloat16_weights_resume_to_the_byte(toy_folder, tmp_path):
    def job(name, **changes):
        torch.manual_seed(2)
        config = PLAIN.model_copy(update={"bf16": True})
        model = with_adapters(load_model(toy_folder, config, CPU), LORA)
        return toy_job(toy_folder, tmp_path / name, model=model, **changes)

    whole = job("whole")
    together = PpoTrainer(whole, FAST).train()
    first = PpoTrainer(job("half"), FAST)
    first.step(), first.step()
    first.save()
    again = job("half", resume=True)
    trainer = PpoTrainer(again, FAST)
    assert trainer.train().rewards == together.rewards
    ours, theirs = (dict(one.model.named_parameters()) for one in (again, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert {p.dtype for n, p in ours.items() if "lora" in n} == {torch.float32}
    assert {p.dtype for n, p in ours.items() if "lora" not in n} == {torch.bfloat16}


@pytest.mark.parametrize("format_", [torch.float32, torch.bfloat16, torch.int64])
def test_a_tensor_comes_back_in_its_own_number_format(format_):
    tensor = torch.tensor([1.5, -2.0, 3.25]).to(format_)
    back = tensor_of(numpy_of(tensor))
    assert back.dtype == format_ and torch.equal(back, tensor)


def test_another_run_is_not_resumed(toy_folder, tmp_path):
    trainer = PpoTrainer(toy_job(toy_folder, tmp_path), FAST)
    trainer.step()
    trainer.save()
    other = FAST.model_copy(update={"learning_rate": 1e-4})
    with pytest.raises(CheckpointError, match=r"^learning_rate must be 0.003 .* found 0.0001"):
        PpoTrainer(toy_job(toy_folder, tmp_path, resume=True), other).train()
    empty = toy_job(toy_folder, tmp_path / "empty", resume=True)
    with pytest.raises(CheckpointError, match="must hold a checkpoint"):
        PpoTrainer(empty, FAST).train()


def test_what_cannot_train_is_refused(toy_folder, tmp_path):
    with pytest.raises(ConfigError, match="temperature must be above 0"):
        PpoTrainer(toy_job(toy_folder, tmp_path, temperature=0.0), FAST)
    job = toy_job(toy_folder, tmp_path)
    job.model.requires_grad_(False)
    with pytest.raises(ConfigError, match="must have weights that learn"):
        PpoTrainer(job, FAST)
