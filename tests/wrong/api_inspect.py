"""Wrong calls of `minran.inspect` and `minran.interop`: expression | error | a word in it."""

_WATCHERS = ("attention_maps", "class_probabilities", "gradcam", "stage_responses")
_SIZES = ("0", "-1", "2.5", "'32'", "True", "(8,)", "(8, 8, 3)", "(8, 'a')", "(0, 8)", "[]")

ROWS = (
    "\n".join(
        [
            f"inspect.{call}({args}) | ShapeError | {word}"
            for call in _WATCHERS
            for args, word in (
                ("None, images", "model"),
                ("'attention_nano', images", "model"),
                ("net, None", "images"),
                ("net, 'a'", "images"),
                ("net, images[0]", "images"),
                ("net, pixels", "raw pixels"),
                ("net, images[:0]", "no pictures"),
                ("net, images, batch_size=0", "batch_size"),
                ("net, images, batch_size=-1", "batch_size"),
                ("net, images, batch_size='a'", "batch_size"),
                ("net, images, batch_size=2.5", "batch_size"),
                ("net, images[..., :2]", "channels"),
            )
        ]
        + [
            f"inspect.{call}(net, image_size={size}) | ShapeError | image_size"
            for call in ("summary", "module_graph", "mask_reach")
            for size in _SIZES
        ]
        + [
            f"interop.export_onnx(net, 'a.onnx', {size}) | ShapeError | image_size"
            for size in _SIZES
        ]
        + [
            f"inspect.{call}({model}) | ShapeError | model"
            for call in ("summary", "module_graph", "mask_reach")
            for model in ("None", "'attention_nano'", "nn.Linear")
        ]
        + [
            f"inspect.choose_channels(mask, count={count}) | ShapeError | count"
            for count in ("0", "-1", "99", "'a'", "None", "2.5", "True")
        ]
        + [
            f"inspect.score({maps}, truth) | ShapeError | maps"
            for maps in ("None", "[1]", "np.ones(3)", "np.ones((3, 8, 8))", "'a'")
        ]
        + [
            f"inspect.{call}, dark='no') | ShapeError | dark"
            for call in (
                "mask_figure(photos, [attention]",
                "before_after_figure(photos, attention",
                "histogram_figure([attention]",
                "mask_over_epochs_figure(photos, {'a': [attention]}",
                "curves_figure({'a': []}",
                "response_figure({'a': {'stem': 1.0}}",
                "gradcam_figure(photos, mask[..., 0], ['a', 'b']",
                "prediction_figure(photos, np.ones((2, 2)), ['a', 'b']",
            )
        ]
    )
    + """
inspect.added(None) | ShapeError | attention
inspect.added(mask) | ShapeError | attention
inspect.channel_mean(None) | ShapeError | mask
inspect.channel_mean([[1]]) | ShapeError | mask
inspect.channel_mean(mask[0]) | ShapeError | mask
inspect.choose_channels(None) | ShapeError | mask
inspect.choose_channels(mask[0]) | ShapeError | mask
inspect.choose_channels(mask, "best") | ShapeError | best
inspect.choose_channels(mask, 3) | ShapeError | rule
inspect.choose_channels(mask, None) | ShapeError | rule
inspect.choose_channels(mask, "given") | ShapeError | channels
inspect.choose_channels(mask, channels=[99]) | ShapeError | channels
inspect.choose_channels(mask, channels=[-1]) | ShapeError | channels
inspect.choose_channels(mask, channels=["a"]) | ShapeError | channels
inspect.choose_channels(mask, channels=[0.5]) | ShapeError | channels
inspect.choose_channels(mask, channels=3) | ShapeError | channels
inspect.resize_maps(None, (4, 4)) | ShapeError | maps
inspect.resize_maps([[[1]]], (4, 4)) | ShapeError | maps
inspect.resize_maps(mask, (4, 4)) | ShapeError | maps
inspect.resize_maps(mask[..., 0], (0, 4)) | ShapeError | size
inspect.resize_maps(mask[..., 0], (-1, 4)) | ShapeError | size
inspect.resize_maps(mask[..., 0], 4) | ShapeError | size
inspect.resize_maps(mask[..., 0], (4,)) | ShapeError | size
inspect.resize_maps(mask[..., 0], ("a", 4)) | ShapeError | size
inspect.resize_maps(mask[..., 0], (2.5, 4)) | ShapeError | size
inspect.resize_maps(mask[..., 0], None) | ShapeError | size
inspect.overlay(None, mask[0, ..., 0]) | ShapeError | image
inspect.overlay(photos, mask[0, ..., 0]) | ShapeError | picture
inspect.overlay(photos[0] * 300, mask[0, ..., 0]) | ShapeError | picture
inspect.overlay(photos[0], mask) | ShapeError | map
inspect.overlay(photos[0], None) | ShapeError | values
inspect.overlay(photos[0], mask[0, ..., 0], "a") | ShapeError | strength
inspect.overlay(photos[0], mask[0, ..., 0], 2) | ShapeError | strength
inspect.overlay(photos[0], mask[0, ..., 0], -1) | ShapeError | strength
inspect.overlay(photos[0], mask[0, ..., 0], np.nan) | ShapeError | strength
inspect.gradcam(net, images, 99) | ShapeError | classes
inspect.gradcam(net, images, -1) | ShapeError | classes
inspect.gradcam(net, images, [0, 1, 2]) | ShapeError | classes
inspect.gradcam(net, images, "cat") | ShapeError | classes
inspect.gradcam(net, images, 0.5) | ShapeError | classes
inspect.gradcam(net, images, [0.5, 1]) | ShapeError | classes
inspect.gradcam(net, images, layer="nowhere") | ShapeError | nowhere
inspect.gradcam(net, images, layer=3) | ShapeError | layer
inspect.attention_maps(nn.Linear(3, 2), images) | ShapeError | attention
inspect.stage_responses(net, images, by="layer") | ShapeError | layer
inspect.stage_responses(net, images, by=None) | ShapeError | by
inspect.summary(nn.Linear(3, 2)) | ShapeError | image_size
inspect.summary(nn.Linear(3, 2), 8) | ShapeError | convolution
inspect.module_graph(net, depth="a") | ShapeError | depth
inspect.module_graph(net, depth=-1) | ShapeError | depth
inspect.module_graph(net, depth=0.5) | ShapeError | depth
inspect.module_graph(net, collapse="stem") | ShapeError | collapse
inspect.module_graph(net, collapse=3) | ShapeError | collapse
inspect.graph(None) | ShapeError | tensor
inspect.graph(images) | ShapeError | tensor
inspect.graph(c) | GradientError | graph
inspect.graph(ops.relu(x), model="a") | ShapeError | model
inspect.graph(ops.relu(x), calls=3) | ShapeError | calls
inspect.graph(ops.relu(x), depth=-1) | ShapeError | depth
inspect.graph(ops.relu(x), collapse="a") | ShapeError | collapse
inspect.mask_reach(net, pictures=0) | ShapeError | pictures
inspect.mask_reach(net, pictures="a") | ShapeError | pictures
inspect.mask_reach(net, seed=-1) | ShapeError | seed
inspect.mask_reach(net, seed="a") | ShapeError | seed
inspect.score(mask[..., 0], None) | ShapeError | true_masks
inspect.score(mask[..., 0], truth.astype(int)) | ShapeError | bool
inspect.score(mask[..., 0], ~truth & truth) | ShapeError | object
inspect.score(mask[..., 0], truth, invert="no") | ShapeError | invert
inspect.score(mask[..., 0], truth, threshold=2) | ShapeError | threshold
inspect.score(mask[..., 0], truth, threshold="a") | ShapeError | threshold
inspect.score(mask[..., 0], truth, threshold=np.nan) | ShapeError | threshold
inspect.centre_map(None) | ShapeError | size
inspect.centre_map(8) | ShapeError | size
inspect.centre_map((0, 8)) | ShapeError | size
inspect.centre_map((8, -1)) | ShapeError | size
inspect.centre_map(("a", 8)) | ShapeError | size
inspect.centre_map((8, 8), 0) | ShapeError | spread
inspect.centre_map((8, 8), -1) | ShapeError | spread
inspect.centre_map((8, 8), "a") | ShapeError | spread
inspect.score_attention(None, images, truth) | ShapeError | model
inspect.score_attention(net, images, truth) | ShapeError | 4
inspect.score_attention(net, images, None) | ShapeError | true_masks
inspect.score_attention(net, None, truth) | ShapeError | images
inspect.score_table(None) | ShapeError | scores
inspect.score_table({}) | ShapeError | scores
inspect.score_table({"a": 3}) | ShapeError | scores
inspect.gradcam_figure(photos, mask[..., 0], ["a"]) | ShapeError | answers
inspect.gradcam_figure(photos, mask[..., 0], "ab") | ShapeError | answers
inspect.gradcam_figure(photos, mask[:1, ..., 0], ["a", "b"]) | ShapeError | maps
inspect.gradcam_figure(photos, mask, ["a", "b"]) | ShapeError | map
inspect.curves_figure({}) | ShapeError | histories
inspect.curves_figure(None) | ShapeError | histories
inspect.curves_figure([{"epoch": 1}]) | ShapeError | histories
inspect.curves_figure({"a": 3}) | ShapeError | histories
inspect.curves_figure({"a": [3]}) | ShapeError | histories
inspect.curves_figure({"a": []}, "loss") | ShapeError | panels
inspect.curves_figure({"a": []}, ["speed"]) | ShapeError | speed
inspect.curves_figure({"a": []}, []) | ShapeError | panels
inspect.mask_figure(None, [attention]) | ShapeError | images
inspect.mask_figure(np.ones((3, 8, 8, 3)), [attention]) | ShapeError | pictures
inspect.mask_figure(photos, attention) | ShapeError | attentions
inspect.mask_figure(photos, [mask]) | ShapeError | attentions
inspect.mask_figure(photos, [attention], count="a") | ShapeError | count
inspect.mask_figure(photos, [attention], rule="best") | ShapeError | best
inspect.mask_figure(photos, [attention], true_masks=[1]) | ShapeError | true_masks
inspect.mask_figure(photos, [attention], labels=[0]) | ShapeError | labels
inspect.mask_figure(photos, [attention], class_names=["a"], labels=[0, 1]) | ShapeError | labels
inspect.before_after_figure(photos, mask) | ShapeError | attention
inspect.before_after_figure(photos, attention, 99) | ShapeError | channels
inspect.before_after_figure(photos, attention, "a") | ShapeError | channel
inspect.histogram_figure([]) | ShapeError | masks
inspect.histogram_figure(attention) | ShapeError | attentions
inspect.histogram_figure([attention], 0) | ShapeError | bins
inspect.histogram_figure([attention], "a") | ShapeError | bins
inspect.mask_over_epochs_figure(photos, {}) | ShapeError | checkpoints
inspect.mask_over_epochs_figure(photos, [attention]) | ShapeError | checkpoints
inspect.mask_over_epochs_figure(photos, {"a": [attention]}, 1) | ShapeError | index
inspect.mask_over_epochs_figure(photos, {"a": [attention]}, "a") | ShapeError | index
inspect.response_figure({}) | ShapeError | responses
inspect.response_figure(None) | ShapeError | responses
inspect.response_figure({"a": 3}) | ShapeError | responses
inspect.response_figure({"a": {"stem": "a"}}) | ShapeError | responses
inspect.prediction_figure(photos, np.ones((2, 3)), ["a", "b"]) | ShapeError | probabilities
inspect.prediction_figure(photos, [[1, 0]], ["a", "b"]) | ShapeError | probabilities
inspect.prediction_figure(photos, np.ones((2, 2)), "ab") | ShapeError | class_names
inspect.prediction_figure(photos, np.ones((2, 2)), ["a", "b"], 0) | ShapeError | count
inspect.prediction_figure(photos, np.ones((2, 2)), ["a", "b"], "a") | ShapeError | count
inspect.quickstart_figure([], photos, [], None, ["a"], [0], [0]) | ShapeError | predictions
inspect.quickstart_figure([], photos, [], None, ["a"], [0, 1], [0, 0]) | ShapeError | predictions
inspect.quickstart_figure([], photos, [], None, ["a"], [0, 0], [0, 1]) | ShapeError | labels
inspect.quickstart_figure(3, photos, [], None, ["a"], [0, 0], [0, 0]) | ShapeError | history
inspect.quickstart_report(None, [], shapes, data.Preprocess(mean)) | ShapeError | model
inspect.quickstart_report(net, [], None, data.Preprocess(mean)) | ShapeError | test
inspect.quickstart_report(net, [], shapes, None) | ShapeError | preprocess
inspect.quickstart_report(net, [], shapes, data.Preprocess(mean), count=0) | ShapeError | count
interop.create_twin(None) | RecipeError | name
interop.create_twin(3) | RecipeError | name
interop.create_twin("attention_nana") | RecipeError | attention_nana
interop.create_twin("attention_nano", 0) | RecipeError | num_classes
interop.create_twin("attention_nano", "a") | RecipeError | num_classes
interop.create_twin("attention_nano", colour=1) | RecipeError | colour
interop.load_torch(None, {}) | ShapeError | model
interop.load_torch(net, None) | CheckpointError | NoneType
interop.load_torch(net, {}) | CheckpointError | tensors
interop.load_torch(net, [1]) | CheckpointError | list
interop.load_torch(net, "weights.pt") | CheckpointError | str
interop.load_torch(net, {"a": 3}) | CheckpointError | tensors
interop.to_torch_state_dict(None) | CheckpointError | state
interop.to_torch_state_dict(net) | CheckpointError | state
interop.to_torch_state_dict({"a": 3}) | CheckpointError | state
interop.to_torch_state_dict({3: mean}) | CheckpointError | state
interop.to_torch_state_dict({"a.colour": mean}) | CheckpointError | colour
interop.from_torch_state_dict(None) | CheckpointError | state
interop.from_torch_state_dict([1]) | CheckpointError | state
interop.from_torch_state_dict({"a.weight": mean}) | CheckpointError | a.weight
interop.from_torch_state_dict({3: mean}) | CheckpointError | state
interop.export_onnx(None, "a.onnx") | ShapeError | model
interop.export_onnx(net, None) | ShapeError | path
interop.export_onnx(net, "a.txt") | DataError | .onnx
interop.export_onnx(net, "nowhere/a.onnx") | DataError | nowhere
interop.export_onnx(net, "a.onnx", preprocess=mean) | ShapeError | preprocess
interop.export_onnx(net, "a.onnx", 16, data.Preprocess(mean)) | ShapeError | image_size
interop.export_onnx(net, "a.onnx", class_names="ab") | ShapeError | class_names
interop.export_onnx(net, "a.onnx", class_names=[1, 2]) | ShapeError | class_names
interop.export_onnx(net, "a.onnx", class_names=["a"]) | ShapeError | class_names
"""
)
