# SPDX-License-Identifier: Apache-2.0
"""Tasks: point-in-time examples, prompts, answers and their worth (`docs/llm-tasks.md`)."""
