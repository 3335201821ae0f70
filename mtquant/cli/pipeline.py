# SPDX-License-Identifier: Apache-2.0
"""`mtquant train all` and the pipeline scripts: three phases in a row, resumed, evaluated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from mtquant.cli.console import interruptible, say
from mtquant.cli.settings import training_settings
from mtquant.cli.training import Places, run_phase
from mtquant.core.config import Config
from mtquant.data.instruments import Instrument, load_instruments


@dataclass(frozen=True)
class Pipeline:
    """Three phases, each in a folder of its own below two common ones.

    Attributes:
        config: The configuration.
        instruments: Configured instruments.
        output_dir, log_dir: Receive ``phase1``, ``phase2`` and ``phase3``.
        timesteps: Phase -> bars; the config's where there is none.
        device: The config's when None.
        different_numerics: Resume also where versions, threads, workers or device differ.
    """

    config: Config
    instruments: Mapping[str, Instrument]
    output_dir: Path
    log_dir: Path
    timesteps: Mapping[int, int | None]
    device: str | None
    different_numerics: bool = False

    def train(self, console: Console, *, overwrite: bool = False, resume: bool = False) -> None:
        """Runs the phases in order.

        Args:
            console: Where progress goes.
            overwrite: Replace earlier runs.
            resume: Pass over phases that ended; one that did not goes on from its checkpoint.

        Raises:
            RunError: Resuming phases of another configuration.
        """
        from mtquant.workflows.phases import PHASES, phase_ended  # bad flags need no workflow

        for number in PHASES:
            folder = self.output_dir / f"phase{number}"
            console.rule(f"phase {number}")
            if resume and phase_ended(folder, number, self.config):
                say(console, f"ended before: {folder}")
                continue
            logs = self.log_dir / f"phase{number}"
            places = Places(
                folder,
                logs,
                overwrite=overwrite,
                resume=resume,
                different_numerics=self.different_numerics,
            )
            steps = self.timesteps.get(number)
            run_phase(number, places, self.config, self.instruments, steps, self.device, console)


def run(
    mode: str,
    config_path: Path | None,
    output_dir: Path,
    log_dir: Path,
    timesteps: Mapping[int, int | None],
    device: str | None,
    overrides: Sequence[str],
    overwrite: bool,
    different_numerics: bool,
) -> None:
    """``--mode train`` or ``resume``."""
    console = Console()
    config, origin = training_settings(config_path, overrides)
    say(console, f"configuration {origin}")
    pipeline = Pipeline(
        config, load_instruments(None), output_dir, log_dir, timesteps, device, different_numerics
    )
    again = "go on with --mode resume (scripts/training_pipeline.py)"
    with interruptible(f"phases that ended are in {output_dir}; {again}"):
        pipeline.train(console, overwrite=overwrite, resume=mode == "resume")
