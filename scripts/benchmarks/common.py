# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks share; imported before NumPy and Numba, which then start one thread."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

for _name in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"
ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # tests.support and mtquant, also when not installed


def options(description: str) -> argparse.Namespace:
    """The flags that every benchmark takes: --quick and --seed."""
    return option_parser(description).parse_args()


def option_parser(description: str) -> argparse.ArgumentParser:
    """The same, for benchmarks that take more."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="less of everything, under 30 s")
    parser.add_argument("--seed", type=int, default=0, help="root of every random draw")
    return parser


def pin_to_one_core() -> int | None:
    """Keeps this process on the last core it may use; None where the system has no such call."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    return core


def machine(core: int | None) -> str:
    """Processor, cores, load and the versions that decide speed, in one line."""
    import numba
    import numpy as np

    model = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    load = f", load {os.getloadavg()[0]:.2f}" if hasattr(os, "getloadavg") else ""
    pinned = "not pinned" if core is None else f"pinned to core {core}"
    return (
        f"{model}, {os.cpu_count()} cores, {pinned}{load}; Python {platform.python_version()}, "
        f"numpy {np.__version__}, numba {numba.__version__}"
    )


def print_result(figures: dict[str, Any]) -> None:
    """The last line of every benchmark, for programs."""
    print("RESULT " + json.dumps(figures))
