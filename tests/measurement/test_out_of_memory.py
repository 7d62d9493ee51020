"""Which exceptions mean that memory ran out."""

import pytest
import torch

from harness.measurement.out_of_memory import is_out_of_memory

OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    torch.OutOfMemoryError(),
    MemoryError(),
    RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB"),
    RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
    RuntimeError("CUDA driver error: out of memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("cudaErrorMemoryAllocation"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried"),
]
OTHER = [
    RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
    RuntimeError("CUDA error: device-side assert triggered"),
    RuntimeError("DataLoader worker is killed; it may be out of shared memory"),
    ValueError("out of memory"),
    KeyboardInterrupt(),
]


@pytest.mark.parametrize("cause", OUT_OF_MEMORY, ids=repr)
def test_a_failed_allocation_is_recognised(cause: BaseException) -> None:
    assert is_out_of_memory(cause)


@pytest.mark.parametrize("cause", OTHER, ids=repr)
def test_other_errors_are_not_taken_for_it(cause: BaseException) -> None:
    assert not is_out_of_memory(cause)
