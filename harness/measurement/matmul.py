"""Products of float32 matrices on a CPU: torch's default, or oneDNN on request, which is faster on some processors.

torch multiplies float32 matrices with MKL, which uses its AVX-512 code only on Intel processors: an AMD processor with
AVX-512 runs the AVX2 code. oneDNN, which torch ships too and uses for bfloat16 and convolutions, checks the processor's
features. Both compute in float32 but round sums in a different order. The gain: docs/speed.md.

A measuring tool must not change what it measures, so torch is the default. HARNESS_MATMUL selects another backend, and
the record names the one that a run used.
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
    """oneDNN if HARNESS_MATMUL is oneDNN, or auto on a processor that gains from it; else torch.

    Part of a run's identity. UserError for any other value.
    """
    value = os.environ.get(VARIABLE) or TORCH
    if value not in (TORCH, ONEDNN, AUTO):
        raise UserError(f"{VARIABLE}={value}: expected one of {TORCH}, {ONEDNN}, {AUTO}.")
    if value == AUTO:
        return ONEDNN if _amd_with_avx512() else TORCH
    return value


def use_chosen() -> None:
    """Make this process and its forks multiply with the `chosen` backend, gradients included."""
    global _library
    import torch

    if chosen() != ONEDNN or _library or not torch.backends.mkldnn.is_available():
        return
    _library = torch.library.Library("aten", "IMPL")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns that this replaces a kernel
        _library.impl("mm", mm, "CPU")
        _library.impl("addmm", addmm, "CPU")


def in_use() -> str:
    """The backend that this process uses: torch | oneDNN."""
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
    """left @ right + bias as oneDNN's linear layer, whose weight is `right` transposed."""
    import torch

    return torch.ops.mkldnn._linear_pointwise(left, right.t(), bias, "none", [], "")


def _amd_with_avx512() -> bool:
    """Whether this is an AMD processor with AVX-512, on which MKL runs the slower AVX2 code."""
    if platform.machine() != "x86_64" or not PROCESSORS.exists():
        return False
    first = PROCESSORS.read_text().partition("\n\n")[0]
    return "AuthenticAMD" in first and " avx512f " in first.replace("\n", " ")
