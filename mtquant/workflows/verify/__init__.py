# SPDX-License-Identifier: Apache-2.0
"""`mtquant verify`: is a result true? Every check tries to show that it is not.

    subject = Subject.load(Path("models/checkpoints/phase1"), config, instruments)
    report = verify(subject)
    report.passed, report.failed, report.save(folder)

`docs/verify.md` says what each check finds, and what it cannot see.
"""

from __future__ import annotations

from mtquant.workflows.verify.draws import Effort
from mtquant.workflows.verify.record import Finding, Record, VerifyReport
from mtquant.workflows.verify.running import verify
from mtquant.workflows.verify.subject import Subject

__all__ = ["Effort", "Finding", "Record", "Subject", "VerifyReport", "verify"]
