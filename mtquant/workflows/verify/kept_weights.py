# SPDX-License-Identifier: Apache-2.0
"""The weights that are verified have to be those that the run's report card says it kept.

Digests of weights stand in two places: in the manifest beside them, which is exchanged along with
them, and in the card of the run, which is not.
"""

from __future__ import annotations

from mtquant.core.errors import RunError
from mtquant.core.runs import RunFolder
from mtquant.workflows.training import HIERARCHY
from mtquant.workflows.verify.record import Finding, Record
from mtquant.workflows.verify.subject import Subject

NAME = "weights: those of the run"
REMEDY = (
    "These are not the weights that the run kept: somebody exchanged or changed them since. Put "
    "its own back, or train again."
)


def check_kept_weights(subject: Subject) -> Record:
    """Compares the loaded weights with the card, network by network."""
    if subject.trained is None or subject.folder is None:
        return Record.not_checked(NAME, "a policy without a folder has no report card")
    try:
        stages = RunFolder(subject.folder).card["stages"]
    except RunError as error:
        return Record.not_checked(NAME, str(error), "Train again: the card lies beside the models.")
    recorded = {stage: kept.get("weights_sha256") for stage, kept in stages.items()}
    if not recorded:
        why = "the card holds no digest of weights: the run did not end, or its trainer was called "
        return Record.not_checked(NAME, f"{why}by itself", "Resume the training.")
    phase, weights = subject.trained.phase, subject.trained.weights
    loaded = {
        f"phase{phase}/{name if phase == 1 else HIERARCHY}": own for name, own in weights.items()
    }
    findings = []
    for name in sorted({*loaded, *recorded}):
        now, was = loaded.get(name) or "nothing", recorded.get(name) or "nothing"
        if now != was:
            text = f"{now[:12]} were loaded, and the run kept {was[:12]}"
            findings.append(Finding(f"weights of {name}", text))
    looked = f"the loaded weights of {', '.join(loaded)} are those that the run's card names"
    return Record.of(NAME, findings, looked, REMEDY)
