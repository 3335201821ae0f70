# SPDX-License-Identifier: Apache-2.0
"""GRPO, PPO and DPO from the same supervised start, in equal processor time.

    python scripts/benchmarks/llm_learning.py [--quick] [--seeds 3] [--seconds 60] [--start FOLDER]

The demo's task on one core. Each trainer first shows, in a short run and a longer one, what an
update takes and what a run takes without any, and then gets as many updates as fit into its time,
so that its rate falls to 0 at the end of it. Sampled answers to the same test prompts before and
after, beside the best possible accuracy.
"""

from __future__ import annotations

import time
from pathlib import Path

from common import machine, option_parser, pin_to_one_core, print_result  # isort: skip

import numpy as np
from llm_common import demo_config, supervised_start

# Imported here and not when the first run is timed.
import mtquant.llm.dpo
import mtquant.llm.grpo
import mtquant.llm.ppo  # noqa: F401
from mtquant.llm.judging import stage_answers, test_figures
from mtquant.llm.pipeline import line
from mtquant.llm.stages import LlmRun

UPDATES = {"grpo": "grpo.max_steps", "ppo": "ppo.num_rollouts", "dpo": "dpo.rounds"}
TRIED = {"grpo": (1, 4), "ppo": (1, 4), "dpo": (1, 2)}
TRUTH = "chance_correlation"


def trained(start: LlmRun, algorithm: str, updates: int, seed: int) -> tuple[LlmRun, float]:
    """A stage I of so many updates from the references of a run, and its processor time."""
    tested = f"stages.test_examples={start.config.stages.test_examples}"
    config = demo_config(f"run.seed={seed}", f"{UPDATES[algorithm]}={updates}", tested)
    run = LlmRun(config, start.folder, start.folder / "logs")
    began = time.process_time()
    run.stage("stage1", algorithm)
    return run, time.process_time() - began


def updates_in(start: LlmRun, algorithm: str, seconds: float, seed: int) -> int:
    """How many updates fit into so much processor time, with what a run takes beside them."""
    few, more = TRIED[algorithm]
    short, longer = (trained(start, algorithm, count, seed)[1] for count in (few, more))
    each = (longer - short) / (more - few)
    return max(1, round((seconds - short) / each) + few)


def gains(start: LlmRun, algorithm: str, updates: int, seed: int) -> dict[str, float]:
    """Test figures after so many updates, and the time they took."""
    run, took = trained(start, algorithm, updates, seed)
    texts = stage_answers(run, "stage1")
    figures = test_figures(run, texts) | {"updates": updates, "seconds": took}
    print(line(f"{algorithm}, seed {seed}, {updates} updates in {took:.0f} s", figures))
    print(f"  stated chance of a rise with the true one: {figures[TRUTH]:.3f}", flush=True)
    return figures


def main() -> None:
    parser = option_parser(__doc__ or "")
    parser.add_argument("--seeds", type=int, default=3, help="1 with --quick")
    parser.add_argument("--seconds", type=float, help="per trainer; 60, or 30 with --quick")
    parser.add_argument("--start", type=Path, help="folder of a run with references, kept")
    flags = parser.parse_args()
    print(machine(pin_to_one_core()))
    seeds = [flags.seed] if flags.quick else list(range(flags.seed, flags.seed + flags.seeds))
    seconds = flags.seconds or (30.0 if flags.quick else 60.0)
    tested = 1024 if flags.quick else 4096
    with supervised_start(demo_config(f"stages.test_examples={tested}"), flags.start) as start:
        before = test_figures(start, stage_answers(start, "sft"))
        print(line("references", before), flush=True)
        found = {
            algorithm: [gains(start, algorithm, updates, seed) for seed in seeds]
            for algorithm in UPDATES
            for updates in [updates_in(start, algorithm, seconds, seeds[0])]
        }
    mean = {
        algorithm: {name: float(np.mean([one[name] for one in rows])) for name in rows[0]}
        for algorithm, rows in found.items()
    }
    reward = "stage1_reward"
    result = {f"{name}_reward_gain": own[reward] - before[reward] for name, own in mean.items()}
    result |= {f"{name}_accuracy": own["accuracy"] for name, own in mean.items()}
    result |= {f"{name}_ece": own["ece"] for name, own in mean.items()}
    result |= {f"{name}_{TRUTH}": own[TRUTH] for name, own in mean.items()}
    result |= {f"{name}_seconds": own["seconds"] for name, own in mean.items()}
    result |= {"bayes_accuracy": before["bayes_accuracy"], "ece": mean["ppo"]["ece"]}
    result |= {f"{name}_before": before[name] for name in ("accuracy", "ece", TRUTH)}
    print_result({name: round(value, 4) for name, value in result.items()} | {"seeds": len(seeds)})


if __name__ == "__main__":
    main()
