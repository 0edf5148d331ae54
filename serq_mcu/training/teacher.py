"""A teacher for networks that have few clips to learn from: kernel ridge regression.

Its soft answers take the place of labels. A network of some ten thousand weights and five hundred clips
follows its random start as much as the clips; kernel ridge regression with radial basis functions (Hastie,
Tibshirani and Friedman, Elements of Statistical Learning, 5.8) has no random start and is next to a support
vector machine. It is too large for a device, as it keeps every clip; but it answers for any blend of clips
(mixup), so that a network can learn its whole function instead of the labels at some points (distillation,
Hinton et al. 2015).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

ANCHORS = 4000  # at most: a system of that many equations is solved in seconds
RIDGE = 0.1  # this and the next by a look at cross-validation on SAVEE (docs/product.md)
SHARPNESS = 6.0  # of the softmax over answers, which lie about 0 to 1


class KernelTeacher:
    """Answers of kernel ridge regression to standardised features.

    Its width is that of scikit-learn's "scale": gamma is 1 / features. inputs: standardised float [n,
    features]; targets: one-hot float [n, classes]. The first ANCHORS of them are kept.
    """

    def __init__(self, inputs: NDArray[np.floating], targets: NDArray[np.floating]) -> None:
        from sklearn.kernel_ridge import KernelRidge

        anchors, wanted = (np.asarray(values[:ANCHORS], dtype=np.float64) for values in (inputs, targets))
        self._gamma, self._mean = 1 / anchors.shape[1], wanted.mean(axis=0)
        self._weights = (
            KernelRidge(alpha=RIDGE, kernel="rbf", gamma=self._gamma)
            .fit(anchors, wanted - self._mean)
            .dual_coef_
        )
        self._anchors, self._squares = anchors, (anchors**2).sum(axis=1)

    def teach(self, inputs: Any, _labels: Any = None) -> tuple[Any, Any]:
        """Replace the labels of standardised features [n, features] by probabilities [n, classes].

        All are TensorFlow tensors.
        """
        import tensorflow as tf

        anchors, squares, weights, mean = (
            tf.constant(values, dtype=inputs.dtype)
            for values in (self._anchors, self._squares, self._weights, self._mean)
        )
        apart = (
            tf.reduce_sum(inputs * inputs, axis=1, keepdims=True)
            + squares
            - 2 * tf.matmul(inputs, anchors, transpose_b=True)
        )
        return inputs, tf.nn.softmax(SHARPNESS * (tf.matmul(tf.exp(-self._gamma * apart), weights) + mean))
