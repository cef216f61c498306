"""The soft mask and the attention module (paper section 3).

A word on directions. What runs first in a mask is always the **bottom-up** half: max-pools
that gather context. Then comes the **top-down** half: interpolations that bring it back to
every position. Some summaries swap the two names; the code goes by the direction of flow.
"""

from __future__ import annotations

from minran import checks, nn, ops
from minran.autograd import Tensor
from minran.errors import RecipeError, expect_whole
from minran.models.units import Build, unit, units

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "mixed": nn.Sigmoid,
    "channel": nn.ChannelAttention,
    "spatial": nn.SpatialAttention,
}
"""The three ways to turn the mask's last map into attention (Eq. 4-6)."""

MASKS = ("hourglass", "local", "none")


class Hourglass(nn.Module):
    """Bottom-up and top-down of one level, with the deeper levels inside.

        d = units(maxpool(x))                              bottom-up, half the size
        y = up(skip(d) + Hourglass(d))                     a deeper level exists
        y = bottom(d)                                      the deepest level
        output = interpolate(y to the size of x)           top-down

    x: (N, H, W, C) -> (N, H, W, C). The pool reads the previous level's output, so the levels
    really nest; the skip is one unit on d, and nothing of the trunk enters.
    """

    def __init__(self, build: Build, channels: int, depth: int, r: int) -> None:
        expect_whole(depth, "Hourglass: depth", error=RecipeError)
        self.pool = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.down = units(build, channels, r)
        if depth > 1:
            self.skip = unit(build, channels, channels)
            self.inner = Hourglass(build, channels, depth - 1, r)
            self.up = units(build, channels, r)
        else:
            self.bottom = units(build, channels, r)
        self.depth = depth
        self.interpolate = nn.UpsampleBilinear2d(align_corners=True)

    def forward(self, x: Tensor) -> Tensor:
        d = self.down(self.pool(x))
        y = self.up(self.skip(d) + self.inner(d)) if self.depth > 1 else self.bottom(d)
        return self.interpolate(y, x)


class Head(nn.Sequential):
    """The end of a mask: [BN-ReLU,] conv1x1, BN-ReLU, conv1x1, activation."""


class MaskBranch(nn.Module):
    """The mask M(x): hourglass, two 1x1 convolutions, attention activation.

    The head is BN-ReLU-conv-BN-ReLU-conv-activation with pre-activation units, and without the
    first BN-ReLU after post-activation ones. No batch norm stands right before the
    activation. `mask="local"` replaces the hourglass by three units without pooling (Table 4).
    """

    def __init__(
        self, build: Build, channels: int, depth: int, r: int, attention: str, mask: str
    ) -> None:
        checks.expect_one_of(attention, ACTIVATIONS, "attention", RecipeError)
        local = mask == "local"
        self.body = units(build, channels, 3) if local else Hourglass(build, channels, depth, r)
        first = [build.norm_relu(channels)] if build.pre_activation else []
        self.head = build.kind(Head)(
            *first,
            build.conv(channels, channels, 1),
            build.norm_relu(channels),
            build.conv(channels, channels, 1),
            ACTIVATIONS[attention](),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, C) -> M (N, H, W, C), in (0, 1) for mixed and spatial attention."""
        return self.head(self.body(x))


class AttentionModule(nn.Module):
    """p units, the trunk's t units gated by the mask, p units (paper Fig. 2).

        u = before(x);  H = (1 + M(u)) T(u)  (Eq. 3; Eq. 1 when `learning="naive"`);  after(H)

    x: (N, H, W, C) -> (N, H, W, C). With `mask="none"` only the trunk is left: H = T(u).
    """

    def __init__(
        self,
        build: Build,
        channels: int,
        depth: int,
        p: int = 1,
        t: int = 2,
        r: int = 1,
        learning: str = "residual",
        attention: str = "mixed",
        mask: str = "hourglass",
    ) -> None:
        checks.expect_one_of(mask, MASKS, "mask", RecipeError)
        checks.expect_one_of(learning, ops.LEARNING, "learning", RecipeError)
        checks.expect_counts("AttentionModule", RecipeError, p=p, t=t, r=r)
        self.learning = learning
        self.before = units(build, channels, p)
        self.trunk = units(build, channels, t)
        masked = mask != "none"
        self.mask = MaskBranch(build, channels, depth, r, attention, mask) if masked else None
        self.after = units(build, channels, p)

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, C) -> (N, H, W, C)."""
        u = self.before(x)
        h = self.trunk(u)
        if self.mask is not None:
            h = ops.gate(self.mask(u), h, self.learning)
        return self.after(h)
