# SPDX-License-Identifier: Apache-2.0
"""What a phase of training is worth on rows that it has never met: spec 003's evaluation.

    found = evaluate_phase(3, Path("models/checkpoints/phase3"), config, instruments)
    found.sections            # tables of text; `evaluation.md` and `.json` lie beside the models

phase 1   targets of all specialists as one portfolio, specialists one by one, robustness, reasons
phase 2   targets, allocation efficiency, use of the specialists and decision quality,
          communication test, robustness, reasons
phase 3   as phase 2

Missing a target is a result, not a failure. The same models, bars and numbers give the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtquant.agents.hierarchy import HierarchyPolicy
from mtquant.core.config import Config, config_hash
from mtquant.core.records import write_atomically
from mtquant.core.runs import check_writable, plain
from mtquant.core.seeding import SeedTree
from mtquant.data.instruments import Instrument
from mtquant.evaluation.sections import Section, document
from mtquant.learning.threads import use_threads
from mtquant.workflows.allocation_study import (
    AllocationStudy,
    AllocationTrial,
    allocation_sections,
)
from mtquant.workflows.backtesting import Market, check_unseen, trade
from mtquant.workflows.communication import (
    CommunicationTest,
    DisturbedEars,
    communication_section,
    communication_test,
)
from mtquant.workflows.individuals import Individual, individuals, individuals_section
from mtquant.workflows.models import Trained, load_trained
from mtquant.workflows.reasons import (
    Reasons,
    reasons_of_hierarchy,
    reasons_of_specialists,
    reasons_section,
)
from mtquant.workflows.rehearsal import Moment, Passage, Rehearsal
from mtquant.workflows.robustness import Robustness, robustness, robustness_section
from mtquant.workflows.targets import Target, targets_of, targets_section

Float = NDArray[np.float64]
JSON_NAME, TEXT_NAME = "evaluation.json", "evaluation.md"

Announce = Callable[[str], None]
"""Told what is being measured."""


@dataclass(frozen=True)
class Effort:
    """How much an evaluation does; less of it is quicker and less certain.

    Attributes:
        draws: Bootstrap samples behind every interval.
        scenario_seeds: Seeds of every made-up market; 0 leaves them out.
    """

    draws: int = 1_000
    scenario_seeds: int = 3


@dataclass(frozen=True)
class Evaluation:
    """What was found.

    Attributes:
        phase: 1, 2 or 3.
        sections: As text, in order.
        found: As `evaluation.json` holds it.
    """

    phase: int
    sections: tuple[Section, ...]
    found: Mapping[str, Any]


def evaluate_phase(
    phase: int,
    models: Path,
    config: Config,
    instruments: Mapping[str, Instrument],
    effort: Effort | None = None,
    announce: Announce | None = None,
) -> Evaluation:
    """Measures a phase on its test rows and writes what it found beside the models.

    Args:
        phase: 1, 2 or 3.
        models: Folder of the phase.
        config, instruments: Of the training.
        effort: How much is done.
        announce: Told what is being measured.

    Raises:
        CheckpointError: Models are missing or damaged, or know the test rows.
        RunError: The folder cannot be written.
    """
    use_threads(config.training.torch_threads)
    trained = load_trained(models, config, instruments)
    market = Market.build(config, instruments, "test")
    check_unseen(trained, market, "test", models)
    check_writable(models)
    work = _Work(phase, models, trained, market, effort or Effort(), announce or (lambda _: None))
    sections, found = work.measure()
    evaluation = Evaluation(phase, tuple(sections), {**_head(work), **found})
    text = json.dumps(plain(evaluation.found), indent=2, allow_nan=False) + "\n"
    page = document(f"Phase {phase} on the test period", sections)
    write_atomically(models / JSON_NAME, lambda path: path.write_text(text, encoding="utf-8"))
    write_atomically(models / TEXT_NAME, lambda path: path.write_text(page, encoding="utf-8"))
    return evaluation


@dataclass(frozen=True)
class _Work:
    """One evaluation."""

    phase: int
    models: Path
    trained: Trained
    market: Market
    effort: Effort
    announce: Announce

    def measure(self) -> tuple[list[Section], dict[str, Any]]:
        """All sections, and the same as plain values."""
        targets = self._targets()
        sections = [targets_section(f"Targets of phase {self.phase}", targets)]
        found: dict[str, Any] = {"targets": [_target(target) for target in targets]}
        if isinstance(self.trained.policy, HierarchyPolicy):
            reasons = self._hierarchy(self.trained.policy, sections, found)
        else:
            reasons = self._specialists(sections, found)
        if self.effort.scenario_seeds:
            self.announce("robustness over scenarios")
            seeds = self._seeds("robustness")
            made = robustness(self.trained, self.market, seeds, self.effort.scenario_seeds)
            sections.append(robustness_section(made))
            found["robustness"] = _robustness(made)
        sections += [reasons_section(each) for each in reasons]
        found["reasons"] = [asdict(each) for each in reasons]
        return sections, found

    def _targets(self) -> list[Target]:
        self.announce("targets")
        ledger = trade(self.trained, self.market)
        rules, tape = self.market.rules, self.market.tape
        return targets_of(
            self.phase, ledger, rules, tape, self.effort.draws, self._random("targets")
        )

    def _specialists(self, sections: list[Section], found: dict[str, Any]) -> list[Reasons]:
        self.announce("specialists one by one")
        config, instruments = self.market.config, self.market.instruments
        random = self._random("specialists")
        own = individuals(self.models, config, instruments, self.effort.draws, random)
        sections.append(individuals_section(own))
        found["specialists"] = {_name(each): [_target(t) for t in each.targets] for each in own}
        self.announce("reasons")
        reasons = reasons_of_specialists(own)
        return [] if reasons is None else [reasons]

    def _hierarchy(
        self, policy: HierarchyPolicy, sections: list[Section], found: dict[str, Any]
    ) -> list[Reasons]:
        self.announce("allocations")
        trial = AllocationTrial(Rehearsal(self.trained, self.market))
        self.announce("other allocations and disturbed messages")
        study, heard = self._second_passage(policy, trial)
        sections += [*allocation_sections(study), communication_section(heard)]
        found["allocation"], found["communication"] = _allocation(study), _communication(heard)
        self.announce("reasons")
        return reasons_of_hierarchy(policy, trial.first)

    def _second_passage(
        self, policy: HierarchyPolicy, trial: AllocationTrial
    ) -> tuple[AllocationStudy, CommunicationTest]:
        """What is known afterwards, and what disturbed ears decide, in one batch."""
        held = trial.candidates()
        ears = DisturbedEars(policy, trial.first, self._random("shuffles"))
        count = len(held)

        def decide(moment: Moment) -> Float:
            fixed = np.array([own.scales[moment.t] for own in held])
            own = Moment(moment.t, moment.row, moment.seen[count:], moment.messages[count:])
            return np.concatenate([fixed, ears.scales(own)])

        second = trial.stage.run(decide, count + len(ears))
        growth, draws = second.growth[:, :count], self.effort.draws
        study = trial.study(held, growth, draws, self._random("allocation"))
        return study, self._heard(ears, second, count, trial.first)

    def _heard(
        self, ears: DisturbedEars, second: Passage, count: int, first: Passage
    ) -> CommunicationTest:
        return communication_test(
            ears.accounts,
            second.growth[:, count:],
            second.scales[:, count:],
            (first.growth[:, 0], first.scales[:, 0]),
            self.market.tape.bars_per_year,
            self.market.rules.max_gross_exposure,
            self.effort.draws,
            self._random("communication"),
        )

    def _seeds(self, name: str) -> SeedTree:
        return SeedTree(self.market.config.training.seed).child("evaluation", name)

    def _random(self, name: str) -> np.random.Generator:
        return self._seeds(name).generator()


def _head(work: _Work) -> dict[str, Any]:
    """What the numbers are of."""
    market = work.market
    first, last = market.panel.stamps[[market.rows.start, market.rows.stop - 1]]
    return {
        "phase": work.phase,
        "policy": work.trained.policy.name,
        "weights": dict(work.trained.weights),
        "config_hash": config_hash(market.config),
        "rules_hash": market.rules.hash(),
        "seed": market.config.training.seed,
        "draws": work.effort.draws,
        "scenario_seeds": work.effort.scenario_seeds,
        "first_close": str(np.datetime64(int(first), "ns")),
        "last_close": str(np.datetime64(int(last), "ns")),
        "bars": market.rows.stop - market.rows.start - 1,
        "warnings": list(work.trained.warnings),
    }


def _name(individual: Individual) -> str:
    return individual.specialist.manifest.name


def _target(target: Target) -> dict[str, Any]:
    return {**asdict(target), "met": target.met}


def _allocation(study: AllocationStudy) -> dict[str, Any]:
    return {**asdict(study), "regret": study.regret, "monthly_regret": study.monthly_regret}


def _communication(test: CommunicationTest) -> dict[str, Any]:
    return {**asdict(test), "used": test.used}


def _robustness(found: Robustness | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {**asdict(found), "met": {name: found.met(name) for name in found.measured}}
