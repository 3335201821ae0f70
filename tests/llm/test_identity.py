# SPDX-License-Identifier: Apache-2.0
"""What a stage was trained on and with: every part of it counts, places and pieces do not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mtquant.core.errors import CheckpointError
from mtquant.llm.config import LlmConfig, load_llm_config
from mtquant.llm.identity import examples_digest, require_same, stage_identity, weights_digest
from tests.support.nano import toy_examples


def identity(toy_folder, *overrides, name="stage2", algorithm="ppo", examples=None):
    config = load_llm_config(None, list(overrides)) if overrides else LlmConfig()
    return stage_identity(config, name, algorithm, examples or toy_examples(), str(toy_folder))


@pytest.mark.parametrize(
    ("override", "stages"),
    [
        ("ppo.learning_rate=1", {"stage1", "stage2"}),
        ("ppo.kl.target=1", {"stage1", "stage2"}),
        ("sft.weight_decay=1", {"sft"}),
        ("stages.stage2_rate=0.9", {"stage2"}),
        ("generation.temperature=0.7", {"stage1", "stage2"}),
        ("task.reward.skew_weight=0.9", {"sft", "stage1", "stage2"}),
        ("lora.r=2", {"sft", "stage1", "stage2"}),
        ("run.seed=1", {"sft", "stage1", "stage2"}),
        ("grpo.beta=1", set()),  # another trainer's
        ("ppo.micro_batch_size=1", set()),  # the same work in smaller pieces
        ("gate.bayes_gap=0.5", set()),
        ("task.stocks.prices=elsewhere.parquet", set()),  # what it holds counts
    ],
)
def test_the_keys_of_a_stage_are_those_that_determine_it(toy_folder, override, stages):
    for name, algorithm in (("sft", "sft"), ("stage1", "ppo"), ("stage2", "ppo")):
        plain = identity(toy_folder, name=name, algorithm=algorithm)
        other = identity(toy_folder, override, name=name, algorithm=algorithm)
        key = override.partition("=")[0]
        differing = {k for k in plain | other if plain.get(k) != other.get(k)}
        assert differing == ({key} if name in stages else set()), name


def test_passes_may_be_cut_up_and_not_updates(toy_folder):
    def own(*overrides):
        return identity(toy_folder, *overrides, name="sft", algorithm="sft")

    assert own("sft.batch_size=1", "sft.gradient_accumulation_steps=16") == own()
    assert own("sft.batch_size=1") != own()


def test_every_column_and_every_text_counts():
    examples = toy_examples()
    first = examples_digest(examples)
    assert first == examples_digest(toy_examples())
    names = np.array(["a"] * len(examples), dtype=object)
    others = [
        replace(examples, prompts=("other", *examples.prompts[1:])),
        replace(examples, answers=("other", *examples.answers[1:])),
        replace(examples, columns={**examples.columns, "label": 1 - examples.columns["label"]}),
        replace(examples, columns={**examples.columns, "home": names}),
    ]
    assert len({first, *map(examples_digest, others)}) == 5


def test_the_weights_of_a_base_model_count_through_its_adapters(tmp_path):
    base, adapters = tmp_path / "base", tmp_path / "sft"
    base.mkdir(), adapters.mkdir()
    (base / "model.safetensors").write_bytes(b"one")
    (adapters / "adapter_model.safetensors").write_bytes(b"a")
    (adapters / "adapter_config.json").write_text("{}")
    first = weights_digest(str(adapters))
    (base / "model.safetensors").write_bytes(b"two")
    second = weights_digest(str(adapters))
    (adapters / "adapter_model.safetensors").write_bytes(b"b")
    assert len({first, second, weights_digest(str(adapters))}) == 3


def test_the_differing_key_is_named_with_both_values(tmp_path):
    require_same(tmp_path, {"a": [1, 2]}, {"a": [1, 2]})
    with pytest.raises(CheckpointError, match=r"^b must be 3 to go on .* found 2.*without --res"):
        require_same(tmp_path, {"a": 1, "b": 2}, {"a": 1, "b": 3})
    with pytest.raises(CheckpointError, match=r"^c must be 'nothing' to go on"):
        require_same(tmp_path, {"a": 1, "c": 2}, {"a": 1})
