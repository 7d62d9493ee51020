"""Matrix products by oneDNN are torch's, gradients included, in every layout that a layer or its gradient has."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from harness.errors import UserError
from harness.measurement import matmul

LEFT = torch.randn(96, 160, generator=torch.Generator().manual_seed(1))
RIGHT = torch.randn(160, 224, generator=torch.Generator().manual_seed(2))
LAYOUTS = {
    "plain": (LEFT, RIGHT),
    "a layer's weight": (LEFT, RIGHT.t().contiguous().t()),
    "a weight's gradient": (LEFT.t().contiguous().t(), RIGHT),
    "rows of a larger one": (torch.cat([LEFT, LEFT])[::2], RIGHT),
    "small": (LEFT[:2], RIGHT[:, :3]),
    "one row": (LEFT[:1], RIGHT),
    "no row": (LEFT[:0], RIGHT),
    "double": (LEFT.double(), RIGHT.double()),
}


def exact_product(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    return left.double() @ right.double()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_products_are_those_of_float64(layout: str) -> None:
    left, right = LAYOUTS[layout]
    product = matmul.mm(left, right)
    assert product.dtype == left.dtype
    torch.testing.assert_close(product.double(), exact_product(left, right), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("added", ["bias", "column", "matrix"])
@pytest.mark.parametrize("beta, alpha", [(1, 1), (0.5, 2)])
def test_sums_of_products_are_those_of_float64(layout: str, added: str, beta: float, alpha: float) -> None:
    left, right = LAYOUTS[layout]
    shape = {"bias": (right.shape[1],), "column": (len(left), 1), "matrix": (len(left), right.shape[1])}[added]
    addend = torch.randn(shape, generator=torch.Generator().manual_seed(3)).to(left.dtype)
    found = matmul.addmm(addend, left, right, beta=beta, alpha=alpha)
    expected = beta * addend.double() + alpha * exact_product(left, right)
    torch.testing.assert_close(found.double(), expected, atol=1e-4, rtol=1e-5)


def test_shapes_that_do_not_fit_say_so() -> None:
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        matmul.mm(LEFT, RIGHT.t())


IN_A_PROCESS = """
import torch, harness.sweep.preload
from harness.measurement import matmul
from harness.measurement.machine import describe_environment
assert describe_environment("", 0).matmul == {by!r} == matmul.in_use()
with torch.profiler.profile() as seen:
    torch.nn.Linear(160, 224)(torch.ones(96, 160))
assert any("_linear_pointwise" in event.key for event in seen.key_averages()) == ({by!r} == "oneDNN")
torch.manual_seed(0)
layer, plain = torch.nn.Linear(160, 224), torch.nn.Linear(224, 96, bias=False)
batch = torch.randn(4, 24, 160, requires_grad=True)
plain(torch.relu(layer(batch))).square().sum().backward()
torch.save([batch.grad, layer.weight.grad, layer.bias.grad, plain.weight.grad], {path!r})
"""


def test_a_process_multiplies_as_the_variable_says_and_gradients_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []
    for by in (matmul.ONEDNN, matmul.TORCH):
        monkeypatch.setenv(matmul.VARIABLE, by)
        script = IN_A_PROCESS.format(by=by, path=str(tmp_path / by))
        started.append(subprocess.Popen([sys.executable, "-W", "error", "-c", script]))
    assert [process.wait() for process in started] == [0, 0]
    gradients = [torch.load(tmp_path / by) for by in (matmul.ONEDNN, matmul.TORCH)]
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-4, rtol=1e-4)
        assert not torch.equal(ours, torch.zeros_like(ours))


@pytest.mark.parametrize(
    "about, by",
    [
        ("vendor_id\t: AuthenticAMD\nflags\t\t: avx2 avx512f avx512dq\n", matmul.ONEDNN),
        ("vendor_id\t: AuthenticAMD\nflags\t\t: avx2 avx\n", matmul.TORCH),
        ("vendor_id\t: GenuineIntel\nflags\t\t: avx2 avx512f avx512dq\n", matmul.TORCH),
    ],
)
def test_auto_takes_onednn_if_mkl_holds_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, about: str, by: str
) -> None:
    monkeypatch.setenv(matmul.VARIABLE, matmul.AUTO)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    (tmp_path / "cpuinfo").write_text(about + "\nprocessor: 1\n")
    monkeypatch.setattr(matmul, "PROCESSORS", tmp_path / "cpuinfo")
    assert matmul.chosen() == by
    monkeypatch.delenv(matmul.VARIABLE)
    assert matmul.chosen() == matmul.TORCH


def test_a_wrong_name_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(matmul.VARIABLE, "openblas")
    with pytest.raises(UserError, match="HARNESS_MATMUL=openblas: expected one of torch, oneDNN, auto"):
        matmul.chosen()
