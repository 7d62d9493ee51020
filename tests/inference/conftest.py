"""A tiny model of every kind."""

from __future__ import annotations

import pytest

from harness.models import loading
from tests.inference.asking import KINDS


@pytest.fixture(params=KINDS)
def base(request: pytest.FixtureRequest) -> loading.Base:
    return KINDS[request.param]()
