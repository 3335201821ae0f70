# SPDX-License-Identifier: Apache-2.0
"""Every exception mtquant raises on purpose.

    MtquantError
    |-- ConfigError        a config file, a flag or `--set`
    |-- DataError          bars, files, splits
    |-- FeatureError       a feature, its warm-up or its scaler
    |-- RulesError         an instrument's costs, currencies or limits
    |-- PolicyError        a policy that does not fit what it is asked to trade
    |-- RewardError        a reward term or its weight
    |-- CheckpointError    a model folder that is missing, damaged or of other rules
    |-- RunError           an output folder, the disk, an interrupted run
    |   `-- WorkerError    a worker process failed or died
    `-- AuditError         two judges of the same fills disagree

Each one says the same four things, and keeps them as attributes so that a program can read them
too.
"""

from __future__ import annotations


class MtquantError(Exception):
    """What is wrong, where, and what to do about it.

    Args:
        field: Name of the input at fault, for example ``"environment.n_envs"``.
        rule: What has to hold, as a sentence fragment: ``"must be positive"``.
        found: The value that was found (shown with ``repr``, cut at 200 characters).
        remedy: What the user can do.
    """

    def __init__(self, field: str, rule: str, found: object, remedy: str) -> None:
        self.field = field
        self.rule = rule
        self.found = found
        self.remedy = remedy
        shown = repr(found)
        if len(shown) > 200:
            shown = shown[:197] + "..."
        super().__init__(f"{field} {rule}; found {shown}. {remedy}")

    def __reduce__(self) -> tuple[type[MtquantError], tuple[str, str, object, str]]:
        # Exceptions cross process borders in worker pools; the default pickles only the message.
        return type(self), (self.field, self.rule, self.found, self.remedy)


class ConfigError(MtquantError):
    """A config file, a flag or ``--set`` holds something that cannot be used."""


class DataError(MtquantError):
    """Bars, files or splits break a rule."""


class FeatureError(MtquantError):
    """A feature, its warm-up or its scaler breaks a rule."""


class RulesError(MtquantError):
    """An instrument's costs, currencies or limits cannot be used."""


class PolicyError(MtquantError):
    """A policy does not fit what it is asked to trade."""


class RewardError(MtquantError):
    """A reward term or its weight cannot be used."""


class CheckpointError(MtquantError):
    """A model folder is missing, damaged, or was made under other rules."""


class RunError(MtquantError):
    """An output folder, the disk or an interrupted run stands in the way."""


class WorkerError(RunError):
    """A worker process failed, its traceback being the remedy's text, or died."""


class AuditError(MtquantError):
    """Two judges of the same fills disagree."""
