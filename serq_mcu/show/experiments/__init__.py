"""The page of an experiment: tables and plots from a results file; nothing is trained."""
