"""The checks of the exercises: `check_16_1` judges task 16.1, `check_0b_1` task 00b.1."""

NOTEBOOKS = {
    "first_hour": ("00b",),
    "gradients": tuple(f"{number:02}" for number in range(7)),
    "network": ("07", "08", "09", "10", "11"),
    "training": ("12", "13", "14", "15"),
    "limits": ("16", "17", "18"),
}
"""By file: the notebooks whose checks it holds."""
