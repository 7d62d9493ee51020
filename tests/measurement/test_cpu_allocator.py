"""When freed memory is kept, and when it goes back to the system."""

import subprocess
import sys

_KEEPING = """
from harness.measurement import cpu_allocator
cpu_allocator.manage_memory()
import psutil, torch

def kept():
    before = psutil.Process().memory_info().rss
    tensors = [torch.ones(2**20) for _ in range(32)]  # of 4 MiB each
    del tensors
    return psutil.Process().memory_info().rss - before

kept()
before = psutil.Process().memory_info().rss
with cpu_allocator.keeping_freed():
    inside = kept()
resident = psutil.Process().memory_info().rss - before
print(inside // 2**20, resident // 2**20, kept() // 2**20)
"""


def test_freed_memory_is_kept_while_a_block_lasts_and_no_longer() -> None:
    done = subprocess.run([sys.executable, "-c", _KEEPING], capture_output=True, text=True, check=True)
    inside, resident, after = map(int, done.stdout.split())
    assert inside > 64
    assert resident < 32
    assert after < 32
