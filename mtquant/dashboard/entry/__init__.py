# SPDX-License-Identifier: Apache-2.0
"""A folder of its own: Streamlit puts the folder of its script first on the path of imports, where
its neighbours' names would hide other people's modules.
"""
