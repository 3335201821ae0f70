#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Phase 1: individual specialist training.

python scripts/run_phase1_training.py --config config/agents.yaml --timesteps 500000 \
    --output-dir models/checkpoints/phase1 --log-dir logs/phase1 --device auto
"""

import typer

from mtquant.cli.main import run_app
from mtquant.cli.train_commands import train_phase1

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command()(train_phase1)

if __name__ == "__main__":
    run_app(app)
