"""Wrong calls of layers, networks and optimisers: expression | error | a word in it."""

ROWS = """
nn.Linear(<<0; -1; 2.5; '3'; None; True; [3]>>, 2) | ShapeError | in_features
nn.Linear(2, <<0; -1; 2.5; '3'; None; True; [3]>>) | ShapeError | out_features
nn.Conv2d(<<0; -1; 2.5; '3'; None; True; [3]>>, 2, 3) | ShapeError | in_channels
nn.Conv2d(3, <<0; -1; 2.5; '3'; None; True; [3]>>, 3) | ShapeError | out_channels
nn.<<BatchNorm2d; BatchNormReLU>>(<<0; -1; 2.5; '3'; None; True; [3]>>) | ShapeError | channels
nn.MaxPool2d(<<0; -1; 2.5; '3'; None; True; [3]>>) | ShapeError | kernel_size
nn.GlobalAvgPool()(x) | ShapeError | (N, H, W, C)
nn.<<ReLU; Sigmoid; ChannelAttention; SpatialAttention>>()(np.ones(3)) | ShapeError | Tensor
nn.GlobalAvgPool()(np.ones(3)) | ShapeError | Tensor
nn.Conv2d(3, 2, <<0; "3">>) | ShapeError | kernel_size
nn.Conv2d(3, 2, 3, stride=0) | ShapeError | stride
nn.Conv2d(3, 2, 3, padding=-1) | ShapeError | padding
nn.Conv2d(3, 2, 3, groups=<<2; 0; "1">>) | ShapeError | groups
nn.Conv2d(3, 2, 3, rng=0) | ShapeError | rng
nn.Conv2d(3, 2, 3, dtype="int32") | ShapeError | dtype
nn.Linear(3, 2, rng=42) | ShapeError | rng
nn.Linear(3, 2, dtype=<<complex; "flaot">>) | ShapeError | dtype
nn.BatchNorm2d(3, momentum=<<2; "a">>) | ShapeError | momentum
nn.BatchNorm2d(3, eps=<<-1; np.nan>>) | ShapeError | eps
nn.BatchNorm2d(3, dtype=int) | ShapeError | dtype
nn.BatchNormReLU(3, eps=None) | ShapeError | eps
nn.MaxPool2d(2, 0) | ShapeError | stride
nn.MaxPool2d(2, padding=-1) | ShapeError | padding
nn.MaxPool2d(2, ceil_mode=None) | ShapeError | ceil_mode
nn.UpsampleBilinear2d(<<0; "a">>) | ShapeError | size
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
nn.ReLU().train(<<"yes"; None>>) | ShapeError | mode
nn.Linear(2, 2).load_state_dict(<<None; "file">>) | CheckpointError | dict
nn.Linear(2, 2).load_state_dict({}) | CheckpointError | weight
nn.Linear(1, 1).load_state_dict({"weight": [[1]], "bias": [0.0]}) | CheckpointError | weight
nn.Linear(1, 1).load_state_dict({"weight": [[np.nan]], "bias": [0.0]}) | CheckpointError | finite
nn.Linear(1, 1).load_state_dict({"weight": [1.0], "bias": [0.0]}) | ShapeError | weight
nn.Linear(1, 1).load_state_dict({"weight": [["a"]], "bias": [0.0]}) | CheckpointError | weight
setattr(nn.Module(), "a", {nn.ReLU()}) or held({nn.ReLU()}).eval() | ShapeError | set
held(nn.ReLU() for _ in "ab").parameters() | ShapeError | generator
observed(<<3; None>>) | ShapeError | observe
create_model("attention_nanno") | RecipeError | attention_nano
create_model(None) | RecipeError | None
create_model(["resnet"]) | RecipeError | resnet
create_model("attention_nano", num_classes=<<0; "10"; 2.5>>) | RecipeError | num_classes
create_model("attention_nano", dtype=<<"float16"; "int"; "flaot">>) | RecipeError | dtype
create_model("attention_nano", seed=<<None; -1; 1.5; "a"; True>>) | RecipeError | seed
create_model("attention_nano", <<learnin="naive"; learning="nave">>) | RecipeError | learning
create_model("attention_nano", attention="mix") | RecipeError | attention
create_model("attention_nano", mask="hour") | RecipeError | mask
create_model("attention_nano", unit="prea") | RecipeError | unit
create_model("attention_nano", p=0) | RecipeError | p
create_model("attention_nano", t=None) | RecipeError | t
create_model("attention_nano", r=1.5) | RecipeError | r
create_model("attention_nano", widths=(16, 33)) | RecipeError | 33
create_model("attention_nano", widths=<<16; (16,); ("a", "b")>>) | RecipeError | widths
create_model("attention_nano", stem="big") | RecipeError | stem
optim.SGD(<<None; 3; q>>, 0.1) | RecipeError | params must be a list of tensors
optim.SGD([], 0.1) | RecipeError | no parameters
optim.SGD(<<[c]; [3.0]; [np.zeros(3)]>>, 0.1) | RecipeError | params[0] is no Tensor that requires
optim.SGD([q, c], 0.1) | RecipeError | params[1] is no Tensor that requires
optim.SGD([q, q], 0.1) | RecipeError | listed twice
optim.SGD([q], -0.1) | RecipeError | lr must be a number of at least 0, got -0.1
optim.SGD([q], <<-1; np.nan; np.inf; "0.1"; None; True>>) | RecipeError | lr must be
optim.SGD([q], 0.1, momentum=<<1.0; -0.5; "0.9">>) | RecipeError | momentum must be
optim.SGD([q], 0.1, weight_decay=<<-1; -1e-4; None>>) | RecipeError | weight_decay must be
optim.SGD([q], 0.1, nesterov=True) | RecipeError | nesterov needs a momentum above 0
optim.SGD([q], 0.1).step() | GradientError | no gradient
optim.SGD([q], 0.1).load_state_dict(<<{}; None>>) | CheckpointError | velocities
setattr(optim.SGD([q], 0.1), "lr", <<np.nan; "a">>) | RecipeError | lr
optim.Average(None, optim.SGD([q], 0.1), 0.9) | RecipeError | model
optim.Average(nn.Linear(2, 2), None, 0.9) | RecipeError | optimizer
optim.Average(nn.Linear(2, 2), optim.SGD([q], 0.1), <<1.0; -0.1; "0.9">>) | RecipeError | decay
optim.Average(nn.Linear(2, 2), optim.SGD([q], 0.1), 0.9).update(0) | RecipeError | step
optim.constant(<<np.nan; "a">>) | RecipeError | lr
optim.multistep(-1, [3]) | RecipeError | lr
optim.multistep(0.1, <<3; "34">>) | RecipeError | milestones
optim.multistep(0.1, <<[-3]; [0.5]>>) | RecipeError | milestone
optim.multistep(0.1, [3], factor=-1) | RecipeError | factor
optim.cosine(0.1, <<0; 1.5>>) | RecipeError | total
optim.cosine(0.1, 10, warmup=<<11; -1>>) | RecipeError | warmup
optim.cosine(0.1, 10, final=np.nan) | RecipeError | final
optim.cosine(None, 10) | RecipeError | lr
optim.one_cycle(0.1, <<0; "10">>) | RecipeError | total
optim.one_cycle(0.1, 10, warmup=<<1; -0.1>>) | RecipeError | warmup
optim.one_cycle(0.1, 10, start=-1) | RecipeError | start
optim.one_cycle(np.nan, 10) | RecipeError | lr
"""
