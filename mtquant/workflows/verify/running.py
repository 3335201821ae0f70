# SPDX-License-Identifier: Apache-2.0
"""All checks in a row: from the cheap to the slow, each told to whoever watches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from mtquant.core.errors import MtquantError
from mtquant.learning.threads import use_threads
from mtquant.market.ledger import Ledger
from mtquant.workflows.verify.accounting import NAME as ACCOUNTING
from mtquant.workflows.verify.accounting import check_accounting
from mtquant.workflows.verify.auditing import NAME as AUDIT
from mtquant.workflows.verify.auditing import check_audit
from mtquant.workflows.verify.behaviour import NAME as BEHAVIOUR
from mtquant.workflows.verify.behaviour import check_behaviour, live
from mtquant.workflows.verify.draws import Effort
from mtquant.workflows.verify.environment import NAME as ENVIRONMENT
from mtquant.workflows.verify.environment import check_environment
from mtquant.workflows.verify.kept_weights import NAME as WEIGHTS
from mtquant.workflows.verify.kept_weights import check_kept_weights
from mtquant.workflows.verify.later_rows import NAME as LATER
from mtquant.workflows.verify.later_rows import check_later_rows
from mtquant.workflows.verify.leads import NAME as LEADS
from mtquant.workflows.verify.leads import check_leads
from mtquant.workflows.verify.levels import NAME as LEVELS
from mtquant.workflows.verify.levels import check_levels
from mtquant.workflows.verify.lookahead import NAME as FEATURES
from mtquant.workflows.verify.lookahead import check_features
from mtquant.workflows.verify.noise import NAME as NOISE
from mtquant.workflows.verify.noise import POLICY_NAME, Noise, check_noise, check_policy_on_noise
from mtquant.workflows.verify.own_features import NAME as OWN
from mtquant.workflows.verify.own_features import check_own_features
from mtquant.workflows.verify.paper import NAME as PAPER
from mtquant.workflows.verify.paper import check_paper
from mtquant.workflows.verify.record import Finding, Record, VerifyReport
from mtquant.workflows.verify.repeating import Repeats
from mtquant.workflows.verify.scaler import NAME as SCALER
from mtquant.workflows.verify.scaler import check_scaler
from mtquant.workflows.verify.seeds import NAME as SEEDS
from mtquant.workflows.verify.seeds import check_seeds
from mtquant.workflows.verify.seen_bars import NAME as BARS
from mtquant.workflows.verify.seen_bars import check_seen_bars
from mtquant.workflows.verify.streaming import NAME as STREAM
from mtquant.workflows.verify.streaming import check_stream
from mtquant.workflows.verify.subject import Subject
from mtquant.workflows.verify.survivors import NAME as SURVIVORS
from mtquant.workflows.verify.survivors import check_survivors
from mtquant.workflows.verify.warmup import NAME as WARMUP
from mtquant.workflows.verify.warmup import check_warmup

Watch = Callable[[str, int, int], None]
Check = Callable[[], Record]
MOST_LIVED = 2_000  # newest test bars whose ledger is checked: the books are kept in plain Python


def verify(
    subject: Subject,
    effort: Effort | None = None,
    *,
    full: bool = False,
    watch: Watch | None = None,
) -> VerifyReport:
    """Runs every check; one that breaks off is a failed one, and the others go on.

    Args:
        subject: What is verified.
        effort: How many cuts, and the seed of all draws.
        full: Repeat the whole training instead of its first updates.
        watch: Called with what is being done, checks done and checks in all.
    """
    effort = effort or Effort()
    use_threads(subject.config.training.torch_threads)
    done: list[Record] = []

    def tell(what: str) -> None:
        if watch is not None:
            watch(what, len(done), len(checks))

    checks = dict(_checks(subject, effort, full, tell))
    for name, check in checks.items():
        tell(name)
        done.append(_guarded(name, check))
    tell("done")
    return VerifyReport(subject.name, tuple(done), effort.seed, _facts(subject, effort))


def _checks(
    subject: Subject, effort: Effort, full: bool, tell: Callable[[str], None]
) -> Iterator[tuple[str, Check]]:
    """Every check by its name, in the order in which they are made."""
    noise, repeats = Noise(subject, effort), Repeats(subject, tell)
    ledgers = list[Ledger]()

    def ledger() -> Ledger:
        if not ledgers:
            rows = subject.test_rows
            lived = slice(max(rows.start, rows.stop - MOST_LIVED), rows.stop)
            ledgers.append(live(subject, subject.market, subject.features, lived)[1])
        return ledgers[0]

    yield BARS, partial(check_seen_bars, subject)
    yield WEIGHTS, partial(check_kept_weights, subject)
    yield LEADS, partial(check_leads, subject)
    yield SURVIVORS, partial(check_survivors, subject)
    yield FEATURES, partial(check_features, subject, effort)
    yield LEVELS, partial(check_levels, subject)
    yield SCALER, partial(check_scaler, subject)
    yield BEHAVIOUR, partial(check_behaviour, subject, effort)
    yield ENVIRONMENT, partial(check_environment, subject, effort)
    yield WARMUP, partial(check_warmup, subject)
    yield OWN, partial(check_own_features, subject)
    yield STREAM, partial(check_stream, subject)
    yield PAPER, partial(check_paper, subject, effort)
    yield ACCOUNTING, lambda: check_accounting(subject, ledger())
    yield AUDIT, lambda: check_audit(subject, ledger())
    yield NOISE, partial(check_noise, noise)
    yield POLICY_NAME, partial(check_policy_on_noise, noise)
    yield SEEDS, partial(check_seeds, repeats, full)
    yield LATER, partial(check_later_rows, repeats, effort)


def _guarded(name: str, check: Check) -> Record:
    """What a check says; an error that it meets is what it found."""
    try:
        return check()
    except MtquantError as error:
        finding = Finding(error.field, f"the check broke off: {error}")
        return Record.of(name, [finding], "", error.remedy)


def _facts(subject: Subject, effort: Effort) -> dict[str, object]:
    """What was verified, for the file."""
    rows = subject.test_rows
    return {
        "instruments": list(subject.market.panel.symbols),
        "features": list(subject.policy.feature_names),
        "rows": len(subject.market.panel),
        "first_known_row": subject.first_row,
        "test_rows": [rows.start, rows.stop],
        "cuts": effort.cuts,
        "weights": {} if subject.trained is None else dict(subject.trained.weights),
        "warnings": [] if subject.trained is None else list(subject.trained.warnings),
    }
