"""Products of float32 matrices on a CPU: torch's own, or on request by oneDNN, which some processors need.

torch multiplies float32 matrices by MKL, which takes its AVX-512 code on Intel's processors alone: an AMD processor
that has AVX-512 runs the AVX2 code. oneDNN, which torch ships too and takes for bfloat16 and convolutions, asks the
processor what it can do. Both compute in float32; sums are rounded in another order. What it brings: docs/speed.md.

A measuring tool does not change what it measures, so torch is the default; HARNESS_MATMUL asks for something else, and
the record says by what a run multiplied.
"""

from __future__ import annotations

import os
import platform
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import UserError

if TYPE_CHECKING:
    import torch


ONEDNN, TORCH, AUTO = "oneDNN", "torch", "auto"
VARIABLE = "HARNESS_MATMUL"
PROCESSORS = Path("/proc/cpuinfo")
_LEAST = 2**19  # multiplications below which calling oneDNN costs more than it saves
_library: Any = None


def chosen() -> str:
    """torch; oneDNN if the variable says so, or says auto and the processor gains from it. Part of a run's identity.

    UserError if the variable says anything else.
    """
    asked = os.environ.get(VARIABLE) or TORCH
    if asked not in (TORCH, ONEDNN, AUTO):
        raise UserError(f"{VARIABLE}={asked}: known are {TORCH}, {ONEDNN} and {AUTO}.")
    if asked == AUTO:
        return ONEDNN if _amd_with_avx512() else TORCH
    return asked


def use_chosen() -> None:
    """Have this process and those forked from it multiply as `chosen` says, gradients included."""
    global _library
    import torch

    if chosen() != ONEDNN or _library or not torch.backends.mkldnn.is_available():
        return
    _library = torch.library.Library("aten", "IMPL")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a kernel is replaced is what is meant
        _library.impl("mm", mm, "CPU")
        _library.impl("addmm", addmm, "CPU")


def in_use() -> str:
    """Which library this process uses for matrix products."""
    return ONEDNN if _library else TORCH


def mm(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """`torch.mm` on the CPU: (m, k) by (k, n)."""
    import torch

    if _suits(left, right):
        return _linear(left, right, None)
    out = torch.empty(left.shape[0], right.shape[1], dtype=left.dtype)
    return torch.ops.aten.mm.out(left, right, out=out)


def addmm(
    added: torch.Tensor, left: torch.Tensor, right: torch.Tensor, *, beta: float = 1, alpha: float = 1
) -> torch.Tensor:
    """`torch.addmm` on the CPU: beta x added + alpha x left @ right; `added` of shape (n,) is a layer's bias."""
    import torch

    if _suits(left, right) and alpha == 1 and beta == 1 and added.dtype is left.dtype:
        if added.dim() == 1 and len(added) == right.shape[1]:
            return _linear(left, right, added)
        return _linear(left, right, None).add_(added)
    out = torch.empty(left.shape[0], right.shape[1], dtype=left.dtype)
    return torch.ops.aten.addmm.out(added, left, right, beta=beta, alpha=alpha, out=out)


def _suits(left: torch.Tensor, right: torch.Tensor) -> bool:
    import torch

    large = left.shape[0] * left.shape[1] * right.shape[-1] >= _LEAST
    return large and left.dtype is torch.float32 and right.dtype is torch.float32 and left.shape[1] == right.shape[0]


def _linear(left: torch.Tensor, right: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """left @ right + bias, as the linear layer that oneDNN knows: its weight is `right` transposed."""
    import torch

    return torch.ops.mkldnn._linear_pointwise(left, right.t(), bias, "none", [], "")


def _amd_with_avx512() -> bool:
    """Whether this is the one kind of processor on which MKL is known to hold back."""
    if platform.machine() != "x86_64" or not PROCESSORS.exists():
        return False
    first = PROCESSORS.read_text().partition("\n\n")[0]
    return "AuthenticAMD" in first and " avx512f " in first.replace("\n", " ")
