"""What a recipe leaves open is decided by the number of pictures to train on.

A few pictures in large batches make a few steps, after which nothing is learnt.
"""

from __future__ import annotations

from dataclasses import replace

from minran.train.recipe import Recipe

BATCH, LEAST_BATCH = 128, 8
STEPS_AN_EPOCH = 8
EPOCHS, STEPS = 8, 600


def settled(recipe: Recipe, count: int) -> tuple[Recipe, str]:
    """The recipe with nothing left open, for `count` pictures, and a line that says what came.

    batch_size: the largest of 128, 64, 32, 16 and 8 that makes at least 8 steps an epoch, else 8;
    but never more than all pictures. epochs: 8, or as many as 600 steps take, unless iterations
    are given. What the recipe says is kept; "" if it leaves nothing open.
    """
    training, said = recipe.training, []
    batch, epochs = training.batch_size, training.epochs
    if batch is None:
        batch = BATCH
        while batch > LEAST_BATCH and count // batch < STEPS_AN_EPOCH:
            batch //= 2
        batch = min(batch, count)
        said.append(f"batches of {batch}")
    if epochs is None and not training.iterations:
        steps = max(1, count // batch)
        epochs = max(EPOCHS, -(-STEPS // steps))
        said.append(f"{epochs} epochs of {steps} step{'s' * (steps > 1)}")
    line = f"{count:,} pictures to train on: {', '.join(said)}" if said else ""
    training = replace(training, batch_size=batch, epochs=epochs)
    return replace(recipe, training=training), line
