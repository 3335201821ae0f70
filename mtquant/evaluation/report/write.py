# SPDX-License-Identifier: Apache-2.0
"""From the material to the document, and from the document to the three files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from mtquant.core.records import write_atomically
from mtquant.evaluation.report import extras, gains, results, trading, walk
from mtquant.evaluation.report.document import Chapter, Document
from mtquant.evaluation.report.findings import Findings
from mtquant.evaluation.report.html import html
from mtquant.evaluation.report.markdown import head, markdown, table_markdown
from mtquant.evaluation.report.material import Material
from mtquant.market.ledger import Ledger

CHAPTERS: tuple[Callable[[Findings], Chapter | None], ...] = (
    results.results,
    walk.walk_forward,
    results.drawdowns_and_rolling,
    trading.positions,
    trading.limits,
    trading.costs,
    gains.attribution,
    extras.stress,
    results.measures,
    extras.learning,
    extras.second_opinion,
)


def document_of(material: Material) -> Document:
    """Everything that the report says.

    Raises:
        RunError: There is no run, or one without bars.
    """
    return _document(Findings.of(material))


def write_report(folder: Path, material: Material) -> Path:
    """Writes ``report.html``, ``report.md`` and ``report.json`` of one document.

    The files hold no clock: equal material gives equal bytes. Each is written aside and renamed.

    Args:
        folder: Made if need be.
        material: What the report is about.

    Returns:
        The HTML page.

    Raises:
        RunError: There is no run, or one without bars.
    """
    document = document_of(material)
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "report.md": markdown(document),
        "report.json": json.dumps(document.plain(), indent=1, allow_nan=False) + "\n",
        "report.html": html(document),
    }
    for name, text in texts.items():
        _write(folder / name, text)
    return folder / "report.html"


def report_summary(material: Material) -> str:
    """Title, verdict and the few measures that fit into a terminal, as Markdown.

    Raises:
        RunError: There is no run, or one without bars.
    """
    found = Findings.of(material)
    return (
        f"{head(_document(found, chapters=()))}\n\n{table_markdown(results.short_table(found))}\n"
    )


def _document(
    found: Findings, chapters: tuple[Callable[[Findings], Chapter | None], ...] = CHAPTERS
) -> Document:
    about = found.policy.notes
    judged = found.verdict.lines[: len(found.verdict.lines) - len(about)]
    written = [chapter for build in chapters if (chapter := build(found)) is not None]
    if chapters:
        written += [extras.further(section) for section in found.material.sections]
        written.append(extras.run_card(found))
    return Document(
        found.material.title,
        _subtitle(found.policy),
        found.verdict.assessment.grade.value,
        (*judged, *_comparisons(found)),
        about,
        results.key_figures(found),
        tuple(written),
    )


def _subtitle(run: Ledger) -> str:
    moment = "next open" if run.fill_at == "open" else f"{run.fill_at} of the same bar (optimistic)"
    first, last = run.index[0].date(), run.index[-1].date()
    return (
        f"{run.name} · {', '.join(run.symbols)} · {first} to {last} · {len(run):,} bars ·"
        f" {run.initial_equity:,.0f} {run.account_currency} · fills at the {moment}"
    )


def _comparisons(found: Findings) -> list[str]:
    """Sentences on the baselines: who earned more, and whether the comparison is fair."""
    policy, baselines = found.policy, list(zip(found.baselines, found.summaries[1:], strict=True))
    if not baselines:
        return ["No baseline was run beside it."]
    best, summary = max(baselines, key=lambda pair: pair[1]["total_return"])
    lines = [f"Best baseline by total return: {best.name}, {summary['total_return']:+.1%}."]
    lines += found.compared.lines if found.compared is not None else ()
    for run, _ in baselines:
        if run.world_hash != policy.world_hash:
            lines.append(f"Not comparable: {run.name} lived under other rules.")
        if len(run) != len(policy) or (run.stamps != policy.stamps).any():
            lines.append(f"Not comparable: {run.name} lived through other bars.")
        lines += [f"{run.name}: {note}" for note in run.notes if note not in policy.notes]
    return lines


def _write(path: Path, text: str) -> None:
    write_atomically(path, lambda aside: aside.write_text(text, encoding="utf-8"))
