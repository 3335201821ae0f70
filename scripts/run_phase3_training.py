#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Phase 3: joint fine-tuning.

python scripts/run_phase3_training.py --config config/agents.yaml --timesteps 1000000 \
    --output-dir models/checkpoints/phase3 --log-dir logs/phase3 --device auto --eval-episodes 100
"""

import typer

from mtquant.cli.main import run_app
from mtquant.cli.train_commands import train_phase3

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command()(train_phase3)

if __name__ == "__main__":
    run_app(app)
