"""A bad line, on purpose: bytes corrupted and lost, messages cut, doubled, late and out of order.

What goes wrong is random but reproducible.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from serq_mcu.harness.transports import Transport


@dataclass(frozen=True)
class Faults:
    """How bad a line is.

    Probabilities of a byte or of a message (what is written or read at once); 0: never.
    """

    corrupted: float = 0.0  # of a byte: another takes its place
    burst_every: float = 0.0  # bytes, on average, from one burst of lost bytes to the next
    burst_bytes: int = 64
    lost: float = 0.0  # of a message
    cut: float = 0.0  # of a message: its end is lost, as by a full buffer
    doubled: float = 0.0  # of a message
    late: float = 0.0  # of a message: it comes after the next
    stale: float = 0.0  # of a message: it comes, and comes again some messages later


class FaultyTransport:
    """`inner` with faults in both directions.

    `incidents` counts them by kind.
    """

    def __init__(self, inner: Transport, faults: Faults, seed: int) -> None:
        self.name = inner.name
        self.incidents: dict[str, int] = {}
        self.passed = 0  # bytes, both ways
        self._inner = inner
        rng = random.Random(seed)
        self._there, self._back = (
            _Direction(faults, rng, self.incidents),
            _Direction(faults, rng, self.incidents),
        )

    def write(self, data: bytes) -> None:
        """Send bytes over the bad line."""
        self.passed += len(data)
        if spoilt := self._there.spoil(data):
            self._inner.write(spoilt)

    def read(self, timeout: float) -> bytes:
        """Return what the bad line lets through."""
        data = self._inner.read(timeout)
        self.passed += len(data)
        return self._back.spoil(data)

    def seconds(self, count: int) -> float:
        """Return how long `count` bytes take on the line."""
        return self._inner.seconds(count)

    def close(self) -> None:
        """Close the transport beneath."""
        self._inner.close()


class _Direction:
    def __init__(self, faults: Faults, rng: random.Random, incidents: dict[str, int]) -> None:
        self._faults, self._rng, self._incidents = faults, rng, incidents
        self._to_corruption = self._distance(faults.corrupted)
        self._to_burst = self._distance(1 / faults.burst_every if faults.burst_every else 0.0)
        self._burst_left = 0
        self._held: list[tuple[int, bytes]] = []  # messages still to pass before, and what then comes

    def spoil(self, data: bytes) -> bytes:
        """Return what comes out for what goes in, now."""
        if not data:
            return data
        faults = self._faults
        data = self._burst(self._corrupt(data))
        if faults.cut and self._happens(faults.cut, "cut"):
            data = data[: self._rng.randrange(len(data) + 1)]
        if faults.doubled and self._happens(faults.doubled, "doubled"):
            data += data
        after = b"".join(held for passes, held in self._held if not passes)
        self._held = [(passes - 1, held) for passes, held in self._held if passes]
        if faults.stale and self._happens(faults.stale, "stale"):
            self._held.append((self._rng.randrange(1, 40), data))
        if faults.late and self._happens(faults.late, "late"):
            self._held.append((0, data))
            data = b""
        if faults.lost and self._happens(faults.lost, "lost"):
            data = b""
        return data + after

    def _corrupt(self, data: bytes) -> bytes:
        if self._to_corruption >= len(data):
            self._to_corruption -= len(data)
            return data
        spoilt = bytearray(data)
        while self._to_corruption < len(data):
            spoilt[self._to_corruption] ^= self._rng.randrange(1, 256)
            self._count("corrupted")
            self._to_corruption += 1 + self._distance(self._faults.corrupted)
        self._to_corruption -= len(data)
        return bytes(spoilt)

    def _burst(self, data: bytes) -> bytes:
        kept = b""
        while data:
            if self._burst_left:
                lost = min(self._burst_left, len(data))
                self._burst_left -= lost
                data = data[lost:]
            elif self._to_burst >= len(data):
                self._to_burst -= len(data)
                return kept + data
            else:
                kept, data = kept + data[: self._to_burst], data[self._to_burst :]
                self._count("burst")
                self._burst_left, self._to_burst = (
                    self._faults.burst_bytes,
                    self._distance(1 / self._faults.burst_every),
                )
        return kept

    def _distance(self, probability: float) -> int:
        """Draw the bytes that pass before the next of independent events of a probability per byte."""
        return int(self._rng.expovariate(1.0) / -math.log1p(-probability)) if probability else 2**62

    def _happens(self, probability: float, kind: str) -> bool:
        happens = self._rng.random() < probability
        if happens:
            self._count(kind)
        return happens

    def _count(self, kind: str) -> None:
        self._incidents[kind] = self._incidents.get(kind, 0) + 1
