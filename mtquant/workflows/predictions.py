# SPDX-License-Identifier: Apache-2.0
"""A table of predictions as one policy: what `mtquant backtest --models signals.parquet` trades."""

from __future__ import annotations

import hashlib
from pathlib import Path

from mtquant.core.config import Config
from mtquant.core.errors import DataError
from mtquant.features.signals import read_signals
from mtquant.llm.policy import PredictionPolicy
from mtquant.workflows.models import Trained

SUFFIX = ".parquet"
UNSAID = (
    "The table does not say on what its predictor was trained. Predictions of days that it had "
    "seen prove nothing."
)


def load_predictions(table: Path, config: Config) -> Trained:
    """The policy of a table: a certain prediction is held at `environment.max_position_size`.

    Raises:
        DataError: The table cannot be used, or predicts nothing of a configured instrument.
    """
    signals = read_signals(table)
    missing = sorted(set(config.data.instruments) - set(signals.symbols.tolist()))
    if missing:
        found = sorted(set(signals.symbols.tolist()))
        remedy = "Set data.instruments to what was predicted."
        raise DataError(str(table), f"must hold predictions of {', '.join(missing)}", found, remedy)
    environment = config.environment
    caps = environment.max_position_size, environment.max_gross_exposure
    return Trained(
        policy=PredictionPolicy(signals, *caps),
        phase=1,
        bars_sha256={},
        known_until_ns={},
        reward_scale=1.0,
        weights={table.name: hashlib.sha256(table.read_bytes()).hexdigest()},
        warnings=(UNSAID,),
        from_table=True,
    )
