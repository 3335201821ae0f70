# SPDX-License-Identifier: Apache-2.0
"""The page docs/data.md says what the policy does, kind by kind."""

from __future__ import annotations

import re
from pathlib import Path

from mtquant.data.importing.clocks import Clock, read_clock
from mtquant.data.importing.policy import RULES, ImportPolicy, alternatives

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "data.md").read_text(encoding="utf-8")


def test_the_page_names_every_kind_its_answers_and_its_default() -> None:
    table = re.findall(r"^\| `(\w+)` \| .* \| ([^|]+) \|$", PAGE, flags=re.MULTILINE)
    answers = {kind: re.sub(r" \([^)]*\)", "", text).strip().split(", ") for kind, text in table}
    policy = ImportPolicy()
    assert list(answers) == list(ImportPolicy.model_fields) == list(RULES)
    for kind, named in answers.items():
        assert named[0] == policy.answer(kind)
        assert {*named} == {"refuse", *alternatives(kind)}


def test_the_clock_of_the_page_is_a_clock(tmp_path: Path) -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)
    path = tmp_path / "clock.yaml"
    path.write_text(block, encoding="utf-8")
    assert Clock(read_clock(path)).text.startswith("Europe/Berlin, from 2013-06-05 22:00Z +03:00")
