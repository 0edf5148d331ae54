"""The command line: parse, call one function, print. Heavy imports wait until a command needs them."""

from serq_mcu.cli import computer, firmware, hear, models, proof, report, speech
from serq_mcu.cli.shared import main

__all__ = ["computer", "firmware", "hear", "main", "models", "proof", "report", "speech"]
