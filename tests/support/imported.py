"""What an imported network answers, to be compared with the framework that saved it."""

from __future__ import annotations

import numpy as np

from serq_mcu.training.chain import ImportedNetwork


def answers(found: ImportedNetwork, x: np.ndarray) -> np.ndarray:
    """The scores [inputs, classes] of a network that was read, computed as the device's layers are."""
    rows = x.reshape(-1, found.coefficients)
    mean, sd = rows.mean(axis=0, dtype=np.float64), rows.std(axis=0, dtype=np.float64)
    features = rows if found.first is not None else rows * sd + mean  # without a scaling, x is in deviations
    network = found.standardised(mean, sd)
    return network.logits(((features - network.mean) / network.sd).reshape(x.shape))


def as_saved(scores: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Scores as the model that was saved tells them: as they are, or as shares or their logarithms."""
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    if expected.shape[1] == 1:
        return shares[:, 1:]
    if np.allclose(expected.sum(axis=1), 1, atol=1e-4):
        return shares
    logarithms = np.allclose(np.exp(expected).sum(axis=1), 1, atol=1e-4)
    return np.log(shares) if logarithms else scores
