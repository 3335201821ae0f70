# SPDX-License-Identifier: Apache-2.0
"""Rewards of completions: parse, settle, and score with the functions that the agents use too."""
