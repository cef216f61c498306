"""Wrong calls of `minran.data`: expression | error | a word in it."""

ROWS = """
data.load_shapes(count=<<2.5; '3'; True; [3]; np.nan; -1; np.inf; 0>>) | DataError | count
data.load_shapes(size=<<2.5; '3'; True; [3]; np.nan; -1; np.inf; 15; None>>) | DataError | size
data.load_shapes(seed=<<2.5; '3'; True; [3]; np.nan; -1; np.inf; None>>) | DataError | seed
data.load_folder('.', size=<<2.5; '3'; True; [3]; np.nan; -1; np.inf; 0>>) | DataError | size
data.load_folder('.', test_fraction=<<0; 1; -1; np.nan; 'a'; None>>) | DataError | test_fraction
data.load_folder('.', fit=<<'crop'; None; 3; True>>) | DataError | fit
data.load_folder('.', memory=<<-1; np.nan; 'all'; None; True>>) | DataError | memory
data.load_folder('.', test_fraction=True) | DataError | test_fraction
data.Loader(shapes, <<2.5; '3'; True; [3]; np.nan; -1; np.inf; 0; None>>) | DataError | batch_size
data.Loader(shapes, 4, seed=<<2.5; '3'; True; [3]; np.nan; -1; np.inf>>) | DataError | seed
data.Loader(shapes, 4, cutout=<<2.5; '3'; True; [3]; np.nan; -1; np.inf>>) | DataError | cutout
data.Loader(shapes, 4, prefetch=<<2.5; '3'; True; [3]; np.nan; -1; np.inf>>) | DataError | prefetch
data.Loader(shapes, 4, augment=<<'no'; 1; None>>) | DataError | augment
data.Loader(shapes, 4, shuffle='no') | DataError | shuffle
data.Loader(shapes, 4, drop_last='no') | DataError | drop_last
data.pad_crop_flip(<<None; [[1, 2]]; 'a'; 3; np.ones((2, 3))>>, rng) | ShapeError | images
data.cutout(<<None; [[1, 2]]; 'a'; 3; np.ones((2, 3))>>, rng) | ShapeError | images
data.mixup(<<None; [[1, 2]]; 'a'; 3>>, np.ones((2, 3)), 1.0, rng) | ShapeError | images
data.per_pixel_mean(<<None; [[1, 2]]; 'a'; 3; np.ones((2, 3))>>) | ShapeError | images
data.Preprocess.fit(<<None; [[1, 2]]; 'a'; 3; np.ones((2, 3))>>) | ShapeError | images
data.pad_crop_flip(images, rng, <<2.5; '3'; True; [3]; np.nan; -1; np.inf>>) | ShapeError | pad
data.cutout(images, rng, <<2.5; '3'; True; [3]; np.nan; -1; np.inf>>) | ShapeError | size
data.one_hot(<<None; [[1, 2]]; 'a'; 3; np.ones((2, 3))>>, 3) | ShapeError | labels
data.one_hot(labels, <<2.5; '3'; True; [3]; np.nan; -1; np.inf; 0>>) | ShapeError | num_classes
data.one_hot(labels, None) | ShapeError | num_classes
data.label_noise_matrix(<<2.5; '3'; True; [3]; np.nan; -1; np.inf>>, 0.5) | DataError | num_classes
data.label_noise_matrix(<<1; 0; None>>, 0.5) | DataError | num_classes
data.label_noise_matrix(3, <<-0.1; 1.1; np.nan; 'a'; None; True>>) | DataError | clean_ratio
data.Preprocess(mean, <<0; -1>>) | DataError | std
data.Preprocess(mean, <<np.nan; 'a'; None>>) | ShapeError | std
data.<<load_cifar10; load_cifar100>>(data_dir=3) | DataError | data_dir
data.<<load_cifar10; load_cifar100>>(here, 'validation') | DataError | validation
data.<<load_cifar10; load_cifar100>>(here, 3) | DataError | split
data.<<load_cifar10; load_cifar100>>(here, download='no') | DataError | download
data.<<load_cifar10; load_cifar100>>(here, download=False) | DataError | cifar
data.<<load_cifar10; load_cifar100>>(data_dir=a_file, download=False) | DataError | is a file
data.load("mnist") | DataError | mnist
data.load(<<None; 3>>) | DataError | name
data.load(<<""; "folder"; "folder:"; "shapes:x"; "cifar10:/data">>) | DataError | unknown data set
data.load("folder:nowhere") | DataError | nowhere
data.load("shapes", "val") | DataError | val
data.load("shapes", 1) | DataError | split
data.load("shapes", colour=1) | DataError | shapes has no option colour; it has count, seed, size
data.load("shapes", count="a") | DataError | count
data.load("cifar10", data_dir=3) | DataError | data_dir
data.load_shapes("validation") | DataError | validation
data.load_shapes(<<100; None>>) | DataError | split
data.load_shapes(count=10**15) | DataError | load_shapes
data.load_cifar100(here, label_kind=<<"medium"; None>>) | DataError | label_kind
data.data_folder(<<3; ["a"]>>) | DataError | data_dir
data.load_folder(<<None; 3>>) | DataError | path
data.load_folder("nowhere") | DataError | nowhere is not a folder
data.load_folder("a" * 300) | DataError | aaa
data.load_folder(a_file) | DataError | folder
data.load_folder(here) | DataError | sub-folder
data.load_folder(here, skip_bad="no") | DataError | skip_bad
data.load_folder(here, split="validation") | DataError | validation
data.load_folder(here, split=1) | DataError | split
data.load_folder(here, seed=<<-1; None>>) | DataError | seed
data.read_pictures([]) | DataError | file
data.read_pictures(<<"a.png"; None; [3]>>) | DataError | files
data.read_pictures(["nowhere.png"]) | DataError | nowhere.png
data.read_pictures(<<[here]; [a_file]>>) | DataError | could not read
data.read_pictures([a_file], <<0; "32"; 2.5>>) | DataError | size
data.read_pictures([a_file], 8, <<"crop"; None; 3>>) | DataError | fit
data.scale_crop_flip(<<None; [[1]]; 'a'; np.ones((1, 2, 2, 1))>>, rng) | ShapeError | images
data.scale_crop_flip(images, <<0; None>>) | ShapeError | rng
data.Dataset(<<[1]; None>>, labels, ("a", "b"), "mine") | DataError | images
data.Dataset(images, labels, ("a", "b"), "mine") | DataError | uint8
data.Dataset(pixels, <<[0, 1]; labels[:1]>>, ("a", "b"), "mine") | DataError | labels
data.Dataset(pixels, labels.astype(float), ("a", "b"), "mine") | DataError | labels
data.Dataset(pixels, labels, ("a",), "mine") | DataError | label 1
data.Dataset(pixels, labels, <<"ab"; None; (0, 1)>>, "mine") | DataError | class_names
data.Dataset(pixels, labels, ("a", "b"), 3) | DataError | name
data.Dataset(pixels, labels, ("a", "b"), "mine", <<[1]; np.ones(2, bool)>>) | DataError | masks
data.Dataset(pixels, labels, ("a", "b"), "mine", np.ones((2, 8, 8))) | DataError | masks
data.Pictures(<<(2, 8, 8); 3; (2, 8, 8, "a"); (-1, 8, 8, 3); None>>) | DataError | shape
data.Loader(shapes, 4, share=<<3; "a">>) | DataError | share
data.Preprocess.fit(pixels, 0) | DataError | std
data.Preprocess.fit(pixels, 1, <<"row"; None; 3>>) | DataError | mean
shapes.subset(<<[20]; [0.5]; "a"; None; [[0, 1]]>>) | DataError | indices
data.Loader(<<None; images>>, 4) | DataError | dataset
data.Loader(shapes.subset(slice(0)), 4) | DataError | empty
data.Loader(shapes, 21, drop_last=True) | DataError | batch_size 21 is more than the
data.Loader(shapes, 4, <<mean; data.Preprocess(mean)>>) | DataError | preprocess
data.Loader(shapes, 4, mixup=<<-1; np.nan; "a"; True>>) | DataError | mixup
data.Loader(shapes, 4).epoch(<<-1; "a"; None; 0.5>>) | DataError | epoch
data.Loader(shapes, 4).epoch(0, 6) | DataError | start must lie in 0..5, got 6
data.Loader(shapes, 4).epoch(0, "a") | DataError | start
data.Loader(shapes, 4).order(<<-1; "a">>) | DataError | epoch
data.pad_crop_flip(images, <<0; None>>) | ShapeError | rng
data.cutout(images, 0) | ShapeError | rng
data.cutout(images, rng, 2, <<"black"; None>>) | ShapeError | fill
data.mixup(pixels, np.ones((2, 3)), 1.0, rng) | ShapeError | floats
data.mixup(images, np.ones(<<2; (3, 3); (2, 3), int>>), 1.0, rng) | ShapeError | must be (2, K)
data.mixup(images, [[1, 0]], 1.0, rng) | ShapeError | targets
data.mixup(images, np.ones((2, 3)), <<0; -1; np.nan; "a">>, rng) | ShapeError | alpha
data.mixup(images, np.ones((2, 3)), 1.0, 0) | ShapeError | rng
data.one_hot(np.array(<<[0, 3]; [-1]>>), 3) | ShapeError | labels must lie in 0..2
data.one_hot(np.array(<<[0.0]; [True]>>), 3) | ShapeError | labels must be (N,) integers
data.one_hot(labels, 10**15) | ShapeError | one_hot
data.per_pixel_mean(images[:0]) | ShapeError | N >= 1
data.per_pixel_mean(np.array([[[["a"]]]])) | ShapeError | images
data.Preprocess(<<None; [1.0]; np.ones(3); 3.0>>) | ShapeError | mean
data.Preprocess(mean)(<<images[:, :4]; images[0]>>) | ShapeError | images
data.Preprocess(mean)(<<[1]; None>>) | ShapeError | images
data.Preprocess(mean).undo(None) | ShapeError | inputs
data.Preprocess(mean).undo(images[:, :4]) | ShapeError | images
data.Preprocess.from_state(<<{}; {"mean": mean}>>) | DataError | mean and std
data.Preprocess.from_state({"mean": mean, "std": "a"}) | DataError | std
data.Preprocess.from_state({"mean": np.ones(3), "std": 1}) | ShapeError | mean must be
data.Preprocess.from_state(None) | ShapeError | state
data.in_turns([0, 1]) | DataError | labels
data.in_turns(np.eye(2, dtype=int)) | DataError | labels
data.corrupt_labels([0, 1], np.eye(2), rng) | DataError | labels
data.corrupt_labels(labels, [[1, 0], [0, 1]], rng) | DataError | matrix
data.corrupt_labels(labels, np.ones(3), rng) | DataError | square
data.corrupt_labels(labels, np.ones((2, 2)), rng) | DataError | sum to 1
data.corrupt_labels(labels, np.full((2, 2), np.nan), rng) | DataError | sum to 1
data.corrupt_labels(labels, np.eye(1), rng) | DataError | 0..0, got 0..1
data.corrupt_labels(labels.astype(float), np.eye(2), rng) | DataError | labels
data.corrupt_labels(np.ones((1, 1), int), np.eye(2), rng) | DataError | labels
data.corrupt_labels(labels, np.eye(2), <<0; None>>) | DataError | rng
"""
