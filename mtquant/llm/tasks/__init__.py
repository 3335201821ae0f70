# SPDX-License-Identifier: Apache-2.0
"""Tasks: point-in-time examples, prompts, answers and what they were worth (`docs/llm-tasks.md`)."""
