"""The checks of the exercises: `n03.check_3_1` judges task 03.1."""
