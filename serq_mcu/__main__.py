"""The command `serq-mcu`, and `python -m serq_mcu`."""

import sys


def main() -> None:
    """Run the command line.

    Ctrl-C while it is still being imported is no traceback either.
    """
    try:
        from serq_mcu.cli import main as run
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; nothing was begun\n")
        sys.exit(130)
    run(prog_name="serq-mcu")


if __name__ == "__main__":
    main()
