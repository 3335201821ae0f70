# SPDX-License-Identifier: Apache-2.0
"""`mtquant backtest`: trained policies out of sample, audited by vectorbt, and the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mtquant.backtest.vectorbt_audit import Audit, audit
from mtquant.backtest.vectorbt_views import vectorbt_figures, vectorbt_tables
from mtquant.core.config import Config
from mtquant.core.runs import RunFolder
from mtquant.core.trials import TrialLedger
from mtquant.data.instruments import Instrument
from mtquant.evaluation.report import Material, report_summary, write_report
from mtquant.evaluation.significance.tried import Tried
from mtquant.evaluation.summary import summarize
from mtquant.learning.threads import use_threads
from mtquant.market.ledger import Ledger
from mtquant.workflows.backtesting import (
    Market,
    Progress,
    baseline_ledgers,
    check_unseen,
    trade,
)
from mtquant.workflows.models import load_trained
from mtquant.workflows.predictions import SUFFIX, load_predictions
from mtquant.workflows.report_parts import (
    costs_of,
    learning_of,
    phase_ledgers,
    specialists_of,
    stress_of,
)


@dataclass(frozen=True)
class BacktestResult:
    """What a backtest leaves behind.

    Attributes:
        report: The HTML page.
        ledgers: The policy's, then the baselines'.
        audit: vectorbt's replay of the policy's.
        markdown: Verdict and metrics for a terminal.
        ledger_hash: sha256 of the policy's ledger.
        weights_hashes: What was trained -> sha256 of its weights.
        warnings: What the user should know, such as models trained under other rules.
    """

    report: Path
    ledgers: tuple[Ledger, ...]
    audit: Audit
    markdown: str
    ledger_hash: str
    weights_hashes: Mapping[str, str]
    warnings: tuple[str, ...]


def backtest(
    config: Config,
    instruments: Mapping[str, Instrument],
    models: Path,
    output: Path,
    *,
    part: str = "test",
    command: Sequence[str] = (),
    scenario_seeds: int = 0,
    progress: Progress | None = None,
) -> BacktestResult:
    """Replays what was trained out of sample, audits the ledger and writes the report.

    Args:
        config: Bars, rules and reward; models trained under others are used with a warning.
        instruments: Configured instruments.
        models: Folder of phase 1, 2 or 3, or a parquet table of predictions.
        output: Receives ``report.html``, ``report.md``, ``report.json``, ``card.json`` and one
            ledger folder per policy.
        part: ``"test"`` or ``"validation"``.
        command: What was typed, for the card.
        scenario_seeds: Seeds of every made-up market; 0 leaves them out.
        progress: Called with the policy's name, bars done and bars in all.
    """
    use_threads(config.training.torch_threads)
    if models.suffix == SUFFIX:
        trained = load_predictions(models, config)
    else:
        trained = load_trained(models, config, instruments)
    market = Market.build(config, instruments, part)
    check_unseen(trained, market, part, models)
    run = RunFolder.create(
        output, config=config, seed=config.training.seed, command=command, overwrite=True
    )
    ledger = trade(trained, market, progress)
    ledgers = (ledger, *baseline_ledgers(market, ledger, progress))
    for each in ledgers:  # before the audit: a ledger that fails it is what one wants to look at
        each.save(output / "ledgers" / each.name.replace(" ", "_"))
    found = audit(ledger, market.rules)
    run.stage(f"backtest/{part}", {**summarize(ledger, config.training.seed)})
    material = Material(
        title=f"{trained.policy.name.capitalize()} out of sample: {part} period",
        runs=ledgers,
        seed=config.training.seed,
        tried=Tried.of(TrialLedger.beside(models)),
        specialists=specialists_of(trained),
        phases=phase_ledgers(models, trained, ledger, market, part, progress),
        costs=costs_of(trained, market, ledger, progress),
        stress=stress_of(trained, market, scenario_seeds, progress),
        learning=learning_of(models),
        figures=vectorbt_figures(found, ledger, market.tape.bars_per_year),
        tables=vectorbt_tables(found, ledger, market.tape.bars_per_year),
        card={**_short(run.card), "weights": trained.weights, "warnings": trained.warnings},
        audit={
            "largest relative difference to vectorbt": found.largest_relative_difference,
            "bars replayed": found.bars,
            "fills replayed": found.fills,
        },
    )
    report, markdown = write_report(output, material), report_summary(material)
    return BacktestResult(
        report, ledgers, found, markdown, ledger.hash(), trained.weights, trained.warnings
    )


def _short(card: Mapping[str, object]) -> dict[str, object]:
    """The card without what the report shows anyway."""
    return {name: value for name, value in card.items() if name != "stages"}
