"""Clip to feature vector: the specification, its integer tables, and the integer reference of SPEC.md
section 2.
"""
