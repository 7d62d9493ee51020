"""A task beside its public twin."""

from __future__ import annotations

from pathlib import Path

from tests.factories import make_record, make_report, table_rows


def test_a_task_is_compared_with_its_public_twin_by_the_order_of_methods(tmp_path: Path) -> None:
    values = {"zero_shot": 0.2, "few_shot": 0.3, "full": 0.6, "prefix": 0.5}
    own = [make_record(name, value) for name, value in values.items()]
    twin = [make_record(name, 0.9 - value, task="banking77", data="7" * 64) for name, value in values.items()]
    rows = table_rows(make_report(tmp_path, *own, *twin), "ticket_routing")
    assert [row[1:] for row in rows] == [["banking77", "smollm2-135m-q4", "4", "-1.00"]]
    assert "public twins" not in make_report(tmp_path / "alone", *own)
    assert "public twins" not in make_report(tmp_path / "few", *own[:2], *twin)
