# SPDX-License-Identifier: Apache-2.0
"""Language models that predict stocks and odds, on the same settlement and rewards as the agents.

    config = TaskConfig()  # the synthetic stock task, whose best answer is known
    task = make_task(config)
    examples = task.examples("train", balanced=True)
    scores = task.reward("stage1")(examples.prompts, examples.answers, examples.columns)

`tasks` makes prompts and reads answers, `rewards` says what an answer was worth, `evaluation`
judges a set of answers beside simple rivals, `signals` and `policy` bring them into the hierarchy.
"""
