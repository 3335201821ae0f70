# SPDX-License-Identifier: Apache-2.0
"""What the two benchmarks of language models share: the demo's task and its supervised start."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TOKENIZERS_PARALLELISM="false")

import torch

from mtquant.llm.config import LlmConfig, load_llm_config, shipped_config
from mtquant.llm.stages import LlmRun

CPU = torch.device("cpu")


def demo_config(*overrides: str) -> LlmConfig:
    """The demo's settings on one thread."""
    settings = ["run.torch_threads=1", "run.device=cpu", *overrides]
    return load_llm_config(shipped_config("llm_demo.yaml"), settings)


@contextmanager
def supervised_start(config: LlmConfig, kept: Path | None = None) -> Iterator[LlmRun]:
    """A run that has its references behind it; kept in a folder, or gone afterwards."""
    with tempfile.TemporaryDirectory() as aside:
        folder = kept or Path(aside)
        run = LlmRun(config, folder, folder / "logs")
        began = time.process_time()
        if run.done("sft") is None:
            run.sft()
            print(f"references: {time.process_time() - began:.0f} s of processor time")
        yield run
