"""`python -m serq_mcu`."""

from serq_mcu.cli import main

main(prog_name="serq-mcu")
