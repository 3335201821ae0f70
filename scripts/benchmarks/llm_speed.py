# SPDX-License-Identifier: Apache-2.0
"""Completions per second of our PPO beside TRL's GRPO, generation with and without kept keys.

    python scripts/benchmarks/llm_speed.py [--quick] [--seed 0]

Both trainers learn on one core from the same model, prompts and reward, with the same number of
answers per update and one update per round; figures are per second of processor time. Before
anything is timed, log-probabilities with and without cache are compared.
"""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median

from common import machine, option_parser, pin_to_one_core, print_result  # isort: skip

import numpy as np
import torch
from llm_common import CPU, demo_config, supervised_start

from mtquant.llm.config import GrpoConfig, KlConfig
from mtquant.llm.encoding import encode_prompts
from mtquant.llm.generation import complete
from mtquant.llm.grpo import optimise
from mtquant.llm.job import Job
from mtquant.llm.models import load_model
from mtquant.llm.ppo import PpoTrainer
from mtquant.llm.ppo_parts import score
from mtquant.llm.stages import LlmRun
from mtquant.llm.tokenizer import load_tokenizer

ANSWERS, PER_PROMPT = 256, 4
LENGTH = 48


def make_job(run: LlmRun, folder: Path, seed: int) -> Job:
    """A fresh copy of the supervised model, to be trained in stage I."""
    source = run.folder / "sft"
    return Job(
        name="stage1",
        model=load_model(source, run.config.model, CPU),
        tokenizer=load_tokenizer(source),
        examples=run.task.examples("train", balanced=True),
        reward=run.task.reward("stage1"),
        folder=folder,
        log_dir=folder / "logs",
        seed=seed,
        max_new_tokens=LENGTH,
        generation_batch=ANSWERS,
    )


def ppo_speed(run: LlmRun, rounds: int, seed: int, leash: float) -> tuple[float, dict[str, float]]:
    """Answers per second of processor time over all rounds but the first; and shares of a round."""
    config = run.config.ppo.model_copy(
        update={
            "rollout_batch_size": ANSWERS,
            "answers_per_prompt": PER_PROMPT,
            "minibatches": 1,
            "micro_batch_size": ANSWERS,
            "num_rollouts": rounds + 1,
            "kl": KlConfig(coefficient=leash, target=None),
        }
    )
    trainer = PpoTrainer(make_job(run, run.folder / "speed_ppo", seed), config)
    trainer.step()
    times, shares = [], []
    for _ in range(rounds):
        began = time.process_time()
        shares.append(trainer.step()["time/generation_share"])
        times.append(time.process_time() - began)
    return ANSWERS / median(times), {"generation": median(shares), "rest": 1.0 - median(shares)}


def grpo_speed(run: LlmRun, rounds: int, seed: int) -> float:
    """The same of TRL's GRPO, timed from update to update."""
    marks: list[float] = []
    config = GrpoConfig(
        max_steps=rounds + 1,
        batch_size=ANSWERS,
        num_generations=PER_PROMPT,
        micro_batch_size=ANSWERS,
        learning_rate=1e-3,
        save_steps=10_000,
    )
    job = make_job(run, run.folder / "speed_grpo", seed)
    object.__setattr__(job, "progress", lambda *_: marks.append(time.process_time()))
    optimise(job, config)
    return ANSWERS / median(np.diff(marks))


def generation_speed(run: LlmRun, seed: int) -> tuple[float, float, float]:
    """Tokens per second with kept keys and values, and without; and the largest difference of a
    log-probability between the two ways.
    """
    job = make_job(run, run.folder, seed)
    model, tokenizer = job.model.eval(), job.tokenizer
    prompts = encode_prompts(tokenizer, job.examples.prompts[:64])
    generator = torch.Generator().manual_seed(seed)
    began = time.process_time()
    found = complete(
        model,
        tokenizer,
        prompts,
        temperature=1.0,
        generator=generator,
        max_new_tokens=LENGTH,
    )
    kept = int(found.real.sum()) / (time.process_time() - began)
    with torch.no_grad():
        alone = score(model, found, 1.0).log_probs * found.real
    difference = float((alone - found.log_probs).abs().max())
    tokens, real = found.prompt, found.prompt_real
    began, length = time.process_time(), 8
    with torch.inference_mode():
        for _ in range(length):
            logits = model(tokens, attention_mask=real, use_cache=False, logits_to_keep=1).logits
            tokens = torch.cat([tokens, logits[:, -1].argmax(1, keepdim=True)], dim=1)
            real = torch.cat([real, real.new_ones(len(real), 1)], dim=1)
    plain = 64 * length / (time.process_time() - began)
    return kept, plain, difference


def main() -> None:
    parser = option_parser(__doc__ or "")
    parser.add_argument("--start", type=Path, help="folder of a run with references, kept")
    flags = parser.parse_args()
    print(machine(pin_to_one_core()))
    rounds = 3 if flags.quick else 15
    steps = 20 if flags.quick else 400
    with supervised_start(demo_config(f"sft.max_steps={steps}"), flags.start) as run:
        kept, plain, difference = generation_speed(run, flags.seed)
        if difference > 1e-4:
            raise SystemExit(f"log-probabilities with and without cache differ by {difference}")
        print(f"generation: {kept:,.0f} tokens/s with cache, {plain:,.0f} without")
        grpo = grpo_speed(run, rounds, flags.seed)
        bare, _ = ppo_speed(run, rounds, flags.seed, 0.0)
        ours, shares = ppo_speed(run, rounds, flags.seed, 0.01)
    print(f"TRL GRPO            {grpo:6.1f} answers/s of processor time")
    print(f"our PPO             {ours:6.1f}, with the reference scored too")
    print(f"our PPO, no leash   {bare:6.1f}, as GRPO has none")
    print(f"share of a round    generation {shares['generation']:.2f}, rest {shares['rest']:.2f}")
    print_result(
        {
            "vs_trl": round(ours / grpo, 3),
            "vs_trl_no_leash": round(bare / grpo, 3),
            "tokens_per_s": round(kept),
            "tokens_per_s_no_cache": round(plain),
            "generation_share": round(shares["generation"], 3),
        }
    )


if __name__ == "__main__":
    main()
