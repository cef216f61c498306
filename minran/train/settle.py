"""What a recipe leaves open is decided by the number of images to train on.

A few images in large batches make a few steps, after which nothing is learnt.
"""

from __future__ import annotations

from dataclasses import replace

from minran.train.recipe import Recipe

BATCH, LEAST_BATCH = 128, 8
STEPS_AN_EPOCH = 8
EPOCHS, STEPS = 8, 600
UNSETTLED, PRECISE = 44, 1024
"""0.9^44 is about a hundredth: what is left of the first running statistics after so many steps."""


def settled(recipe: Recipe, count: int) -> tuple[Recipe, str]:
    """The recipe with nothing left open, for `count` images, and a line that says what came.

    batch_size: the largest of 128, 64, 32, 16 and 8 that makes at least 8 steps an epoch, else 8;
    but never more than all images. epochs: 8, or as many as 600 steps take, unless iterations
    are given. precise_norm: where the first test comes after fewer than 44 steps, so that more than
    a hundredth of the running statistics would be their initial 0 and 1, all images up to
    1,024, else none. What the recipe says is kept; "" if it leaves nothing open.
    """
    training, said = recipe.training, []
    batch, epochs, precise = training.batch_size, training.epochs, training.precise_norm
    if batch is None:
        batch = BATCH
        while batch > LEAST_BATCH and count // batch < STEPS_AN_EPOCH:
            batch //= 2
        batch = min(batch, count)
        said.append(f"batches of {batch}")
    steps = max(1, count // batch)
    if epochs is None and not training.iterations:
        epochs = max(EPOCHS, -(-STEPS // steps))
        said.append(f"{epochs} epochs of {steps} step{'s' * (steps > 1)}")
    if precise is None:
        first = min(training.test_every * steps, training.iterations or (epochs or 0) * steps)
        precise = min(count, PRECISE) if first < UNSETTLED else 0
        if precise:
            said.append(f"batch norm's statistics taken over {precise:,} before each test")
    line = f"{count:,} images to train on: {', '.join(said)}" if said else ""
    training = replace(training, batch_size=batch, epochs=epochs, precise_norm=precise)
    return replace(recipe, training=training), line
