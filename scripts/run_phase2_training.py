#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Phase 2: meta-controller pre-training.

python scripts/run_phase2_training.py --config config/agents.yaml --timesteps 300000 \
    --output-dir models/checkpoints/phase2 --log-dir logs/phase2 --device auto
"""

import typer

from mtquant.cli.main import run_app
from mtquant.cli.train_commands import train_phase2

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command()(train_phase2)

if __name__ == "__main__":
    run_app(app)
