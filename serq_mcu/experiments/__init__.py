"""Corpora x models x features x methods x protocols x seeds -> one results file -> tables and plots."""
