"""Templates to text.

Templates emit data, names and the order of calls; what they need is computed elsewhere.
"""

from __future__ import annotations

import functools
from typing import Any

import jinja2

from serq_mcu.base import resources
from serq_mcu.base.csource import c_numbers, c_statement, c_string
from serq_mcu.base.text import markdown_text

ABI = 7  # of firmware/lib/serq: generated files refuse another runtime


def render(template: str, **names: Any) -> str:
    """Fill a template; an undefined name is an error, and the same values give the same bytes."""
    return _environment().get_template(template).render(**names)


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(resources.TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # C, not HTML; strings pass c_string
    )
    environment.filters |= {
        "c_string": c_string,
        "c_numbers": c_numbers,
        "c_statement": c_statement,
        "markdown": markdown_text,
    }
    return environment
