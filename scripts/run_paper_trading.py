#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Paper trading: the trained hierarchy, or any trained phase, on a clock.

python scripts/run_paper_trading.py --models models/checkpoints/phase3 \
    --ledger data/paper/paper.sqlite --feed replay
"""

import typer

from mtquant.cli.main import run_app
from mtquant.cli.paper_commands import paper_run

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command()(paper_run)

if __name__ == "__main__":
    run_app(app)
