#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The complete pipeline: three phases in a row, resumed, or evaluated.

python scripts/training_pipeline.py --mode train --config config/agents.yaml \
    --output-dir models/checkpoints --log-dir logs --device auto
python scripts/training_pipeline.py --mode resume
python scripts/training_pipeline.py --mode eval --eval-episodes 200
"""

import typer

from mtquant.cli.main import run_app
from mtquant.cli.train_commands import train_all

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command()(train_all)

if __name__ == "__main__":
    run_app(app)
