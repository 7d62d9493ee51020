"""Whether an exception means that memory ran out, of the GPU or of the machine."""

from __future__ import annotations

import torch

_MESSAGES = (
    "out of memory",  # CUDA's runtime, its driver and torch's allocator
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "cudaErrorMemoryAllocation",
    "DefaultCPUAllocator: can't allocate memory",
)


def is_out_of_memory(cause: BaseException) -> bool:
    """Whether an allocation failed; libraries below torch raise a plain RuntimeError, known by its message."""
    if isinstance(cause, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(cause, RuntimeError) and any(message in str(cause) for message in _MESSAGES)
