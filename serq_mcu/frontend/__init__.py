"""Clip to feature vector: specification, integer tables, and integer reference (SPEC.md section 2)."""
