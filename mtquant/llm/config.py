# SPDX-License-Identifier: Apache-2.0
"""Settings of language-model training: one schema for every trainer and stage.

    config = load_llm_config(Path("config/llm.yaml"), ["ppo.learning_rate=2e-5"])

The defaults are those of the documents that describe the systems (a pretrained model with LoRA on a
GPU); ``config/llm_demo.yaml`` holds what learns within minutes on a processor.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from mtquant.core.checked import Section, apply_override, read_yaml, validated
from mtquant.llm.tasks.config import TaskConfig

NANO = "mtquant-nano"
Fraction = Annotated[float, Field(gt=0.0, le=1.0)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Algorithm = Literal["grpo", "ppo", "dpo"]


class ModelConfig(Section):
    """Which model is trained.

    Attributes:
        source: A Hub id, a folder, or ``mtquant-nano``, a model made from nothing.
        size: Of ``mtquant-nano``: tiny learns in a minute, base in hours on a processor.
        vocabulary: Of ``mtquant-nano``: the most tokens its tokenizer may have.
        domain_patterns: Of ``mtquant-nano``: regular expressions; words of the corpus that match
            one whole become tokens of their own, as do the task's domain words.
        quantization: 4bit is NF4 with double quantisation (Dettmers et al. 2023, "QLoRA"), 8bit is
            LLM.int8; both freeze the model, so they need lora.enabled.
        bf16: Keep the frozen weights in bfloat16; adapters learn in float32 on top. Weights that
            learn themselves stay in float32: bfloat16 has 8 bits, and steps below 1/256 of a weight
            would be lost.
        gradient_checkpointing: Compute activations twice instead of keeping them.
    """

    source: str = Field(default="Qwen/Qwen2.5-0.5B", min_length=1)
    size: Literal["tiny", "small", "base"] = "tiny"
    vocabulary: Annotated[int, Field(ge=300)] = 768
    domain_patterns: tuple[str, ...] = ()
    quantization: Literal["none", "8bit", "4bit"] = "none"
    bf16: bool = False
    gradient_checkpointing: bool = False


class LoraSettings(Section):
    """Low-rank adapters (Hu et al. 2021, "LoRA"); the values are spec 001's.

    Attributes:
        enabled: Train adapters in place of all weights.
        r: Rank.
        alpha: Scale; the adapter is multiplied by alpha / r.
        dropout: Of the adapter's input.
        target_modules: Names of the layers that get one.
    """

    enabled: bool = True
    r: PositiveInt = 64
    alpha: PositiveInt = 128
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.05
    target_modules: tuple[str, ...] = (
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
    )


class GenerationConfig(Section):
    """How answers are drawn.

    Attributes:
        temperature: 1 is the model's own distribution; 0 the likeliest token.
        max_new_tokens: After which an answer is cut off.
        batch_size: Prompts at a time.
    """

    temperature: NonNegativeFloat = 1.0
    max_new_tokens: PositiveInt = 64
    batch_size: PositiveInt = 64


class SftConfig(Section):
    """Supervised fine-tuning; the values are spec 001's.

    Attributes:
        num_epochs: Passes over the examples; `max_steps` ends earlier or later.
        max_steps: Updates; null: as many as the epochs have.
        batch_size: Examples per pass through the model.
        gradient_accumulation_steps: Passes per update.
        learning_rate: At its highest.
        warmup_steps: Updates until there.
        scheduler_type: cosine falls to min_lr_ratio; wsd stays and falls over the last fifth;
            constant stays.
        min_lr_ratio: Of cosine: the last rate over the highest.
        weight_decay: AdamW's.
        max_grad_norm: Longer gradients are cut.
        save_steps: Updates between checkpoints.
    """

    num_epochs: PositiveFloat = 3.0
    max_steps: PositiveInt | None = None
    batch_size: PositiveInt = 2
    gradient_accumulation_steps: PositiveInt = 8
    learning_rate: PositiveFloat = 2e-5
    warmup_steps: NonNegativeInt = 100
    scheduler_type: Literal["cosine", "wsd", "constant"] = "cosine"
    min_lr_ratio: Share = 0.1
    weight_decay: NonNegativeFloat = 0.01
    max_grad_norm: PositiveFloat = 1.0
    save_steps: PositiveInt = 1000

    @property
    def examples_per_update(self) -> int:
        """Over all passes of an update."""
        return self.batch_size * self.gradient_accumulation_steps


class KlConfig(Section):
    """The leash to the model that a stage began with.

    Attributes:
        coefficient: Price of a nat in the reward at the start; 0: no leash and no reference.
        target: Nats per answer that the coefficient is steered towards (Ziegler et al. 2019,
            "Fine-tuning language models from human preferences", section 2.2); null: it stays.
        gain: Largest relative change of the coefficient per rollout is a fifth of this.
    """

    coefficient: NonNegativeFloat = 0.02
    target: PositiveFloat | None = 6.0
    gain: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5


class PpoConfig(Section):
    """Our token-level PPO; names and values are spec 001's where it has them.

    Attributes:
        num_rollouts: Rounds of answering and learning in a stage.
        rollout_batch_size: Answers per round.
        answers_per_prompt: With more than one, an answer is paid what it earns beyond the others to
            its prompt: what happened was luck for all of them alike.
        ppo_epochs: Passes over a round.
        minibatches: Updates per pass.
        micro_batch_size: Answers per pass through the model; changes memory, not the result.
        clip_range: How far the probability ratio may leave 1.
        value_clip_range: How far a value may move from what it was; null: any distance.
        vf_coef: Weight of the value loss.
        entropy_coef: Weight of the entropy.
        gae_lambda, gamma: Of generalised advantage estimation, per token.
        learning_rate: Of the policy at the start of a stage.
        learning_rate_decay: linear falls to 0 at the end of the stage.
        value_learning_rate: Of the value head.
        max_grad_norm: Longer gradients are cut.
        kl: The leash.
        save_rollouts: Rounds between checkpoints.
    """

    num_rollouts: PositiveInt = 100
    rollout_batch_size: PositiveInt = 64
    answers_per_prompt: PositiveInt = 4
    ppo_epochs: PositiveInt = 4
    minibatches: PositiveInt = 2
    micro_batch_size: PositiveInt = 16
    clip_range: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.2
    value_clip_range: PositiveFloat | None = 0.2
    vf_coef: NonNegativeFloat = 0.5
    entropy_coef: NonNegativeFloat = 0.01
    gae_lambda: Share = 0.95
    gamma: Fraction = 0.99
    learning_rate: PositiveFloat = 1e-5
    learning_rate_decay: Literal["constant", "linear"] = "constant"
    value_learning_rate: PositiveFloat = 1e-4
    max_grad_norm: PositiveFloat = 1.0
    kl: KlConfig = KlConfig()
    save_rollouts: PositiveInt = 10

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.rollout_batch_size % self.minibatches:
            raise ValueError("rollout_batch_size must be a multiple of minibatches")
        if self.rollout_batch_size % self.answers_per_prompt:
            raise ValueError("rollout_batch_size must be a multiple of answers_per_prompt")
        return self


class GrpoConfig(Section):
    """Group-relative policy optimisation through TRL (Shao et al. 2024, "DeepSeekMath").

    Attributes:
        max_steps: Updates in a stage.
        batch_size: Answers per update.
        num_generations: Answers per prompt.
        micro_batch_size: Answers per pass through the model.
        learning_rate: At the start of a stage.
        loss_type: dr_grpo leaves out the division by length (Liu et al. 2025, "Understanding
            R1-zero-like training").
        scale_rewards: Division by the deviation within a group makes a proper score improper:
            confidence goes to 100 %. So none.
        aggregation: gdpo divides each part of the reward by its deviation within a group, times its
            weight, before adding them up (Liu et al. 2026, "GDPO"). What is said above of groups
            holds for each part then: the confidence that it teaches is not honest.
        beta: Price of a nat from the model that the stage began with.
        max_grad_norm: Longer gradients are cut.
        save_steps: Updates between checkpoints.
    """

    max_steps: PositiveInt = 100
    batch_size: PositiveInt = 64
    num_generations: Annotated[int, Field(ge=2)] = 8
    micro_batch_size: PositiveInt = 16
    learning_rate: PositiveFloat = 1e-5
    loss_type: Literal["dr_grpo", "grpo", "dapo", "bnpo"] = "dr_grpo"
    scale_rewards: Literal["none", "batch", "group"] = "none"
    aggregation: Literal["sum", "gdpo"] = "sum"
    beta: NonNegativeFloat = 0.0
    max_grad_norm: PositiveFloat = 1.0
    save_steps: PositiveInt = 50

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.batch_size % self.num_generations:
            raise ValueError("batch_size must be a multiple of num_generations")
        if self.batch_size % self.micro_batch_size:
            raise ValueError("batch_size must be a multiple of micro_batch_size")
        if self.aggregation == "gdpo" and self.scale_rewards != "none":
            raise ValueError("scale_rewards must be none with aggregation gdpo, which has its own")
        return self


class DpoConfig(Section):
    """Direct preference optimisation through TRL (Rafailov et al. 2023), on pairs the model wrote.

    Attributes:
        max_steps: Updates in a round.
        rounds: Of sampling pairs, learning, and keeping what generates better.
        prompts: Prompts sampled per round.
        num_generations: Answers per prompt, of which best and worst make the pair.
        least_margin: Pairs whose rewards differ by less are left out.
        batch_size: Pairs per update.
        micro_batch_size: Pairs per pass through the model.
        learning_rate: Above 1e-4 generated answers became worse while preferences were learnt.
        beta: Price of leaving the model that a round began with. With adapters it is a copy of
            them; without, a second whole model is held.
        sft_weight: Weight of the likelihood of the chosen answer, which the preference alone lets
            fall.
        max_grad_norm: Longer gradients are cut.
        save_steps: Updates between checkpoints.
    """

    max_steps: PositiveInt = 100
    rounds: PositiveInt = 3
    prompts: PositiveInt = 512
    num_generations: Annotated[int, Field(ge=2)] = 4
    least_margin: NonNegativeFloat = 0.02
    batch_size: PositiveInt = 16
    micro_batch_size: PositiveInt = 16
    learning_rate: PositiveFloat = 5e-6
    beta: PositiveFloat = 0.3
    sft_weight: NonNegativeFloat = 1.0
    max_grad_norm: PositiveFloat = 1.0
    save_steps: PositiveInt = 50

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.batch_size % self.micro_batch_size:
            raise ValueError("batch_size must be a multiple of micro_batch_size")
        return self


class StagesConfig(Section):
    """Stage I on the balanced set, stage II on the natural one.

    Attributes:
        algorithm: Who trains in both.
        stage2_updates: Share of stage I's updates that stage II makes.
        stage2_rate: Share of stage I's learning rate.
        validation_examples: The most that judge a stage; null: all.
        test_examples: The most that the final report uses; null: all.
    """

    algorithm: Algorithm = "grpo"
    stage2_updates: Fraction = 0.5
    stage2_rate: Fraction = 0.3
    validation_examples: PositiveInt | None = 2048
    test_examples: PositiveInt | None = None


class GateConfig(Section):
    """What stage I has to reach before stage II begins: spec 002's conditions, made checkable.

    Attributes:
        reward_above: Mean reward of each of the last `reward_batches` batches. Null: for stocks the
            spec's 0.7; for odds, whose rewards have another scale, their mean must be above what
            the base-rate answer earns on the same set, by more than chance.
        reward_batches: How many in a row; with fewer the gate is not passed.
        accuracy_above: Of sampled answers on the validation set; null leaves the spec's 0.8 out,
            which no honest stock model reaches.
        bayes_gap: Where the best possible accuracy is known, how far below it may be.
        skill_above: Where it is not: the Brier skill score over the base rate, with its interval.
        reasoning_above: Mean of the reasoning parts over the most they can be.
        parse_rate_above: Share of answers that can be read.
        loss_spread: Largest standard deviation of the last `reward_batches` losses, and largest
            rise of their mean, in units of the deviation of those before them.
        confidence: Of the intervals, which resample whole days.
        insist: Refuse stage II where a condition is missing; else go on and say so.
    """

    reward_above: float | None = None
    reward_batches: PositiveInt = 10
    accuracy_above: Share | None = None
    bayes_gap: NonNegativeFloat = 0.03
    skill_above: float = 0.0
    reasoning_above: Share = 0.75
    parse_rate_above: Share = 0.97
    loss_spread: PositiveFloat = 1.5
    confidence: Annotated[float, Field(gt=0.5, lt=1.0)] = 0.95
    insist: bool = True


class DeployConfig(Section):
    """The folder that `mtquant llm predict` serves.

    Attributes:
        quantization: Of the weights in it; none, 8bit or 4bit.
    """

    quantization: Literal["none", "8bit", "4bit"] = "8bit"


class RunSettings(Section):
    """Where and how a run computes.

    Attributes:
        seed: Root of every random draw.
        device: auto, cpu or cuda.
        torch_threads: On a processor; null: torch decides.
        log_completions: Sample answers written to TensorBoard at every checkpoint.
    """

    seed: NonNegativeInt = 7
    device: Literal["auto", "cpu", "cuda"] = "auto"
    torch_threads: PositiveInt | None = None
    log_completions: PositiveInt = 4


class LlmConfig(Section):
    """The whole configuration of language-model training, one section per part."""

    model: ModelConfig = ModelConfig()
    lora: LoraSettings = LoraSettings()
    task: TaskConfig = TaskConfig()
    generation: GenerationConfig = GenerationConfig()
    sft: SftConfig = SftConfig()
    ppo: PpoConfig = PpoConfig()
    grpo: GrpoConfig = GrpoConfig()
    dpo: DpoConfig = DpoConfig()
    stages: StagesConfig = StagesConfig()
    gate: GateConfig = GateConfig()
    deploy: DeployConfig = DeployConfig()
    run: RunSettings = RunSettings()

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.model.quantization != "none" and not self.lora.enabled:
            raise ValueError("lora.enabled must be true for a quantised model: its weights freeze")
        if self.model.bf16 and not self.lora.enabled:
            raise ValueError("lora.enabled must be true with model.bf16: small steps would be lost")
        if self.model.source == NANO and self.model.quantization != "none":
            raise ValueError(f"model.quantization must be none for {NANO}: nothing is learnt yet")
        return self


def load_llm_config(path: Path | None, overrides: Sequence[str] = ()) -> LlmConfig:
    """Reads and checks a configuration.

    Args:
        path: A YAML file with any of the sections, or None for the defaults.
        overrides: ``"section.key=value"`` texts, applied in order over the file.

    Raises:
        ConfigError: The file or an override cannot be read, or holds an unknown key or a value that
            breaks a rule.
    """
    raw = {} if path is None else read_yaml(path)
    # A section whose keys are all commented out reads as null: it means "the defaults".
    values = {key: value for key, value in raw.items() if value is not None}
    for override in overrides:
        apply_override(values, override, LlmConfig())
    return validated(LlmConfig, values)


def shipped_config(name: str) -> Path:
    """A file that ships with mtquant: inside an installed package, else `config/` of the tree."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "_config" / name
    return installed if installed.exists() else package.parent / "config" / name
