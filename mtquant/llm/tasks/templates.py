# SPDX-License-Identifier: Apache-2.0
"""Versioned templates: the text around the facts, and a hash that names it.

    template = template_of("stock_direction", "compact")
    template.prompt.format(company="OMNI (Omni Group)", history=..., facts="", next_day=5)
    template.hash  # stored with examples, models and reports

Raise `VERSION` whenever the code that fills a template in changes what a prompt says: a model is
served with the template it was trained on, or refused.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Literal

VERSION = 1
Style = Literal["compact", "instructed"]

CONFIDENT_ANSWER = "Prediction: {says}\nConfidence: {percent}%\nReasoning: {reasoning}"
# Two chances: the third is what is left to 100 %, so that no answer can state three that do not add
# up. Models that wrote all three were readable in a third of their answers (docs/results.md).
CHANCES_ANSWER = "Prediction: {says}\nChances: {home}% home, {draw}% draw\nReasoning: {reasoning}"

# Facts, question, what stands behind "Prediction:" and the format of the answer, by task.
_STOCK = "Company: {company}\n{history}{facts}Day {next_day}: ?\n"
_GAME = "{day}, {away} at {home}\n{facts}{question}\n"
_FORMS = {
    "stock_direction": (_STOCK, "UP or DOWN", CONFIDENT_ANSWER),
    "odds_winner": (_GAME, "the name of the winner", CONFIDENT_ANSWER),
    "odds_spread": (_GAME, "home score minus away score, a number", CONFIDENT_ANSWER),
    "odds_total": (_GAME, "Yes or No", CONFIDENT_ANSWER),
    "odds_1x2": (_GAME, "the name of the winner, or Draw", CHANCES_ANSWER),
}
QUESTIONS = {
    "odds_winner": "Who will win: {home} vs {away}?",
    "odds_spread": "Predict score difference: {home} vs {away}, line {line}",
    "odds_total": "Will total be over {line}?",
    "odds_1x2": "Who will win: {home} vs {away}, or Draw?",
}


@dataclass(frozen=True)
class Template:
    """The texts of one task in one style.

    Attributes:
        task: Name of the task.
        style: ``"compact"``: facts and question; ``"instructed"``: with what a pretrained model has
            to be told.
        prompt: Text with ``{fields}``.
        answer: Text of a reference answer, with ``{fields}``.
        version: `VERSION` when it was made.
    """

    task: str
    style: Style
    prompt: str
    answer: str
    version: int = VERSION

    @property
    def hash(self) -> str:
        """sha256, hexadecimal, of everything above."""
        identity = [self.task, self.style, self.prompt, self.answer, self.version]
        return hashlib.sha256(json.dumps(identity).encode()).hexdigest()


def template_of(task: str, style: Style) -> Template:
    """The template of a task.

    Args:
        task: A name of `TaskConfig.name`.
        style: Which of its texts.
    """
    prompt, form, answer = _FORMS[task]
    if style == "instructed":
        prompt = _introduction(form, answer) + prompt
    return Template(task, style, prompt, answer)


def _introduction(form: str, answer: str) -> str:
    """What a model that has not seen the format needs to know."""
    stated = (
        "Confidence: <chance that you are right>%"
        if answer == CONFIDENT_ANSWER
        else "Chances: <home>% home, <draw>% draw (what is left to 100% is the away team's)"
    )
    return (
        "Forecast what comes next from the facts below. Answer in exactly three lines:\n"
        f"Prediction: <{form}>\n{stated}\n"
        "Reasoning: <one or two sentences that quote figures of the facts>\n\n"
    )
