from __future__ import annotations

import gc
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minran.data import Dataset, Loader, Preprocess
from minran.errors import DataError


def numbered(count, classes=3, size=6):
    """Picture n is filled with the byte n."""
    images = (
        np.zeros((count, size, size, 3), np.uint8)
        + np.arange(count, dtype=np.uint8)[:, None, None, None]
    )
    labels = np.arange(count) % classes
    return Dataset(images, labels, tuple("abcdefgh"[:classes]), "numbered")


RAW = Preprocess(np.zeros((6, 6, 3), np.float32), std=1.0)


def loader_threads():
    return [t for t in threading.enumerate() if t.name.startswith("minran-loader")]


def same(first, second):
    first, second = list(first), list(second)
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert x.dtype == y.dtype and x.tobytes() == y.tobytes()


@given(
    count=st.integers(1, 40),
    batch_size=st.integers(1, 12),
    drop_last=st.booleans(),
    shuffle=st.booleans(),
    prefetch=st.integers(0, 3),
)
@settings(max_examples=40, deadline=None)
def test_an_epoch_shows_every_picture_once(count, batch_size, drop_last, shuffle, prefetch):
    drop_last = drop_last and count >= batch_size
    loader = Loader(
        numbered(count), batch_size, RAW, shuffle=shuffle, drop_last=drop_last, prefetch=prefetch
    )
    batches = list(loader.epoch(2))
    assert len(batches) == len(loader)
    for images, labels in batches[:-1]:
        assert images.shape == (batch_size, 6, 6, 3) and labels.shape == (batch_size,)
    seen = np.concatenate([images[:, 0, 0, 0] for images, _ in batches])
    labels = np.concatenate([labels for _, labels in batches])
    np.testing.assert_array_equal(labels, seen % 3)
    assert len(set(seen)) == len(seen) == (count // batch_size * batch_size if drop_last else count)
    if not shuffle:
        np.testing.assert_array_equal(seen, np.arange(len(seen)))


def make(prefetch=2, seed=5, **options):
    options = {"augment": True, "shuffle": True, "cutout": 2, "mixup": 0.3} | options
    return Loader(numbered(50), 8, seed=seed, prefetch=prefetch, **options)


def test_types():
    images, labels, soft = next(make(0).epoch(0))
    assert images.dtype == np.float32 and images.flags.c_contiguous
    assert labels.dtype == np.int64 and soft.dtype == np.float32 and soft.shape == (8, 3)
    assert len(next(make(0, mixup=0).epoch(0))) == 2


@pytest.mark.parametrize("start", [0, 1, 4, 7])
@pytest.mark.parametrize("prefetch", [0, 1, 3])
def test_resuming_in_the_middle_is_exact(start, prefetch):
    whole = list(make(0).epoch(3))
    same(whole[start:], make(prefetch).epoch(3, start=start))
    varied = make(0, augment="imagenet")
    same(list(varied.epoch(3))[start:], make(prefetch, augment="imagenet").epoch(3, start=start))


def test_epochs_and_seeds_differ_and_repeat():
    same(make().epoch(1), make().epoch(1))
    first = next(make().epoch(0))[0]
    assert (first != next(make().epoch(1))[0]).any()
    assert (first != next(make(seed=6).epoch(0))[0]).any()
    loader = make()
    list(loader.epoch(0))
    same(loader.epoch(0), make().epoch(0))  # no state is left behind
    same(make(augment="paper").epoch(1), make().epoch(1))
    assert (first != next(make(augment="imagenet").epoch(0))[0]).any()
    with pytest.raises(DataError, match="no plans"):
        make(augment="imagenet").plans(0)


def test_batches_of_an_epoch_are_augmented_differently():
    data = numbered(16)
    data = data.subset(np.zeros(16, int) + 7)
    loader = Loader(data, 8, RAW, augment=True, seed=1)
    first, second = (images for images, _ in loader.epoch(0))
    assert (first != second).any()
    again = next(loader.epoch(1))[0]
    assert (first != again).any()


def test_all_random_streams_differ(monkeypatch):
    """Seed sequences ignore trailing zeros: [seed, epoch] and [seed, epoch, 0] are one stream."""
    streams = []

    def recording(words):
        streams.append(tuple(np.random.SeedSequence(words).generate_state(4)))
        return np.random.Generator(np.random.PCG64(words))

    monkeypatch.setattr(np.random, "default_rng", recording)
    for seed in range(3):
        loader = Loader(numbered(40), 10, RAW, shuffle=True, augment=True, seed=seed, prefetch=0)
        for epoch in range(3):
            list(loader.epoch(epoch))
    assert len(streams) == len(set(streams)) == 3 * 3 * (1 + 4)


def test_the_order_of_another_epoch_is_another():
    loader = Loader(numbered(40), 10, RAW, shuffle=True, seed=9)
    assert sorted(loader.order(0)) == list(range(40))
    assert (loader.order(0) != loader.order(1)).any()


def test_without_preprocess_the_data_sets_own_mean_goes():
    loader = Loader(numbered(10), 10)
    images, _ = next(loader.epoch(0))
    np.testing.assert_allclose(images.mean(axis=0), 0, atol=1e-6)


def test_early_exit_ends_the_thread():
    for _ in make(prefetch=1).epoch(0):
        break
    gc.collect()
    assert loader_threads() == []
    epoch = make(prefetch=3).epoch(0)
    next(epoch)
    assert len(loader_threads()) == 1
    epoch.close()
    assert loader_threads() == []
    list(make(prefetch=3).epoch(0))
    assert loader_threads() == []


def test_an_exception_in_the_consumer_ends_the_thread():
    def step():
        for _ in make(prefetch=2).epoch(0):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        step()
    gc.collect()
    assert loader_threads() == []


@pytest.mark.parametrize("error", [ValueError("broken image"), KeyboardInterrupt()])
def test_an_exception_in_the_thread_reaches_the_consumer(error):
    class Breaking(Preprocess):
        calls = 0

        def __call__(self, images):
            Breaking.calls += 1
            if Breaking.calls == 3:
                raise error
            return super().__call__(images)

    loader = Loader(numbered(50), 8, Breaking(RAW.mean), prefetch=2)
    served = []
    with pytest.raises(type(error)) as caught:
        served.extend(loader.epoch(0))
    assert caught.value is error and len(served) == 2
    assert loader_threads() == []


def test_batches_are_prepared_ahead_but_not_without_bound():
    class Counting(Preprocess):
        calls = 0

        def __call__(self, images):
            Counting.calls += 1
            return super().__call__(images)

    epoch = Loader(numbered(50), 2, Counting(RAW.mean), prefetch=4).epoch(0)
    next(epoch)
    deadline = time.monotonic() + 5
    while Counting.calls < 6 and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(0.05)
    # One served, four waiting, one in the thread's hands.
    assert Counting.calls == 6
    epoch.close()


def test_an_epoch_may_begin_at_its_end():
    assert list(Loader(numbered(10), 5).epoch(0, start=2)) == []
