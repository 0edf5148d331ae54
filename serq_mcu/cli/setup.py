"""This computer: doctor, completion."""

from __future__ import annotations

import sys

import click

from serq_mcu.cli.shared import json_option, main, print_result


@main.command()
@json_option
def doctor(as_json: bool) -> None:
    """Show what is installed, what is missing and the command that installs it: Python packages, compilers,
    emulators, PlatformIO, serial ports.

    Exit 1 only if export, check or verify on this computer would not work.

    Example: serq-mcu doctor
    """
    from serq_mcu.build.doctor import diagnose
    from serq_mcu.show.setup import diagnosis_lines

    diagnosis = diagnose()
    print_result(diagnosis.to_json(), diagnosis_lines(diagnosis), as_json)
    sys.exit(0 if diagnosis.ok else 1)


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that lets a shell complete commands, options and boards when Tab is pressed.

    For bash: put `eval "$(serq-mcu completion bash)"` into ~/.bashrc; zsh alike, into ~/.zshrc; for fish:
    `serq-mcu completion fish | source` in ~/.config/fish/config.fish.

    Example: serq-mcu completion bash
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    made = kind(main, {}, "serq-mcu", "_SERQ_MCU_COMPLETE")
    click.echo(made.source_template % made.source_vars())
