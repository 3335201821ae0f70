# SPDX-License-Identifier: Apache-2.0
"""A document as Markdown: texts and tables as they are, of a figure what it shows."""

from __future__ import annotations

from mtquant.evaluation.report.document import Block, Cell, Document, Figure, Table, Text


def markdown(document: Document) -> str:
    """The whole document."""
    parts = [head(document)]
    for chapter in document.chapters:
        parts.append(f"## {chapter.title}")
        parts += [block_markdown(block) for block in chapter.blocks]
    return "\n\n".join(parts) + "\n"


def head(document: Document) -> str:
    """Title, verdict and notes: what a terminal has room for."""
    bullets = "\n".join(f"- {line}" for line in (*document.verdict, *document.notes))
    return f"# {document.title}\n\n{document.subtitle}\n\n{bullets}"


def block_markdown(block: Block) -> str:
    """One block."""
    if isinstance(block, Text):
        return f"```\n{block.text}\n```" if block.verbatim else block.text
    if isinstance(block, Figure):
        return f"*Figure: {block.title}. {block.says}*"
    title = f"### {block.title}\n\n" if block.title else ""
    return f"{title}{table_markdown(block)}"


def table_markdown(table: Table) -> str:
    """Headings and rows; a bar in the text is escaped."""

    def line(cells: tuple[Cell, ...]) -> str:
        return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"

    others = len(table.headings) - 1
    rule = "|---|" + ("---|" if table.words else "---:|") * others
    return "\n".join([line(table.headings), rule, *(line(row) for row in table.rows)])
