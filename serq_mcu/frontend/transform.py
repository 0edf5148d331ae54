"""The transform of real samples in integers: the FFT of packed points and the spectrum that it gives.

SPEC.md section 2, steps 3 and 4. Arrays have the frames last. `twiddle` is int16 [L/4, 2], cos and sin of
2*pi*k/L in Q15, for a transform of L real samples, packed as L/2 complex points.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Complex = tuple[NDArray[np.float64], NDArray[np.float64]]  # real and imaginary integers, exact in float64


def bit_reversal(points: int) -> NDArray[np.int64]:
    """Index [points] whose entry p is p with its log2(points) bits reversed."""
    order = np.zeros(1, dtype=np.int64)
    while order.size < points:
        order = np.concatenate([2 * order, 2 * order + 1])
    return order


def fft(twiddle: NDArray[np.int16], z: Complex) -> Complex:
    """Transform points [L/2, frames] in bit-reversed order, each doubled as often as its place has ones."""
    re, im = z[0].copy(), z[1].copy()
    points, frames = re.shape
    cosine, sine = twiddle.astype(np.float64).T / 65536
    m = 1
    while m < points:
        quarter = max(m // 2, 1)
        step = points // m  # N / 2m
        c, s = cosine[: quarter * step : step].copy()[:, None], sine[: quarter * step : step].copy()[:, None]
        c[0], s[0] = 0.5, 0.0  # q = 0: mulw becomes >> 1
        block_re, block_im = (
            part.reshape(points // (2 * m), 2, m // quarter, quarter, frames) for part in (re, im)
        )
        b_re, b_im = block_re[:, 1], block_im[:, 1]
        t_re = _mulw(b_re, c) + _mulw(b_im, s)
        t_im = _mulw(b_im, c) + _mulw(b_re, -s)
        if m >= 2:  # the second half of the block is turned by another quarter of a circle
            t_re[:, 1], t_im[:, 1] = t_im[:, 1].copy(), -t_re[:, 1]
        for block, t in ((block_re, t_re), (block_im, t_im)):
            block[:, 1] = block[:, 0] - t
            block[:, 0] += t
        m *= 2
    return re, im


def spectrum_of(twiddle: NDArray[np.int16], z: Complex) -> Complex:
    """Return twice the spectrum, bins [L/2+1, frames], of transformed points; its upper half conjugate."""
    re, im = z
    points = len(re)
    half = points // 2
    out_re, out_im = np.zeros((points + 1, re.shape[1])), np.zeros((points + 1, re.shape[1]))
    out_re[0], out_re[points] = 2 * (re[0] + im[0]), 2 * (re[0] - im[0])
    out_re[half], out_im[half] = 2 * re[half], -2 * im[half]
    c, s = (part[1:half, None].astype(np.float64) / 65536 for part in twiddle.T)
    p_re, p_im, y_re, y_im = re[1:half], im[1:half], re[:half:-1], im[:half:-1]
    e_re, e_im, o_re, o_im = p_re + y_re, p_im - y_im, p_im + y_im, y_re - p_re
    t_re = _mulw(o_re, c) + _mulw(o_im, s)
    t_im = _mulw(o_im, c) - _mulw(o_re, s)
    out_re[1:half], out_im[1:half] = e_re + 2 * t_re, e_im + 2 * t_im
    out_re[:half:-1][1:], out_im[:half:-1][1:] = e_re - 2 * t_re, e_im - 2 * t_im
    return out_re, out_im


def _mulw(a: NDArray[np.float64], w: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute floor(a * w) for an integer |a| < 2^31 and w = coefficient / 2^16.

    The product has 47 bits, which float64 holds exactly.
    """
    return np.floor(a * w)
