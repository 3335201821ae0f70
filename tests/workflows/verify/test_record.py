# SPDX-License-Identifier: Apache-2.0
"""Records and the file they are written to."""

from __future__ import annotations

import json
from pathlib import Path

from mtquant.workflows.verify.record import FILE_NAME, Finding, Record, VerifyReport


def test_a_report_is_plain_json(tmp_path: Path) -> None:
    findings = (Finding("own", "was 1, is 2", "EURUSD", 7, "2020-01-06 01:00:00Z", 1.5),)
    records = (
        Record.of("first", [], "all is well", ""),
        Record.of("second", findings, "", "mend it"),
        Record.not_checked("third", "no folder"),
    )
    report = VerifyReport("model", records, 3)
    assert report.failed == ("second",) and not report.passed
    path = report.save(tmp_path)
    assert path == tmp_path / FILE_NAME
    stored = json.loads(path.read_text())
    assert stored["passed"] is False and stored["seed"] == 3
    assert [check["verdict"] for check in stored["checks"]] == ["passed", "failed", "not checked"]
    assert stored["checks"][1]["findings"][0]["size"] == 1.5
    assert stored["checks"][1]["findings"][0]["row"] == 7


def test_a_finding_says_where_and_how_much() -> None:
    finding = Finding("own", "was 1, is 2", "EURUSD", 7, "2020-01-06 01:00:00Z")
    assert str(finding) == "own of EURUSD, row 7 (2020-01-06 01:00:00Z): was 1, is 2"
    assert str(Finding("bars", "changed")) == "bars: changed"


def test_several_findings_are_counted() -> None:
    findings = [Finding(f"own_{n}", "differs") for n in range(7)]
    shown = Record.of("check", findings, "", "mend it").finding
    assert shown.startswith("own_0: differs (and 6 more: own_1, own_2, own_3, own_4, ...)")
