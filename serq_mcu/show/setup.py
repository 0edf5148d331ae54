"""What is installed on this computer, as text."""

from __future__ import annotations

from serq_mcu.build.doctor import Diagnosis, Finding


def diagnosis_lines(diagnosis: Diagnosis) -> list[str]:
    """Return areas with their findings, then the commands that install what is missing."""
    width, lines = max(len(finding.name) for finding in diagnosis.findings) + 2, []
    for area in dict.fromkeys(finding.area for finding in diagnosis.findings):
        own = (finding for finding in diagnosis.findings if finding.area == area)
        lines += [area, *(_finding_line(finding, width) for finding in own)]
    missing = {
        finding.get: finding.needed_for for finding in diagnosis.findings if not finding.ready and finding.get
    }
    verdict = (
        "everything that export, check and verify need on this computer is installed"
        if diagnosis.ok
        else "something that is needed is missing"
    )
    return [*lines, "", *(f"{waits}: {get}" for get, waits in missing.items()), verdict]


def _finding_line(finding: Finding, width: int) -> str:
    state = "ready" if finding.ready else "MISSING" if finding.needed else "missing"
    return f"  {state:<10}{finding.name:<{width}}{finding.found}".rstrip()
