"""Importing PyTorch's own tests forbids, for the whole process, to set its flags.

Other tests of this process set them, so it may not.
"""

from __future__ import annotations

from contextlib import suppress

with suppress(ImportError):
    import torch.backends

    torch.backends.disable_global_flags = lambda: None
