#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""All three phases in a row.

python scripts/run_end_to_end_training.py --config config/agents.yaml \
    --output-dir models/checkpoints --log-dir logs --device auto \
    --phase1-timesteps 500000 --phase2-timesteps 300000 --phase3-timesteps 1000000
"""

import typer

from mtquant.cli.main import run_app
from mtquant.cli.train_commands import train_all

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command()(train_all)

if __name__ == "__main__":
    run_app(app)
