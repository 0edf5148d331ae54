"""A layout: fields of 8 bits as plain bytes, and one loop for all cores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from serq_mcu.layers.kernels import KernelCost
from serq_mcu.layers.packing import Index, Layout, Shape

_HERE = Path(__file__).parent


def _place(o: Index, i: Index, k: Index, shape: Shape) -> tuple[Index, Any]:
    return 8 * (o * shape.padded_inputs + i) + k, False


PLAIN_BYTES = Layout(
    "toy_bytes",
    widths=(8,),
    word_bytes=1,
    rows=1,
    last_first=0,
    place=_place,
    headers=("toy_bytes.h",),
    sources=(_HERE / "toy_bytes.c", _HERE / "toy_bytes.h"),
)
# made-up costs, low enough that it is chosen for each layer of 8 bits
COSTS = {
    core: {"toy_bytes": KernelCost((0.1, 0.0, 0.0, 0.0, 0.0), code=100, cycles=(0.1, 0.0, 0.0, 0.0, 0.0))}
    for core in ("Cortex-M0", "Cortex-M4F", "Xtensa lx106", "RISC-V RV32IMC")
}
