"""Wrong calls of layers, networks and optimisers: expression | error | a word in it."""

_SIZES = ("0", "-1", "2.5", "'3'", "None", "True", "[3]")

ROWS = (
    "\n".join(
        [f"nn.Linear({size}, 2) | ShapeError | in_features" for size in _SIZES]
        + [f"nn.Linear(2, {size}) | ShapeError | out_features" for size in _SIZES]
        + [f"nn.Conv2d({size}, 2, 3) | ShapeError | in_channels" for size in _SIZES]
        + [f"nn.Conv2d(3, {size}, 3) | ShapeError | out_channels" for size in _SIZES]
        + [f"nn.BatchNorm2d({size}) | ShapeError | channels" for size in _SIZES]
        + [f"nn.BatchNormReLU({size}) | ShapeError | channels" for size in _SIZES]
        + [f"nn.MaxPool2d({size}) | ShapeError | kernel_size" for size in _SIZES]
        + [f"nn.{one}()(x) | ShapeError | (N, H, W, C)" for one in ("GlobalAvgPool",)]
        + [
            f"nn.{one}()(np.ones(3)) | ShapeError | Tensor"
            for one in (
                "ReLU",
                "Sigmoid",
                "ChannelAttention",
                "SpatialAttention",
                "GlobalAvgPool",
            )
        ]
    )
    + """
nn.Conv2d(3, 2, 0) | ShapeError | kernel_size
nn.Conv2d(3, 2, "3") | ShapeError | kernel_size
nn.Conv2d(3, 2, 3, stride=0) | ShapeError | stride
nn.Conv2d(3, 2, 3, padding=-1) | ShapeError | padding
nn.Conv2d(3, 2, 3, groups=2) | ShapeError | groups
nn.Conv2d(3, 2, 3, groups=0) | ShapeError | groups
nn.Conv2d(3, 2, 3, groups="1") | ShapeError | groups
nn.Conv2d(3, 2, 3, rng=0) | ShapeError | rng
nn.Conv2d(3, 2, 3, dtype="int32") | ShapeError | dtype
nn.Linear(3, 2, rng=42) | ShapeError | rng
nn.Linear(3, 2, dtype=complex) | ShapeError | dtype
nn.Linear(3, 2, dtype="flaot") | ShapeError | dtype
nn.BatchNorm2d(3, momentum=2) | ShapeError | momentum
nn.BatchNorm2d(3, momentum="a") | ShapeError | momentum
nn.BatchNorm2d(3, eps=-1) | ShapeError | eps
nn.BatchNorm2d(3, eps=np.nan) | ShapeError | eps
nn.BatchNorm2d(3, dtype=int) | ShapeError | dtype
nn.BatchNormReLU(3, eps=None) | ShapeError | eps
nn.MaxPool2d(2, 0) | ShapeError | stride
nn.MaxPool2d(2, padding=-1) | ShapeError | padding
nn.MaxPool2d(2, ceil_mode=None) | ShapeError | ceil_mode
nn.UpsampleBilinear2d(0) | ShapeError | size
nn.UpsampleBilinear2d("a") | ShapeError | size
nn.UpsampleBilinear2d()(p) | ShapeError | size
nn.Linear(3, 2)(p) | ShapeError | linear
nn.Conv2d(3, 2, 3)(x) | ShapeError | conv2d
nn.BatchNorm2d(5)(p) | ShapeError | channels
nn.Parameter([1.0]) | ShapeError | list
nn.Parameter(np.ones(2, int)) | GradientError | floating
nn.Parameter(None) | ShapeError | NoneType
nn.Sequential([nn.ReLU()]) | ShapeError | Sequential
nn.Sequential(nn.ReLU(), ops.relu) | ShapeError | relu
nn.Sequential(nn.ReLU) | ShapeError | ReLU()
nn.Sequential(None) | ShapeError | None
nn.Sequential("relu") | ShapeError | 'relu'
setattr(nn.Sequential(nn.ReLU()), "0", 3) | ShapeError | Sequential
nn.ReLU().train("yes") | ShapeError | mode
nn.ReLU().train(None) | ShapeError | mode
nn.Linear(2, 2).load_state_dict(None) | CheckpointError | dict
nn.Linear(2, 2).load_state_dict("file") | CheckpointError | dict
nn.Linear(2, 2).load_state_dict({}) | CheckpointError | weight
nn.Linear(1, 1).load_state_dict({"weight": [[1]], "bias": [0.0]}) | CheckpointError | weight
nn.Linear(1, 1).load_state_dict({"weight": [[np.nan]], "bias": [0.0]}) | CheckpointError | finite
nn.Linear(1, 1).load_state_dict({"weight": [1.0], "bias": [0.0]}) | ShapeError | weight
nn.Linear(1, 1).load_state_dict({"weight": [["a"]], "bias": [0.0]}) | CheckpointError | weight
setattr(nn.Module(), "a", {nn.ReLU()}) or held({nn.ReLU()}).eval() | ShapeError | set
held(nn.ReLU() for _ in "ab").parameters() | ShapeError | generator
observed(3) | ShapeError | observe
observed(None) | ShapeError | observe
create_model("attention_nanno") | RecipeError | attention_nano
create_model(None) | RecipeError | None
create_model(["resnet"]) | RecipeError | resnet
create_model("attention_nano", num_classes=0) | RecipeError | num_classes
create_model("attention_nano", num_classes="10") | RecipeError | num_classes
create_model("attention_nano", num_classes=2.5) | RecipeError | num_classes
create_model("attention_nano", dtype="float16") | RecipeError | dtype
create_model("attention_nano", dtype="int") | RecipeError | dtype
create_model("attention_nano", dtype="flaot") | RecipeError | dtype
create_model("attention_nano", seed=None) | RecipeError | seed
create_model("attention_nano", seed=-1) | RecipeError | seed
create_model("attention_nano", seed=1.5) | RecipeError | seed
create_model("attention_nano", seed="a") | RecipeError | seed
create_model("attention_nano", seed=True) | RecipeError | seed
create_model("attention_nano", learnin="naive") | RecipeError | learning
create_model("attention_nano", learning="nave") | RecipeError | learning
create_model("attention_nano", attention="mix") | RecipeError | attention
create_model("attention_nano", mask="hour") | RecipeError | mask
create_model("attention_nano", unit="prea") | RecipeError | unit
create_model("attention_nano", p=0) | RecipeError | p
create_model("attention_nano", t=None) | RecipeError | t
create_model("attention_nano", r=1.5) | RecipeError | r
create_model("attention_nano", widths=(16, 33)) | RecipeError | 33
create_model("attention_nano", widths=16) | RecipeError | widths
create_model("attention_nano", widths=(16,)) | RecipeError | widths
create_model("attention_nano", widths=("a", "b")) | RecipeError | widths
create_model("attention_nano", stem="big") | RecipeError | stem
optim.SGD(None, 0.1) | RecipeError | params
optim.SGD([], 0.1) | RecipeError | parameters
optim.SGD(3, 0.1) | RecipeError | params
optim.SGD(q, 0.1) | RecipeError | params
optim.SGD([c], 0.1) | RecipeError | params[0]
optim.SGD([3.0], 0.1) | RecipeError | params[0]
optim.SGD([q, q], 0.1) | RecipeError | twice
optim.SGD([q], -1) | RecipeError | lr
optim.SGD([q], np.nan) | RecipeError | lr
optim.SGD([q], np.inf) | RecipeError | lr
optim.SGD([q], "0.1") | RecipeError | lr
optim.SGD([q], None) | RecipeError | lr
optim.SGD([q], True) | RecipeError | lr
optim.SGD([q], 0.1, momentum=1.0) | RecipeError | momentum
optim.SGD([q], 0.1, momentum=-0.5) | RecipeError | momentum
optim.SGD([q], 0.1, momentum="0.9") | RecipeError | momentum
optim.SGD([q], 0.1, weight_decay=-1) | RecipeError | weight_decay
optim.SGD([q], 0.1, weight_decay=None) | RecipeError | weight_decay
optim.SGD([q], 0.1, nesterov=True) | RecipeError | nesterov
optim.SGD([q], 0.1).step() | GradientError | no gradient
optim.SGD([q], 0.1).load_state_dict({}) | CheckpointError | velocities
optim.SGD([q], 0.1).load_state_dict(None) | CheckpointError | velocities
setattr(optim.SGD([q], 0.1), "lr", np.nan) | RecipeError | lr
setattr(optim.SGD([q], 0.1), "lr", "a") | RecipeError | lr
optim.Average(None, optim.SGD([q], 0.1), 0.9) | RecipeError | model
optim.Average(nn.Linear(2, 2), None, 0.9) | RecipeError | optimizer
optim.Average(nn.Linear(2, 2), optim.SGD([q], 0.1), 1.0) | RecipeError | decay
optim.Average(nn.Linear(2, 2), optim.SGD([q], 0.1), -0.1) | RecipeError | decay
optim.Average(nn.Linear(2, 2), optim.SGD([q], 0.1), "0.9") | RecipeError | decay
optim.Average(nn.Linear(2, 2), optim.SGD([q], 0.1), 0.9).update(0) | RecipeError | step
optim.constant(np.nan) | RecipeError | lr
optim.constant("a") | RecipeError | lr
optim.multistep(-1, [3]) | RecipeError | lr
optim.multistep(0.1, 3) | RecipeError | milestones
optim.multistep(0.1, "34") | RecipeError | milestones
optim.multistep(0.1, [-3]) | RecipeError | milestone
optim.multistep(0.1, [0.5]) | RecipeError | milestone
optim.multistep(0.1, [3], factor=-1) | RecipeError | factor
optim.cosine(0.1, 0) | RecipeError | total
optim.cosine(0.1, 1.5) | RecipeError | total
optim.cosine(0.1, 10, warmup=11) | RecipeError | warmup
optim.cosine(0.1, 10, warmup=-1) | RecipeError | warmup
optim.cosine(0.1, 10, final=np.nan) | RecipeError | final
optim.cosine(None, 10) | RecipeError | lr
optim.one_cycle(0.1, 0) | RecipeError | total
optim.one_cycle(0.1, "10") | RecipeError | total
optim.one_cycle(0.1, 10, warmup=1) | RecipeError | warmup
optim.one_cycle(0.1, 10, start=-1) | RecipeError | start
optim.one_cycle(np.nan, 10) | RecipeError | lr
"""
)
