# SPDX-License-Identifier: Apache-2.0
"""The report of a policy: one page that a researcher sends to a colleague.

    material = Material(title="Specialists", runs=[policy, *baselines], card=card)
    write_report(folder, material)       # report.html, report.md, report.json

`Material` lists what a report may be made of; only the policy's ledger is required. `write` turns
it into one `Document` of chapters, and three writers turn that into three files.
"""

from mtquant.evaluation.report.material import Learning, Material, Stress
from mtquant.evaluation.report.write import document_of, report_summary, write_report

__all__ = ["Learning", "Material", "Stress", "document_of", "report_summary", "write_report"]
