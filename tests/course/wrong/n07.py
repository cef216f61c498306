"""Plausible wrong answers to the exercises of notebook 07."""

from minran import nn, ops


def _count(cin, cout, stride=1, norms=True, projects=None):
    inner = cout // 4
    total = cin * inner + 9 * inner * inner + inner * cout
    if norms:
        total += 2 * (cin + 2 * inner)
    if projects is None:
        projects = cin != cout or stride != 1
    return total + cin * cout * projects


def forgets_batch_norm(cin, cout, stride=1):
    """Convolutions only."""
    return _count(cin, cout, stride, norms=False)


def never_projects(cin, cout, stride=1):
    """The shortcut is always free."""
    return _count(cin, cout, stride, projects=False)


def always_projects(cin, cout, stride=1):
    """A projection in every unit."""
    return _count(cin, cout, stride, projects=True)


class _Unit(nn.Module):
    always = False
    bias = False
    strided = "conv2"

    def __init__(self, cin, cout, stride=1):
        inner = cout // 4
        first = stride if self.strided == "conv1" else 1
        self.norm1 = nn.BatchNormReLU(cin)
        self.conv1 = nn.Conv2d(cin, inner, 1, stride=first)
        self.norm2 = nn.BatchNormReLU(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride // first, padding=1, bias=self.bias)
        self.norm3 = nn.BatchNormReLU(inner)
        self.conv3 = nn.Conv2d(inner, cout, 1)
        self.shortcut = None
        if self.always or cin != cout or stride != 1:
            self.shortcut = nn.Conv2d(cin, cout, 1, stride=stride)

    def branch(self, a):
        """What is added to the shortcut."""
        y = self.conv2(self.norm2(self.conv1(a)))
        return self.conv3(self.norm3(y))

    def forward(self, x):
        """As it should be."""
        a = self.norm1(x)
        return self.branch(a) + (x if self.shortcut is None else self.shortcut(a))


class ProjectsTheRawInput(_Unit):
    """The projection reads x."""

    def forward(self, x):
        """conv1x1(x)."""
        return self.branch(self.norm1(x)) + (x if self.shortcut is None else self.shortcut(x))


class AlwaysProjects(_Unit):
    """A projection in every unit."""

    always = True


class EndsWithReLU(_Unit):
    """Post-activation."""

    def forward(self, x):
        """relu of the sum."""
        return ops.relu(super().forward(x))


class ForgetsTheShortcut(_Unit):
    """F(x) alone."""

    def forward(self, x):
        """Only the branch."""
        return self.branch(self.norm1(x))


class AddsThePreActivated(_Unit):
    """The identity path starts behind the ReLU."""

    def forward(self, x):
        """a instead of x."""
        a = self.norm1(x)
        return self.branch(a) + (a if self.shortcut is None else self.shortcut(a))


class StridesTooEarly(_Unit):
    """The stride in the first convolution."""

    strided = "conv1"


class HasABias(_Unit):
    """A bias before a batch norm."""

    bias = True


WRONG = {
    "07.1": [
        ("forgets batch norm", forgets_batch_norm),
        ("never projects", never_projects),
        ("always projects", always_projects),
    ],
    "07.2": [
        ("projects the raw input", ProjectsTheRawInput),
        ("always projects", AlwaysProjects),
        ("ends with a ReLU", EndsWithReLU),
        ("forgets the shortcut", ForgetsTheShortcut),
        ("adds the pre-activated input", AddsThePreActivated),
        ("strides too early", StridesTooEarly),
        ("has a bias", HasABias),
    ],
}
