# SPDX-License-Identifier: Apache-2.0
"""What the trainers of all phases begin with: configuration, folders, bars, device."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from mtquant.core.config import Config
from mtquant.core.env_config import with_env_config
from mtquant.core.errors import ConfigError
from mtquant.core.runs import check_writable
from mtquant.core.seeding import SeedTree
from mtquant.data.bars import Bars
from mtquant.data.instruments import Instrument
from mtquant.data.sources import load_bars, split_bars

Progress = Callable[[str, int, Mapping[str, float]], None]
DEVICES = ("auto", "cpu", "cuda")


class PhaseTrainer:
    """One phase of training.

    Args:
        config: The configuration.
        output_dir: Receives what was trained.
        log_dir: Receives TensorBoard's files.
        instruments: Configured instruments by symbol.
        timesteps: Bars to live through; the config's for the phase when None.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``; the config's when None.
        logger: Who hears of stages and surprises.
        progress: Called with a name, its steps so far and its latest metrics.
        resume: Go on from the newest checkpoint in `output_dir`.
        different_numerics: Also from one of other versions, threads or another device.
        env_config: Written over `config`, in the keys of spec 003 (`core/env_config.py`).

    Raises:
        ConfigError: cuda was asked for and there is no GPU, or an unknown key of `env_config`.
        DataError, RunError: Bars or folders cannot be used. It is checked here, before any
            training.
    """

    phase: int

    def __init__(
        self,
        config: Config,
        output_dir: Path,
        log_dir: Path,
        instruments: Mapping[str, Instrument],
        *,
        timesteps: int | None = None,
        device: str | None = None,
        logger: logging.Logger | None = None,
        progress: Progress | None = None,
        resume: bool = False,
        different_numerics: bool = False,
        env_config: Mapping[str, Any] | None = None,
    ) -> None:
        config = with_env_config(config, env_config)
        self.config, self.instruments = config, instruments
        self.settings = config.training.effective(self.phase)
        self.output_dir, self.log_dir = output_dir, log_dir
        self.timesteps = timesteps or getattr(config.training, f"phase_{self.phase}_timesteps")
        self.device = resolve_device(device or config.training.device)
        self.logger = logger or logging.getLogger(__name__)
        self.progress = progress
        self.resume, self.different_numerics = resume, different_numerics
        self.seeds = SeedTree(config.training.seed).child(f"phase{self.phase}")
        for folder in (output_dir, log_dir):
            check_writable(folder)
        self.bars: dict[str, Bars] = load_bars(config.data, instruments)
        self.split = split_bars(self.bars, config.data)

    def report(self, name: str, step: int, metrics: Mapping[str, float]) -> None:
        """Tells whoever watches."""
        if self.progress is not None:
            self.progress(name, step, metrics)


def resolve_device(device: str) -> str:
    """``"auto"`` is the cpu: networks of this size are slower on a GPU, where each minibatch pays
    for launches and copies.

    Raises:
        ConfigError: cuda was asked for and there is none, or the name is another.
    """
    if device not in DEVICES:
        remedy = "Use --device auto."
        raise ConfigError("device", f"must be one of {', '.join(DEVICES)}", device, remedy)
    if device == "auto":
        return "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        remedy = "Use --device auto or --device cpu."
        raise ConfigError("device", "must be available on this machine", device, remedy)
    return device
