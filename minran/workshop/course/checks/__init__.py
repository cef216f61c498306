"""The checks of the exercises: `check_3_1` judges task 03.1."""

NOTEBOOKS = {
    "gradients": range(7),
    "network": range(7, 12),
    "training": range(12, 16),
    "limits": range(16, 19),
}
"""By file: the notebooks whose checks it holds."""
