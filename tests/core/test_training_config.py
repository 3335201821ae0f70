# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtquant.core.errors import ConfigError
from mtquant.core.training_config import TrainingConfig


def test_presets():
    # "Training Configuration" of the training specification (document 003).
    assert TrainingConfig().effective().batch_size == 256
    settings = TrainingConfig(preset="recommended").effective()
    # STACK, part A: what learnt on the planted markets; 64 accounts x 256 bars is one rollout.
    assert (settings.batch_size, settings.n_epochs, settings.gamma) == (2048, 4, 0.9)
    assert settings.surprise == 0.0 and TrainingConfig().effective().surprise == 1.0
    assert (settings.learning_rate, settings.learning_rate_decay) == (1e-3, "linear")
    assert settings.rollout_steps == 64 * 256
    # What the preset does not name stays.
    assert settings.clip_range == 0.2


def test_the_meta_controller_has_numbers_of_its_own():
    training = TrainingConfig(preset="recommended")
    first, second = training.effective(1), training.effective(2)
    assert (second.n_steps, second.batch_size, second.gamma) == (32, 2048, 0.8)
    assert (first.cost_start, first.cost_ramp) == (1.0, 1.0)
    assert (second.cost_start, second.cost_ramp) == (0.0, 0.5)
    # Eight times the updates on as many bars.
    assert 8 * second.rollout_steps == first.rollout_steps
    # It does not forecast, so there is nothing to leave out.
    assert (first.surprise, second.surprise) == (0.0, 1.0)
    own = {"n_steps", "gamma", "surprise", "cost_start", "cost_ramp"}
    assert second.model_dump(exclude=own) == first.model_dump(exclude=own)
    assert training.effective(3) == first
    # The spec's numbers stay what they are in every phase.
    assert TrainingConfig().effective(2) == TrainingConfig().effective(1)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 2000))
def test_batches_of_phase_2_fill_its_rollout(n_envs, n_steps, batch_size):
    own = {"n_envs": n_envs, "n_steps": batch_size, "batch_size": batch_size}
    training = TrainingConfig(
        preset="recommended", recommended={**own, "phase_2": {"n_steps": n_steps}}
    )
    settings = training.effective(2)
    assert settings.rollout_steps == n_envs * n_steps
    assert settings.batch_size <= batch_size and settings.rollout_steps % settings.batch_size == 0


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 2000), st.booleans())
def test_batches_fill_the_rollout(n_envs, n_steps, batch_size, recommended):
    keys = {"n_envs": n_envs, "n_steps": n_steps, "batch_size": batch_size}
    values = {"recommended": keys} if recommended else keys
    if n_envs * n_steps % batch_size == 0:
        TrainingConfig(**values)
        return
    with pytest.raises(ConfigError) as caught:
        TrainingConfig(**values)
    section = "training.recommended" if recommended else "training"
    assert caught.value.field == f"{section}.batch_size"
    fitting = int(caught.value.remedy.split()[3].rstrip(","))
    assert fitting <= batch_size and n_envs * n_steps % fitting == 0


def test_another_engine_charges_what_there_is():
    with pytest.raises(ConfigError, match="cost_start"):
        TrainingConfig(engine="sb3", cost_start=0.5)
    # Phase 2 is always ours.
    assert TrainingConfig(engine="sb3", preset="recommended").effective(2).cost_start == 0.0


@pytest.mark.parametrize(
    ("named", "share"),
    [
        ({}, 0.0),
        ({"forecast_coef": 0.0}, 1.0),
        ({"engine": "sb3"}, 0.0),
        ({"engine": "sb3", "algorithm": "trpo"}, 1.0),
    ],
)
def test_who_does_not_learn_to_forecast_is_paid_in_full(named, share):
    assert TrainingConfig(preset="recommended", **named).effective(1).surprise == share
