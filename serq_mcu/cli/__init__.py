"""The command line: parse, call one function, print.

Heavy imports wait until a command needs them.
"""

from serq_mcu.cli import corpus, firmware, listening, models, report, setup, verification, voices
from serq_mcu.cli.shared import main

__all__ = ["corpus", "firmware", "listening", "main", "models", "report", "setup", "verification", "voices"]
