"""Wrong calls of operations: expression | error | a word in it."""

ROWS = """
ops.<<max_pool2d; avg_pool2d>>(x, 2) | ShapeError | (N, H, W, C)
ops.<<global_avg_pool; channel_attention; spatial_attention>>(x) | ShapeError | (N, H, W, C)
ops.upsample_bilinear2d(x, 3) | ShapeError | upsample_bilinear2d: x must be (N, H, W, C), got (2, 3)
ops.conv2d(x, w) | ShapeError | conv2d: x must be (N, H, W, C), got (2, 3)
ops.<<max_pool2d; avg_pool2d>>(np.ones(3), 2) | ShapeError | Tensor
ops.<<global_avg_pool; channel_attention; spatial_attention>>(np.ones(3)) | ShapeError | Tensor
ops.<<relu; sigmoid; softmax; log_softmax>>(np.ones(3)) | ShapeError | Tensor
ops.upsample_bilinear2d(np.ones(3), 3) | ShapeError | Tensor
ops.conv2d(np.ones(3), w) | ShapeError | Conv2d: expected a Tensor, got ndarray
ops.gate(np.ones(3), np.ones(3)) | ShapeError | Tensor
ops.linear(np.ones(3), v) | ShapeError | Tensor
ops.<<max_pool2d; avg_pool2d>>(n, 2) | ShapeError | fractions
ops.<<global_avg_pool; channel_attention; spatial_attention; relu>>(n) | ShapeError | fractions
ops.<<sigmoid; softmax; log_softmax>>(n) | ShapeError | fractions
ops.upsample_bilinear2d(n, 3) | ShapeError | fractions
ops.conv2d(n, w) | ShapeError | Conv2d: computes with fractions, got a tensor of int64
ops.gate(n, n) | ShapeError | fractions
ops.linear(n, v) | ShapeError | fractions
ops.<<max_pool2d; avg_pool2d>>(None, 2) | ShapeError | None
ops.<<global_avg_pool; channel_attention; spatial_attention; relu>>(None) | ShapeError | None
ops.<<sigmoid; softmax; log_softmax>>(None) | ShapeError | None
ops.upsample_bilinear2d(None, 3) | ShapeError | None
ops.conv2d(None, w) | ShapeError | None
ops.gate(None, None) | ShapeError | None
ops.linear(None, v) | ShapeError | None
ops.conv2d(p, x) | ShapeError | conv2d: w must be (KH, KW, C/groups, K), got (2, 3)
ops.conv2d(p, t(3, 3, 2, 4)) | ShapeError | 3 channels, w expects 2 (x (1, 4, 4, 3), w (3, 3, 2, 4))
ops.conv2d(p, w64) | ShapeError | conv2d: x is float32 but w is float64
ops.conv2d(p, w, t(9)) | ShapeError | conv2d: bias must be (2,), got (9,)
ops.conv2d(p, w, 0.0) | ShapeError | Tensor
ops.conv2d(p, w, stride=<<0; 1.0; (1, 2, 3)>>) | ShapeError | stride
ops.conv2d(p, w, padding=<<-1; "same"; None>>) | ShapeError | padding
ops.conv2d(p, w, groups=<<0; 2; True; "1">>) | ShapeError | groups
ops.conv2d(p, t(9, 9, 3, 2)) | ShapeError | conv2d: a window of 9 does not fit into an axis of 4
ops.linear(x, t(5, 2)) | ShapeError | linear: expected x (N, D) and w (D, K), got (2, 3) and (5, 2)
ops.linear(x, v, t(9)) | ShapeError | linear: bias must be (2,), got (9,)
ops.linear(p, v) | ShapeError | linear
ops.linear(x, v64) | ShapeError | linear: x is float32 but w is float64
ops.max_pool2d(p, 0) | ShapeError | max_pool2d
ops.max_pool2d(p, 9) | ShapeError | max_pool2d: a window of 9 does not fit into an axis of 4
ops.max_pool2d(p, "2") | ShapeError | a pair of ints (rows, columns), got '2'
ops.max_pool2d(p, 2, 0) | ShapeError | stride
ops.max_pool2d(p, 2, padding=<<2; -1>>) | ShapeError | padding
ops.max_pool2d(p, 2, ceil_mode="no") | ShapeError | ceil_mode
ops.avg_pool2d(p, -1) | ShapeError | avg_pool2d
ops.avg_pool2d(p, None) | ShapeError | kernel_size
ops.avg_pool2d(p, 2, 1.5) | ShapeError | a pair of ints (rows, columns), got 1.5
ops.avg_pool2d(p, 2, padding="a") | ShapeError | padding
ops.upsample_bilinear2d(p, 0) | ShapeError | 2d: cannot go from (4, 4) to (0, 0) pixels
ops.upsample_bilinear2d(p, <<2.5; (1, 2, 3); None>>) | ShapeError | size
ops.upsample_bilinear2d(p, 3, align_corners="yes") | ShapeError | align_corners
ops.gate(p, t(1, 4, 4, 1)) | ShapeError | gate: mask (1, 4, 4, 3) and trunk (1, 4, 4, 1)
ops.gate(p, p, "resdual") | RecipeError | resdual
ops.gate(p, p, None) | RecipeError | None
ops.channel_attention(p, eps=<<-1; np.nan; "a">>) | ShapeError | eps
ops.spatial_attention(p, eps=<<-1e-5; None>>) | ShapeError | eps
ops.concat(<<[]; x; None>>) | ShapeError | concat: expected tensors, at least one, got
ops.concat([x, 3.0]) | ShapeError | tensors
ops.concat([x, t(9, 9)]) | ShapeError | concat: all axes but -1 must agree, got (2, 3) and (9, 9)
ops.concat([x], <<5; "0">>) | ShapeError | axis
ops.cross_entropy(x, [0]) | ShapeError | (2,) or probabilities (2, 3), got int64 (1,)
ops.cross_entropy(x, <<[0, 3]; [-1, 0]>>) | ShapeError | labels must lie in 0..2, got values from
ops.cross_entropy(x[:1], [3]) | ShapeError | 0..2
ops.cross_entropy(x, [0.0, 1.0]) | ShapeError | integers (2,) or probabilities (2, 3), got float64
ops.cross_entropy(x, [True, False]) | ShapeError | bool
ops.cross_entropy(x, <<["a", "b"]; None>>) | ShapeError | labels
ops.cross_entropy(x, [[0.5, 0.4, 0.0], [1.0, 0.0, 0.0]]) | ShapeError | sum to 1
ops.cross_entropy(x, [[1.5, -0.5, 0.0], [1.0, 0.0, 0.0]]) | ShapeError | at least 0
ops.cross_entropy(x, np.full((2, 3), np.nan)) | ShapeError | probabilities
ops.cross_entropy(p, [0]) | ShapeError | (N, K)
ops.cross_entropy(np.ones((2, 3)), [0, 1]) | ShapeError | expected a Tensor, got ndarray
ops.cross_entropy(x, [0, 1], <<1.0; -0.1; "0.1"; np.nan>>) | ShapeError | in [0, 1), got
ops.batch_norm(t(2, 2, 3), *bn3, True) | ShapeError | (N, H, W, C) or (N, C), got (2, 2, 3)
ops.batch_norm(p, *bn2, True) | ShapeError | channels
ops.batch_norm(p, *bn3, True, momentum=<<np.inf; None>>) | ShapeError | momentum
ops.batch_norm(p, *bn3, True, eps=<<0; -1; np.inf; np.nan; None; "a">>) | ShapeError | above 0, got
ops.batch_norm(p, bn3[0], bn3[1], [0, 0, 0], bn3[3], True) | ShapeError | running_mean
ops.batch_norm(p, bn3[0], bn3[1], None, None, True) | ShapeError | running_mean
ops.batch_norm(p, bn3[0], bn3[1], np.zeros(3, int), bn3[3], True) | ShapeError | running_mean
ops.batch_norm(<<p, np.ones(3), bn3[1], bn3[2], bn3[3]; None, *bn3>>, True) | ShapeError | Tensor
ops.batch_norm(t(1, 1, 1, 3), *bn3, True) | ShapeError | x (1, 1, 1, 3) has one value per channel
ops.batch_norm(p, *bn3, True, moments=<<3; (bn3[2],)>>) | ShapeError | moments
ops.batch_norm_relu(p, *bn3, True, moments=(bn3[2], <<np.ones(2); None>>)) | ShapeError | variance
ops.batch_norm_relu(x, *bn2, True) | ShapeError | channels
ops.batch_norm_relu(p, *bn3, True, eps=np.inf) | ShapeError | eps
ops.batch_norm_relu(p, *bn3, True, momentum='a') | ShapeError | momentum
ops.norm_relu_conv2d(x, *bn3, True, w) | ShapeError | norm_relu_conv2d
ops.norm_relu_conv2d(p, *bn3, True, w64) | ShapeError | conv2d: x is float32 but w is float64
ops.norm_relu_conv2d(p, *bn3, True, w, stride=<<0; 1.5>>) | ShapeError | stride
ops.norm_relu_conv2d(p, *bn3, True, w, padding=<<9; "a">>) | ShapeError | padding
ops.norm_relu_conv2d(p, *bn3, True, w, residual=p) | ShapeError | be (1, 4, 4, 2), got (1, 4, 4, 3)
ops.norm_relu_conv2d(p, *bn3, True, w, eps=-1) | ShapeError | eps
ops.norm_relu_conv2d(p, *bn3, True, None) | ShapeError | None
ops.folded_unit(p, [], []) | BackendError | no_grad
ungraded(lambda: ops.folded_unit(p, [], [])) | ShapeError | folded_unit
"""
