"""The integer model on recordings: clips and streams."""
