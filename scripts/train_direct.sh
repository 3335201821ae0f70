#!/usr/bin/env bash
# Stonk-Trainer's entry point: references, stage I, gate, stage II, report and deployment, in a row.
#
#   scripts/train_direct.sh                      # config/llm.yaml
#   CONFIG=my.yaml scripts/train_direct.sh --resume
#   BATCH_SIZE=1 scripts/train_direct.sh         # CUDA out of memory: less per pass, updates of the same size
#   scripts/train_direct.sh --demo               # no network, no GPU, minutes
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON="${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)}"
arguments=()
if [ -n "${CONFIG:-}" ]; then arguments+=(--config "$CONFIG"); fi
if [ -n "${BATCH_SIZE:-}" ]; then arguments+=(--batch-size "$BATCH_SIZE"); fi
exec "$PYTHON" -m mtquant llm pipeline "${arguments[@]}" "$@"
