"""A teacher for networks that have few clips to learn from: kernel ridge regression.

Its soft answers take the place of labels. A network of some ten thousand weights and five hundred clips
follows its random start as much as the clips; kernel ridge regression with radial basis functions (Hastie,
Tibshirani and Friedman, Elements of Statistical Learning, 5.8) has no random start and is next to a support
vector machine. It is too large for a device, as it keeps every clip; but it answers for any blend of clips
(mixup), so that a network can learn its whole function instead of the labels at some points (distillation,
Hinton et al. 2015).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ANCHORS = 6000  # at most: a system of that many equations is solved in seconds
RIDGE = 0.1  # this and the next by a look at cross-validation on SAVEE (docs/product.md)
BLENDS = 32768  # of clips that it answers for, when blends are learned from; each is presented some times
_AT_ONCE = 2048  # inputs: 50 MB of distances
SHARPNESS = 6.0  # of the softmax over answers, which lie about 0 to 1


class KernelTeacher:
    """Answers of kernel ridge regression to standardised features.

    inputs: standardised float [n, features]; targets: one-hot float [n, classes]; gamma: of the kernel
    exp(-gamma / features * squared distance), 1 is scikit-learn's "scale". chances: how much each input
    counts, of sum 1, without which all count alike. ANCHORS of the inputs are kept, the first, or drawn by
    their chances; where all are, their errors weigh by them.
    """

    def __init__(
        self,
        inputs: NDArray[np.floating],
        targets: NDArray[np.floating],
        gamma: float = 1.0,
        chances: NDArray[np.floating] | None = None,
    ) -> None:
        from sklearn.kernel_ridge import KernelRidge
        from threadpoolctl import threadpool_limits

        kept, weight = np.arange(len(inputs))[:ANCHORS], None
        if chances is not None and len(inputs) > ANCHORS:
            kept = np.random.default_rng(0).choice(len(inputs), ANCHORS, replace=False, p=chances)
        elif chances is not None:
            weight = chances * len(inputs)
        anchors, wanted = inputs[kept], targets[kept]
        self._gamma, self._mean = gamma / anchors.shape[1], np.average(wanted, axis=0, weights=weight)
        regression = KernelRidge(alpha=RIDGE, kernel="rbf", gamma=self._gamma)
        with threadpool_limits(1):  # sums depend on the number of threads
            self._weights = regression.fit(anchors, wanted - self._mean, weight).dual_coef_
        self._anchors, self._squares = anchors, (anchors**2).sum(axis=1)

    def answers(self, inputs: NDArray[np.floating]) -> NDArray[np.floating]:
        """Compute probabilities [n, classes] for standardised features [n, features], of their type."""
        from threadpoolctl import threadpool_limits

        parts = range(0, len(inputs), _AT_ONCE)
        with threadpool_limits(1):
            answered = [self._some(inputs[at : at + _AT_ONCE]) for at in parts]
        found: NDArray[np.floating] = np.concatenate(answered)
        return found

    def _some(self, inputs: NDArray[np.floating]) -> NDArray[np.floating]:
        anchors, squares, weights, mean = (
            values.astype(inputs.dtype)
            for values in (self._anchors, self._squares, self._weights, self._mean)
        )
        apart = (inputs**2).sum(axis=1)[:, None] + squares - 2 * inputs @ anchors.T
        odds = np.exp(SHARPNESS * (np.exp(-self._gamma * apart) @ weights + mean))
        shares: NDArray[np.floating] = odds / odds.sum(axis=1, keepdims=True)
        return shares
