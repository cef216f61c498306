"""Label noise, as in Table 5 of the paper."""

from __future__ import annotations

import numpy as np

from minran.errors import DataError, expect
from minran.hints import checked


@checked(DataError)
def label_noise_matrix(num_classes: int, clean_ratio: float) -> np.ndarray:
    """Return the transition matrix of Eq. 7: a label stays with probability r = clean_ratio.

    Q[i, i] = r and Q[i, j] = (1 - r) / (K - 1) elsewhere: row i holds the probabilities of the
    labels that a picture of class i gets. Returns (K, K) float64. The paper's Table 5 prints the
    noise level 1 - r.

    Raises DataError unless K >= 2 and 0 <= r <= 1.

    >>> data.label_noise_matrix(3, clean_ratio=0.5)
    array([[0.5 , 0.25, 0.25],
           [0.25, 0.5 , 0.25],
           [0.25, 0.25, 0.5 ]])
    """
    expect(num_classes >= 2, f"num_classes must be at least 2, got {num_classes}", DataError)
    expect(0 <= clean_ratio <= 1, f"clean_ratio must lie in [0, 1], got {clean_ratio}", DataError)
    matrix = np.full((num_classes, num_classes), (1 - clean_ratio) / (num_classes - 1))
    np.fill_diagonal(matrix, clean_ratio)
    return matrix


@checked(DataError)
def corrupt_labels(labels: np.ndarray, matrix: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw a new label for every label from its row of the transition matrix.

    labels: (N,) integers in [0, K); matrix: (K, K), rows summing to 1; returns (N,) int64.

    Raises DataError when the matrix is not a transition matrix or a label has no row in it.
    """
    square = matrix.ndim == 2 and matrix.shape[0] == matrix.shape[1]
    expect(square, f"the transition matrix must be square, got shape {matrix.shape}", DataError)
    expect(
        bool((matrix >= 0).all()) and np.allclose(matrix.sum(axis=1), 1),
        "every row of the transition matrix must hold probabilities that sum to 1, "
        f"got row sums {matrix.sum(axis=1)}",
        DataError,
    )
    message = f"labels must be (N,) integers, got {labels.shape} {labels.dtype}"
    expect(labels.ndim == 1 and labels.dtype.kind in "iu", message, DataError)
    if labels.size:
        message = f"labels must lie in 0..{len(matrix) - 1}, got {labels.min()}..{labels.max()}"
        expect(bool(labels.min() >= 0) and bool(labels.max() < len(matrix)), message, DataError)
    # Inverse transform sampling: the new label is the number of cumulative probabilities that a
    # uniform number has passed. The last one, 1 up to rounding, is left out: nothing passes it.
    cumulative = np.cumsum(matrix, axis=1)[:, :-1]
    uniform = rng.random((len(labels), 1))
    return (uniform >= cumulative[labels]).sum(axis=1, dtype=np.int64)
