# SPDX-License-Identifier: Apache-2.0
"""The kinds of features, one family a file: kernels, catalogue rows, and the switch over both.

A kernel reads the rows of `past` (see `mtquant.features.past`) up to row t and returns a float64.
A windowed kernel is a pure function of the rows its window covers. A recursive one also has a
state, float64, zero before the first bar and changed in place.
"""
