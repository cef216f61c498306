"""Wrong calls of `minran.data`: expression | error | a word in it."""

_WHOLE = ("2.5", "'3'", "True", "[3]", "np.nan", "-1", "np.inf")
_NO_ARRAYS = ("None", "[[1, 2]]", "'a'", "3", "np.ones((2, 3))")

ROWS = (
    "\n".join(
        [f"data.load_shapes(count={size}) | DataError | count" for size in (*_WHOLE, "0")]
        + [f"data.load_shapes(size={size}) | DataError | size" for size in (*_WHOLE, "15", "None")]
        + [f"data.load_shapes(seed={size}) | DataError | seed" for size in (*_WHOLE, "None")]
        + [f"data.load_folder('.', size={size}) | DataError | size" for size in (*_WHOLE, "0")]
        + [
            f"data.load_folder('.', test_fraction={size}) | DataError | test_fraction"
            for size in ("0", "1", "-1", "np.nan", "'a'", "None", "True")
        ]
        + [
            f"data.Loader(shapes, {size}) | DataError | batch_size"
            for size in (*_WHOLE, "0", "None")
        ]
        + [
            f"data.Loader(shapes, 4, {name}={size}) | DataError | {name}"
            for name in ("seed", "cutout", "prefetch")
            for size in _WHOLE
        ]
        + [
            f"data.Loader(shapes, 4, {name}='no') | DataError | {name}"
            for name in ("augment", "shuffle", "drop_last")
        ]
        + [
            f"data.{call}({images}{rest}) | ShapeError | images"
            for call, rest in (
                ("pad_crop_flip", ", rng"),
                ("cutout", ", rng"),
                ("mixup", ", np.ones((2, 3)), 1.0, rng"),
                ("per_pixel_mean", ""),
                ("Preprocess.fit", ""),
            )
            for images in _NO_ARRAYS
            if (call, images) != ("mixup", "np.ones((2, 3))")
        ]
        + [f"data.pad_crop_flip(images, rng, {pad}) | ShapeError | pad" for pad in _WHOLE]
        + [f"data.cutout(images, rng, {size}) | ShapeError | size" for size in _WHOLE]
        + [f"data.one_hot({labels}, 3) | ShapeError | labels" for labels in _NO_ARRAYS]
        + [
            f"data.one_hot(labels, {classes}) | ShapeError | num_classes"
            for classes in (*_WHOLE, "0", "None")
        ]
        + [
            f"data.label_noise_matrix({classes}, 0.5) | DataError | num_classes"
            for classes in (*_WHOLE, "1", "0", "None")
        ]
        + [
            f"data.label_noise_matrix(3, {ratio}) | DataError | clean_ratio"
            for ratio in ("-0.1", "1.1", "np.nan", "'a'", "None", "True")
        ]
        + [
            f"data.Preprocess(mean, {std}) | {error} | std"
            for std, error in (
                ("0", "DataError"),
                ("-1", "DataError"),
                ("np.nan", "ShapeError"),
                ("'a'", "ShapeError"),
                ("None", "ShapeError"),
            )
        ]
        + [
            f"data.load_cifar{kind}({where}) | DataError | {word}"
            for kind in ("10", "100")
            for where, word in (
                ("data_dir=3", "data_dir"),
                ("here, 'validation'", "validation"),
                ("here, 3", "split"),
                ("here, download='no'", "download"),
                ("here, download=False", "cifar"),
                ("data_dir=a_file, download=False", "is a file"),
            )
        ]
    )
    + """
data.load("mnist") | DataError | mnist
data.load(None) | DataError | name
data.load(3) | DataError | name
data.load("folder:") | DataError | folder
data.load("folder:nowhere") | DataError | nowhere
data.load("shapes:a") | DataError | shapes
data.load("shapes", "val") | DataError | val
data.load("shapes", 1) | DataError | split
data.load("shapes", colour=1) | DataError | colour
data.load("shapes", count="a") | DataError | count
data.load("cifar10", data_dir=3) | DataError | data_dir
data.load_shapes("validation") | DataError | validation
data.load_shapes(100) | DataError | split
data.load_shapes(None) | DataError | split
data.load_shapes(count=10**15) | DataError | load_shapes
data.load_cifar100(here, label_kind="medium") | DataError | label_kind
data.load_cifar100(here, label_kind=None) | DataError | label_kind
data.data_folder(3) | DataError | data_dir
data.data_folder(["a"]) | DataError | data_dir
data.load_folder(None) | DataError | path
data.load_folder(3) | DataError | path
data.load_folder("nowhere") | DataError | nowhere
data.load_folder("a" * 300) | DataError | aaa
data.load_folder(a_file) | DataError | folder
data.load_folder(here) | DataError | sub-folder
data.load_folder(here, skip_bad="no") | DataError | skip_bad
data.load_folder(here, split="validation") | DataError | validation
data.load_folder(here, split=1) | DataError | split
data.load_folder(here, seed=-1) | DataError | seed
data.load_folder(here, seed=None) | DataError | seed
data.read_pictures([]) | DataError | file
data.read_pictures("a.png") | DataError | files
data.read_pictures(None) | DataError | files
data.read_pictures([3]) | DataError | files
data.read_pictures(["nowhere.png"]) | DataError | nowhere.png
data.read_pictures([here]) | DataError | could not read
data.read_pictures([a_file]) | DataError | could not read
data.read_pictures([a_file], 0) | DataError | size
data.read_pictures([a_file], "32") | DataError | size
data.read_pictures([a_file], 2.5) | DataError | size
data.Dataset([1], labels, ("a", "b"), "mine") | DataError | images
data.Dataset(None, labels, ("a", "b"), "mine") | DataError | images
data.Dataset(images, labels, ("a", "b"), "mine") | DataError | uint8
data.Dataset(pixels, [0, 1], ("a", "b"), "mine") | DataError | labels
data.Dataset(pixels, labels[:1], ("a", "b"), "mine") | DataError | labels
data.Dataset(pixels, labels.astype(float), ("a", "b"), "mine") | DataError | labels
data.Dataset(pixels, labels, ("a",), "mine") | DataError | label 1
data.Dataset(pixels, labels, "ab", "mine") | DataError | class_names
data.Dataset(pixels, labels, None, "mine") | DataError | class_names
data.Dataset(pixels, labels, (0, 1), "mine") | DataError | class_names
data.Dataset(pixels, labels, ("a", "b"), 3) | DataError | name
data.Dataset(pixels, labels, ("a", "b"), "mine", [1]) | DataError | masks
data.Dataset(pixels, labels, ("a", "b"), "mine", np.ones(2, bool)) | DataError | masks
data.Dataset(pixels, labels, ("a", "b"), "mine", np.ones((2, 8, 8))) | DataError | masks
shapes.subset([20]) | DataError | indices
shapes.subset([0.5]) | DataError | indices
shapes.subset("a") | DataError | indices
shapes.subset(None) | DataError | indices
shapes.subset([[0, 1]]) | DataError | indices
data.Loader(None, 4) | DataError | dataset
data.Loader(images, 4) | DataError | dataset
data.Loader(shapes.subset(slice(0)), 4) | DataError | empty
data.Loader(shapes, 21, drop_last=True) | DataError | batch_size
data.Loader(shapes, 4, mean) | DataError | preprocess
data.Loader(shapes, 4, data.Preprocess(mean)) | DataError | preprocess
data.Loader(shapes, 4, mixup=-1) | DataError | mixup
data.Loader(shapes, 4, mixup=np.nan) | DataError | mixup
data.Loader(shapes, 4, mixup="a") | DataError | mixup
data.Loader(shapes, 4, mixup=True) | DataError | mixup
data.Loader(shapes, 4).epoch(-1) | DataError | epoch
data.Loader(shapes, 4).epoch("a") | DataError | epoch
data.Loader(shapes, 4).epoch(None) | DataError | epoch
data.Loader(shapes, 4).epoch(0.5) | DataError | epoch
data.Loader(shapes, 4).epoch(0, 6) | DataError | start
data.Loader(shapes, 4).epoch(0, "a") | DataError | start
data.Loader(shapes, 4).order(-1) | DataError | epoch
data.Loader(shapes, 4).order("a") | DataError | epoch
data.pad_crop_flip(images, 0) | ShapeError | rng
data.pad_crop_flip(images, None) | ShapeError | rng
data.cutout(images, 0) | ShapeError | rng
data.cutout(images, rng, 2, "black") | ShapeError | fill
data.cutout(images, rng, 2, None) | ShapeError | fill
data.mixup(pixels, np.ones((2, 3)), 1.0, rng) | ShapeError | floats
data.mixup(images, np.ones(2), 1.0, rng) | ShapeError | targets
data.mixup(images, np.ones((3, 3)), 1.0, rng) | ShapeError | targets
data.mixup(images, np.ones((2, 3), int), 1.0, rng) | ShapeError | targets
data.mixup(images, [[1, 0]], 1.0, rng) | ShapeError | targets
data.mixup(images, np.ones((2, 3)), 0, rng) | ShapeError | alpha
data.mixup(images, np.ones((2, 3)), -1, rng) | ShapeError | alpha
data.mixup(images, np.ones((2, 3)), np.nan, rng) | ShapeError | alpha
data.mixup(images, np.ones((2, 3)), "a", rng) | ShapeError | alpha
data.mixup(images, np.ones((2, 3)), 1.0, 0) | ShapeError | rng
data.one_hot(np.array([0, 3]), 3) | ShapeError | labels
data.one_hot(np.array([-1]), 3) | ShapeError | labels
data.one_hot(np.array([0.0]), 3) | ShapeError | labels
data.one_hot(np.array([True]), 3) | ShapeError | labels
data.one_hot(labels, 10**15) | ShapeError | one_hot
data.per_pixel_mean(images[:0]) | ShapeError | images
data.per_pixel_mean(np.array([[[["a"]]]])) | ShapeError | images
data.Preprocess(None) | ShapeError | mean
data.Preprocess([1.0]) | ShapeError | mean
data.Preprocess(np.ones(3)) | ShapeError | mean
data.Preprocess(3.0) | ShapeError | mean
data.Preprocess(mean)(images[:, :4]) | ShapeError | pictures
data.Preprocess(mean)(images[0]) | ShapeError | pictures
data.Preprocess(mean)([1]) | ShapeError | images
data.Preprocess(mean)(None) | ShapeError | images
data.Preprocess(mean).undo(None) | ShapeError | inputs
data.Preprocess(mean).undo(images[:, :4]) | ShapeError | pictures
data.Preprocess.from_state({}) | DataError | mean
data.Preprocess.from_state({"mean": mean, "std": "a"}) | DataError | std
data.Preprocess.from_state({"mean": np.ones(3), "std": 1}) | ShapeError | mean
data.Preprocess.from_state(None) | ShapeError | state
data.corrupt_labels([0, 1], np.eye(2), rng) | DataError | labels
data.corrupt_labels(labels, [[1, 0], [0, 1]], rng) | DataError | matrix
data.corrupt_labels(labels, np.ones(3), rng) | DataError | square
data.corrupt_labels(labels, np.ones((2, 2)), rng) | DataError | sum to 1
data.corrupt_labels(labels, np.full((2, 2), np.nan), rng) | DataError | sum to 1
data.corrupt_labels(labels, np.eye(1), rng) | DataError | labels
data.corrupt_labels(labels.astype(float), np.eye(2), rng) | DataError | labels
data.corrupt_labels(np.ones((1, 1), int), np.eye(2), rng) | DataError | labels
data.corrupt_labels(labels, np.eye(2), 0) | DataError | rng
data.corrupt_labels(labels, np.eye(2), None) | DataError | rng
"""
)
