"""Batches of a data set, reproducible and prepared while the training step runs."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice

import numpy as np

from minran.data import augment as augmentation
from minran.data.augment import Preprocess
from minran.data.dataset import Dataset, Pictures, need
from minran.errors import DataError
from minran.hints import checked

# (images, labels), or (images, labels, soft labels) with mixup.
Batch = tuple[np.ndarray, ...]

# First words of the random streams. They keep the order of epoch 5 apart from batch 0 of it:
# a seed sequence ignores trailing zeros, so [seed, 5] and [seed, 5, 0] would be one stream.
_ORDER_STREAM, _BATCH_STREAM = 1, 2


@checked(DataError, batch_size=1, seed=0, cutout=0, mixup=0, prefetch=0)
class Loader:
    """Serve a data set in batches, epoch by epoch.

    A batch is (images, labels): (N, H, W, C) float32 as `preprocess` makes them, (N,) int64; with
    mixup a third array holds soft labels, (N, K) float32. `preprocess=None` takes the per-pixel
    mean of this data set (right for training images; give test images the training set's).
    augment: "paper" (or True) for its pad, crop and flip, "imagenet" for `scale_crop_flip`;
    cutout: side of the hidden square; mixup: its alpha; prefetch: how many batches a background
    thread may be ahead (0: no thread; of `Pictures`, one thread for each of those batches). share:
    for one of several processes, which rows of a batch of n it takes (`distributed.share`); the
    other images of the batch are 0 and are not read, except with mixup, which needs them.

    The order of epoch k depends on (seed, k) alone, the augmentation of its batch i on
    (seed, k, i) alone. So `epoch(k, start=i)` goes on in the middle, bit for bit.

    Raises DataError for an empty data set, a batch size below 1 or a negative number.

    >>> loader = data.Loader(data.load_shapes(count=100), batch_size=40)
    >>> [images.shape[0] for images, labels in loader.epoch(0)]
    [40, 40, 20]
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        preprocess: Preprocess | None = None,
        *,
        augment: bool | str = False,
        shuffle: bool = False,
        seed: int = 0,
        drop_last: bool = False,
        cutout: int = 0,
        mixup: float = 0.0,
        prefetch: int = 3,
        share: Callable[[int], slice] | None = None,
    ) -> None:
        need(len(dataset) > 0, f"Loader: the data set {dataset.name} is empty")
        kinds = {False: "", True: "paper", "paper": "paper", "imagenet": "imagenet"}
        known = f'Loader: augment must be False, "paper" or "imagenet", got {augment!r}'
        need(augment in kinds, known)
        need(
            not drop_last or len(dataset) >= batch_size,
            f"Loader: batch_size {batch_size} is more than the {len(dataset)} images of "
            f"{dataset.name}, and drop_last leaves out a batch that is not full: choose "
            f"at most {len(dataset)}",
        )
        self.dataset, self.batch_size = dataset, batch_size
        self.preprocess = preprocess or Preprocess.fit(dataset.sample().images[:])
        size, own = self.preprocess.mean.shape, dataset.images.shape[1:]
        need(size == own, f"Loader: preprocess is for images {size}, not {own}")
        self.augment, self.cutout, self.mixup = kinds[augment], cutout, mixup
        self.shuffle, self.seed, self.drop_last = shuffle, seed, drop_last
        self.prefetch, self.share = prefetch, share

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        whole, rest = divmod(len(self.dataset), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    @checked(DataError, epoch=0)
    def order(self, epoch: int) -> np.ndarray:
        """Return the order in which `epoch` visits the images: a permutation of 0..N-1."""
        if not self.shuffle:
            return np.arange(len(self.dataset))
        rng = np.random.default_rng([_ORDER_STREAM, self.seed, epoch])
        return rng.permutation(len(self.dataset))

    @checked(DataError)
    def epoch(self, epoch: int, start: int = 0) -> Generator[Batch, None, None]:
        """Yield the batches of `epoch`, from batch `start` on.

        Raises DataError when `epoch` is negative or `start` is not in 0..len(self).
        """
        need(0 <= start <= len(self), f"Loader: start must lie in 0..{len(self)}, got {start}")
        order = self.order(epoch)
        prepare = partial(self._batch, order, epoch)
        if not self.prefetch:
            return (prepare(index) for index in range(start, len(self)))
        # Waiting for files, and making batches of them, is more than one thread can do.
        threads = self.prefetch + 1 if isinstance(self.dataset.images, Pictures) else 1
        return _prepare_ahead(prepare, range(start, len(self)), self.prefetch, threads)

    def plans(self, epoch: int) -> Iterator[np.ndarray]:
        """Yield what each image of each batch of `epoch` is, for code that cuts them elsewhere.

        A plan is (6, N) integers: the number of the image, top, left and mirrored of its window
        in the padded image, top and left of its hidden square; 0 where nothing is drawn.
        ImageNet's windows are no such plan: DataError.
        """
        need(self.augment != "imagenet", "Loader: there are no plans of augment='imagenet'")
        order = self.order(epoch)
        return (self._plan(order, epoch, index)[0] for index in range(len(self)))

    def _plan(
        self, order: np.ndarray, epoch: int, index: int
    ) -> tuple[np.ndarray, np.random.Generator]:
        """The plan of a batch, and the generator that drew it."""
        rng = np.random.default_rng([_BATCH_STREAM, self.seed, epoch, index])
        chosen = order[index * self.batch_size : (index + 1) * self.batch_size]
        plan = np.zeros((6, len(chosen)), np.int64)
        plan[0] = chosen
        if self.augment == "paper":
            plan[1:4] = augmentation.draw_windows(len(chosen), rng)
        if self.cutout:
            shape = len(chosen), *self.dataset.images.shape[1:]
            plan[4:6] = augmentation.draw_squares(shape, rng, self.cutout)
        return plan, rng

    def _batch(self, order: np.ndarray, epoch: int, index: int) -> Batch:
        """Prepare batch `index` of `epoch`."""
        plan, rng = self._plan(order, epoch, index)
        count, labels = len(plan[0]), self.dataset.labels[plan[0]]
        mine = self.share(count) if self.share and not self.mixup else slice(count)
        images = self.dataset.images[plan[0, mine]]
        if self.augment == "paper":
            images = augmentation.cut_windows(images, plan[1:4, mine])
        elif self.augment:
            drawn = augmentation.draw_variations((count, *images.shape[1:]), rng)
            images = augmentation.vary(images, drawn[:, mine])
        images = self.preprocess(images)
        if self.cutout:
            images = augmentation.hide_squares(images, plan[4:6, mine], self.cutout)
        if len(images) < count:
            whole = np.zeros((count, *images.shape[1:]), images.dtype)
            whole[mine] = images
            images = whole
        if self.mixup:
            soft = augmentation.one_hot(labels, self.dataset.num_classes)
            images, soft = augmentation.mixup(images, soft, self.mixup, rng)
            return images, labels, soft
        return images, labels


def _prepare_ahead(
    prepare: Callable[[int], Batch], numbers: Iterable[int], depth: int, threads: int
) -> Generator[Batch, None, None]:
    """Yield `prepare(number)` of all, which background threads call up to `depth` ahead.

    Their exceptions are raised again here. When the consumer stops early, a thread ends after the
    batch it is at. A child after a fork has no such thread: there the next batch is a DataError.
    """
    process = os.getpid()
    thread = ThreadPoolExecutor(threads, "minran-loader")
    waiting = iter(numbers)
    try:
        # One more than may wait: the one in the thread's hands.
        ahead = deque(thread.submit(prepare, n) for n in islice(waiting, depth + 1))
        while ahead:
            batch = ahead.popleft().result()
            ahead.extend(thread.submit(prepare, n) for n in islice(waiting, 1))
            yield batch
            forked = (
                "Loader: this epoch was begun before a fork, in another process; begin it again"
            )
            need(os.getpid() == process, f"{forked} with epoch(..., start=...)")
    finally:
        # A child has no thread to wait for, and locks that it held at the fork stay held.
        if os.getpid() == process:
            thread.shutdown(cancel_futures=True)
