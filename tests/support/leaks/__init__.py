# SPDX-License-Identifier: Apache-2.0
"""Leaks that are planted for `mtquant verify` to find; `verify` knows none of their names.

for plant in PLANTS:
    report = verify(plant.subject())
    assert plant.check in report.failed
"""
