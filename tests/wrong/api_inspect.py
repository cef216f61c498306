"""Wrong calls of `minran.inspect` and `minran.interop`: expression | error | a word in it."""

ROWS = """
inspect.attention_maps(<<None; 'attention_nano'>>, images) | ShapeError | model
inspect.<<class_probabilities; gradcam>>(<<None; 'attention_nano'>>, images) | ShapeError | model
inspect.stage_responses(<<None; 'attention_nano'>>, images) | ShapeError | model
inspect.<<attention_maps; class_probabilities>>(net, <<None; 'a'; images[0]>>) | ShapeError | images
inspect.<<gradcam; stage_responses>>(net, <<None; 'a'; images[0]>>) | ShapeError | images
inspect.<<attention_maps; class_probabilities; gradcam>>(net, pixels) | ShapeError | raw pixels
inspect.stage_responses(net, pixels) | ShapeError | raw pixels
inspect.<<attention_maps; class_probabilities; gradcam>>(net, images[:0]) | ShapeError | no images
inspect.stage_responses(net, images[:0]) | ShapeError | no images
inspect.attention_maps(net, images, batch_size=<<0; -1; 'a'; 2.5>>) | ShapeError | batch_size
inspect.class_probabilities(net, images, batch_size=<<0; -1; 'a'; 2.5>>) | ShapeError | batch_size
inspect.gradcam(net, images, batch_size=<<0; -1; 'a'; 2.5>>) | ShapeError | batch_size
inspect.stage_responses(net, images, batch_size=<<0; -1; 'a'; 2.5>>) | ShapeError | batch_size
inspect.<<attention_maps; class_probabilities>>(net, images[..., :2]) | ShapeError | channels
inspect.<<gradcam; stage_responses>>(net, images[..., :2]) | ShapeError | channels
inspect.summary(net, image_size=<<0; -1; 2.5; '32'; True; (8,)>>) | ShapeError | image_size
inspect.module_graph(net, image_size=<<0; -1; 2.5; '32'; True; (8,)>>) | ShapeError | image_size
inspect.mask_reach(net, image_size=<<0; -1; 2.5; '32'; True; (8,)>>) | ShapeError | image_size
inspect.summary(net, image_size=<<(8, 8, 3); (8, 'a'); (0, 8); []>>) | ShapeError | image_size
inspect.module_graph(net, image_size=<<(8, 8, 3); (8, 'a'); (0, 8); []>>) | ShapeError | image_size
inspect.mask_reach(net, image_size=<<(8, 8, 3); (8, 'a'); (0, 8); []>>) | ShapeError | image_size
interop.export_onnx(net, 'a.onnx', <<0; -1; 2.5; '32'; True; (8,)>>) | ShapeError | image_size
interop.export_onnx(net, 'a.onnx', <<(8, 8, 3); (8, 'a'); (0, 8); []>>) | ShapeError | image_size
interop.export_onnx(net, 'a.onnx', maps=<<None; 1; 'yes'>>) | ShapeError | maps
inspect.memory(net, <<0; -1; 2.5; 'a'; None; True>>) | ShapeError | batch
inspect.memory(net, 2, image_size=<<0; -1; 2.5; '32'; (8,)>>) | ShapeError | image_size
inspect.memory(net, 2, device=<<'cupy'; 'tpu'; None; 1>>) | ShapeError | device
inspect.memory(net, 2, test_batch=<<-1; 'a'; 2.5>>) | ShapeError | test_batch
inspect.memory(net, 2, averaged=<<1; 'yes'; None>>) | ShapeError | averaged
inspect.<<memory>>(<<None; 'attention_nano'; nn.Linear>>, 2) | ShapeError | model
inspect.<<summary; module_graph>>(<<None; 'attention_nano'; nn.Linear>>) | ShapeError | model
inspect.mask_reach(<<None; 'attention_nano'; nn.Linear>>) | ShapeError | model
inspect.choose_channels(mask, count=<<0; -1; 99; 'a'; None; 2.5; True>>) | ShapeError | count
inspect.score(<<None; [1]; np.ones(3); np.ones((3, 8, 8)); 'a'>>, truth) | ShapeError | maps
inspect.mask_figure(photos, [attention], dark='no') | ShapeError | dark
inspect.before_after_figure(photos, attention, dark='no') | ShapeError | dark
inspect.histogram_figure([attention], dark='no') | ShapeError | dark
inspect.mask_over_epochs_figure(photos, {'a': [attention]}, dark='no') | ShapeError | dark
inspect.curves_figure({'a': []}, dark='no') | ShapeError | dark
inspect.response_figure({'a': {'stem': 1.0}}, dark='no') | ShapeError | dark
inspect.gradcam_figure(photos, mask[..., 0], ['a', 'b'], dark='no') | ShapeError | dark
inspect.prediction_figure(photos, np.ones((2, 2)), ['a', 'b'], dark='no') | ShapeError | dark
inspect.added(<<None; mask>>) | ShapeError | attention
inspect.channel_mean(<<None; [[1]]; mask[0]>>) | ShapeError | mask
inspect.choose_channels(<<None; mask[0]>>) | ShapeError | mask
inspect.choose_channels(mask, "best") | ShapeError | best
inspect.choose_channels(mask, <<3; None>>) | ShapeError | rule
inspect.choose_channels(mask, <<"given"; channels=[99]; channels=[-1]>>) | ShapeError | channels
inspect.choose_channels(mask, channels=<<["a"]; [0.5]; 3>>) | ShapeError | channels
inspect.resize_maps(<<None; [[[1]]]; mask>>, (4, 4)) | ShapeError | maps
inspect.resize_maps(mask[..., 0], <<(0, 4); (-1, 4); 4; (4,); ("a", 4)>>) | ShapeError | size
inspect.resize_maps(mask[..., 0], <<(2.5, 4); None>>) | ShapeError | size
inspect.overlay(None, mask[0, ..., 0]) | ShapeError | image
inspect.overlay(<<photos; photos[0] * 300>>, mask[0, ..., 0]) | ShapeError | image
inspect.overlay(photos[0], mask) | ShapeError | map
inspect.overlay(photos[0], None) | ShapeError | values
inspect.overlay(photos[0], mask[0, ..., 0], <<"a"; 2; -1; np.nan>>) | ShapeError | strength
inspect.overlay(photos[0], mask[0, ..., 0], 0.5, <<3; (0,)>>) | ShapeError | limits
inspect.overlay(photos[0], mask[0, ..., 0], 0.5, <<(1, 0); (0, np.inf)>>) | ShapeError | limits
inspect.mask_figure(photos, [attention], stretch='no') | ShapeError | stretch
inspect.mask_over_epochs_figure(photos, {'a': [attention]}, stretch='no') | ShapeError | stretch
inspect.gradcam_figure(photos, mask[..., 0], ['a', 'b'], stretch='no') | ShapeError | stretch
inspect.gradcam(net, images, <<99; -1; [0, 1, 2]; "cat"; 0.5; [0.5, 1]>>) | ShapeError | classes
inspect.gradcam(net, images, layer="nowhere") | ShapeError | nowhere
inspect.gradcam(net, images, layer=3) | ShapeError | layer
inspect.attention_maps(nn.Linear(3, 2), images) | ShapeError | attention
inspect.stage_responses(net, images, by="layer") | ShapeError | layer
inspect.stage_responses(net, images, by=None) | ShapeError | by
inspect.summary(nn.Linear(3, 2)) | ShapeError | image_size
inspect.summary(nn.Linear(3, 2), 8) | ShapeError | convolution
inspect.module_graph(net, depth=<<"a"; -1; 0.5>>) | ShapeError | depth
inspect.module_graph(net, collapse=<<"stem"; 3>>) | ShapeError | collapse
inspect.graph(<<None; images>>) | ShapeError | tensor
inspect.graph(c) | GradientError | graph
inspect.graph(ops.relu(x), model="a") | ShapeError | model
inspect.graph(ops.relu(x), calls=3) | ShapeError | calls
inspect.graph(ops.relu(x), depth=-1) | ShapeError | depth
inspect.graph(ops.relu(x), collapse="a") | ShapeError | collapse
inspect.mask_reach(net, pictures=<<0; "a">>) | ShapeError | pictures
inspect.mask_reach(net, seed=<<-1; "a">>) | ShapeError | seed
inspect.score(mask[..., 0], None) | ShapeError | true_masks
inspect.score(mask[..., 0], truth.astype(int)) | ShapeError | bool
inspect.score(mask[..., 0], ~truth & truth) | ShapeError | object
inspect.score(mask[..., 0], truth, invert="no") | ShapeError | invert
inspect.score(mask[..., 0], truth, threshold=<<2; "a"; np.nan>>) | ShapeError | threshold
inspect.centre_map(<<None; 8; (0, 8); (8, -1); ("a", 8)>>) | ShapeError | size
inspect.centre_map((8, 8), <<0; -1; "a">>) | ShapeError | spread
inspect.score_attention(None, images, truth) | ShapeError | model
inspect.score_attention(net, images, truth) | ShapeError | 4
inspect.score_attention(net, images, None) | ShapeError | true_masks
inspect.score_attention(net, None, truth) | ShapeError | images
inspect.score_table(<<None; {}; {"a": 3}>>) | ShapeError | scores
inspect.gradcam_figure(photos, mask[..., 0], <<["a"]; "ab">>) | ShapeError | answers
inspect.gradcam_figure(photos, mask[:1, ..., 0], ["a", "b"]) | ShapeError | maps
inspect.gradcam_figure(photos, mask, ["a", "b"]) | ShapeError | map
inspect.curves_figure(<<{}; None; [{"epoch": 1}]; {"a": 3}; {"a": [3]}>>) | ShapeError | histories
inspect.curves_figure({"a": []}, "loss") | ShapeError | panels
inspect.curves_figure({"a": []}, ["speed"]) | ShapeError | speed
inspect.curves_figure({"a": []}, []) | ShapeError | panels
inspect.mask_figure(None, [attention]) | ShapeError | images
inspect.mask_figure(np.ones((3, 8, 8, 3)), [attention]) | ShapeError | images
inspect.mask_figure(photos, <<attention; [mask]>>) | ShapeError | attentions
inspect.mask_figure(photos, [attention], count="a") | ShapeError | count
inspect.mask_figure(photos, [attention], rule="best") | ShapeError | best
inspect.mask_figure(photos, [attention], true_masks=[1]) | ShapeError | true_masks
inspect.mask_figure(photos, [attention], labels=[0]) | ShapeError | labels
inspect.mask_figure(photos, [attention], class_names=["a"], labels=[0, 1]) | ShapeError | labels
inspect.before_after_figure(photos, mask) | ShapeError | attention
inspect.before_after_figure(photos, attention, 99) | ShapeError | channels
inspect.before_after_figure(photos, attention, "a") | ShapeError | channel
inspect.histogram_figure([]) | ShapeError | masks
inspect.confusion_figure(<<None; mask>>, ["a", "b"]) | ShapeError | counts
inspect.confusion_figure(np.ones((2, 3), int), ["a", "b"]) | ShapeError | counts
inspect.confusion_figure(-np.eye(2, dtype=int), ["a", "b"]) | ShapeError | counts
inspect.confusion_figure(np.ones((2, 2), int), <<3; ["a"]; []>>) | ShapeError | confusion_figure
inspect.confusion_figure(np.ones((1, 1), int), ["a"], dark="no") | ShapeError | dark
inspect.histogram_figure(attention) | ShapeError | attentions
inspect.histogram_figure([attention], <<0; "a">>) | ShapeError | bins
inspect.mask_over_epochs_figure(photos, <<{}; [attention]>>) | ShapeError | checkpoints
inspect.mask_over_epochs_figure(photos, {"a": [attention]}, <<1; "a">>) | ShapeError | index
inspect.response_figure(<<{}; None; {"a": 3}; {"a": {"stem": "a"}}>>) | ShapeError | responses
inspect.surest_mistakes(net, [], <<0; -1; "a"; None>>) | ShapeError | count
inspect.surest_mistakes(<<None; "attention_nano">>, []) | ShapeError | model
inspect.prediction_figure(photos, np.ones((2, 2)), ["a", "b"], labels=[0]) | ShapeError | labels
inspect.prediction_figure(photos, np.ones((2, 3)), ["a", "b"]) | ShapeError | probabilities
inspect.prediction_figure(photos, [[1, 0]], ["a", "b"]) | ShapeError | probabilities
inspect.prediction_figure(photos, np.ones((2, 2)), "ab") | ShapeError | class_names
inspect.prediction_figure(photos, np.ones((2, 2)), ["a", "b"], <<0; "a">>) | ShapeError | count
inspect.quickstart_figure([], photos, [], None, ["a"], [0], [0]) | ShapeError | predictions
inspect.quickstart_figure([], photos, [], None, ["a"], [0, 1], [0, 0]) | ShapeError | predictions
inspect.quickstart_figure([], photos, [], None, ["a"], [0, 0], [0, 1]) | ShapeError | labels
inspect.quickstart_figure(3, photos, [], None, ["a"], [0, 0], [0, 0]) | ShapeError | history
inspect.quickstart_report(None, [], shapes, data.Preprocess(mean)) | ShapeError | model
inspect.quickstart_report(net, [], None, data.Preprocess(mean)) | ShapeError | test
inspect.quickstart_report(net, [], shapes, None) | ShapeError | preprocess
inspect.quickstart_report(net, [], shapes, data.Preprocess(mean), count=0) | ShapeError | count
interop.create_twin(<<None; 3>>) | RecipeError | name
interop.create_twin("attention_nana") | RecipeError | attention_nana
interop.create_twin("attention_nano", <<0; "a">>) | RecipeError | num_classes
interop.create_twin("attention_nano", colour=1) | RecipeError | colour
interop.load_torch(None, {}) | ShapeError | model
interop.load_torch(net, None) | CheckpointError | NoneType
interop.load_torch(net, {}) | CheckpointError | tensors
interop.load_torch(net, [1]) | CheckpointError | list
interop.load_torch(net, "weights.pt") | CheckpointError | str
interop.load_torch(net, {"a": 3}) | CheckpointError | tensors
interop.load_file(None, "a.npz") | CheckpointError | model
interop.load_file(net, <<None; 3>>) | CheckpointError | path
interop.load_file(net, <<"a"; "a.h5"; "a.safetensors">>) | DataError | .npz or .pth or .pt
interop.load_file(net, <<"a.npz"; "a.pth"; "a.PT">>) | CheckpointError | a.
interop.to_torch_state_dict(<<None; net; {"a": 3}; {3: mean}>>) | CheckpointError | state
interop.to_torch_state_dict({"a.colour": mean}) | CheckpointError | colour
interop.from_torch_state_dict(<<None; [1]>>) | CheckpointError | state
interop.from_torch_state_dict({"a.weight": mean}) | CheckpointError | a.weight
interop.from_torch_state_dict({3: mean}) | CheckpointError | state
interop.export_onnx(None, "a.onnx") | ShapeError | model
interop.export_onnx(net, None) | ShapeError | path
interop.export_onnx(net, "a.txt") | DataError | .onnx
interop.export_onnx(net, "nowhere/a.onnx") | DataError | nowhere
interop.export_onnx(net, "a.onnx", preprocess=mean) | ShapeError | preprocess
interop.export_onnx(net, "a.onnx", 16, data.Preprocess(mean)) | ShapeError | image_size
interop.export_onnx(net, "a.onnx", class_names=<<"ab"; [1, 2]; ["a"]>>) | ShapeError | class_names
"""
