# SPDX-License-Identifier: Apache-2.0
"""PPO killed by SIGKILL and started again ends where an uninterrupted run ends, to the byte."""

from __future__ import annotations

import pytest

from tests.support.kills import Faults, Program

pytestmark = pytest.mark.llm

CODE = """
import hashlib, sys
from pathlib import Path

import torch

torch.set_num_threads(1)
from mtquant.llm.config import LoraSettings, PpoConfig
from mtquant.llm.ppo import CHECKPOINTS, PpoTrainer, numpy_of
from tests.support.nano import toy_job

source, folder = Path(sys.argv[1]), Path(sys.argv[2])
resume = bool(list((folder / CHECKPOINTS).glob("step_*")))
job = toy_job(source, folder, LoraSettings(r=4, alpha=8, dropout=0.05), resume=resume)
config = PpoConfig(
    num_rollouts=6, rollout_batch_size=8, micro_batch_size=8, learning_rate=1e-2, save_rollouts=1
)
trained = PpoTrainer(job, config).train()
digest = hashlib.sha256()
for name, p in sorted(job.model.named_parameters()):
    digest.update(numpy_of(p).tobytes())
print(resume, digest.hexdigest(), trained.rewards)
"""


def test_killed_and_resumed_equals_uninterrupted(toy_folder, tmp_path):
    def run(name, faults=None):
        arguments = ("-c", CODE, str(toy_folder), str(tmp_path / name))
        return Program(arguments, tmp_path).run(faults)

    whole = run("whole")
    assert whole.code == 0, whole.stderr
    killed = run("killed", Faults("kill", "/checkpoints/", at=20))
    assert killed.killed and killed.stdout == ""
    resumed = run("killed")
    assert resumed.code == 0, resumed.stderr
    assert resumed.stdout.split(" ", 1)[0] == "True"
    assert resumed.stdout.split(" ", 1)[1] == whole.stdout.split(" ", 1)[1]
