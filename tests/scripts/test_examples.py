# SPDX-License-Identifier: Apache-2.0
"""The examples run, shortened, and say honestly what they did."""

from __future__ import annotations

import re
import runpy
import sys
import warnings
from pathlib import Path

import pytest
import torch

EXAMPLES = Path(__file__).resolve().parents[2] / "scripts" / "examples"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "steps", "line"),
    [
        # Eight accounts in rollouts of 64 bars; sixteen of 128.
        ("recurrent_ppo", 512, "RecurrentPPO trained for 512 bars of SPX500; on "),
        ("sac_gymnasium", 120, "SAC trained for 120 bars of SPX500; on "),
        ("trpo_meta_controller", 2048, "TRPO trained for 2048 bars of SPX500, NAS100, WTIUSD; "),
        ("joint_pettingzoo", 20, "Random agents traded SPX500, NAS100, WTIUSD for 20 bars: "),
    ],
)
def test_it_runs(
    name: str,
    steps: int,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.delitem(sys.modules, "common", raising=False)  # the benchmarks have one, too
    threads = torch.get_num_threads()
    try:
        runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"]([f"--steps={steps}"])
    finally:
        torch.set_num_threads(threads)
        sys.modules.pop("common", None)
    said = capsys.readouterr().out
    assert said.startswith(line)
    assert "learnt" in said


def test_every_example_is_tried() -> None:
    tried = {"recurrent_ppo", "sac_gymnasium", "trpo_meta_controller", "joint_pettingzoo"}
    assert {path.stem for path in EXAMPLES.glob("*.py")} == tried | {"common"}


@pytest.mark.slow
def test_the_code_of_the_environments_page_runs() -> None:
    page = EXAMPLES.parents[1] / "docs" / "environments.md"
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 2
    with warnings.catch_warnings():
        # Observations are raw, without bounds; see tests/envs/test_gym.py.
        warnings.filterwarnings("ignore", ".*A Box observation space m.* value is -?infinity")
        first, second = ({}, {})
        exec(blocks[0], first)
        exec(blocks[1], second)
    first["env"].reset(seed=0)
    assert len(first["env"].agents) == 4  # three bundled series and the meta-controller
    assert second["batch"].num_envs == 64
