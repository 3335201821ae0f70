# SPDX-License-Identifier: Apache-2.0
"""Evaluation of answers: every score beside simple rivals, with intervals (`docs/llm-tasks.md`)."""
