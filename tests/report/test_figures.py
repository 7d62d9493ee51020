"""What a report draws: figures of cost, ranks, learning curves and forgetting; and a task beside its public twin."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

from harness.records.cohorts import Cohort, gather
from harness.records.costs import Prices
from harness.records.measures import peak_memory
from harness.records.reading import load_records
from harness.records.record import Record
from harness.report.figures import draw_figures, pareto, points_of
from tests.factories import make_quickstart, make_record, make_report, table_rows, with_training_rows, write_results


def test_figures_exist_and_every_link_of_the_page_resolves(tmp_path: Path) -> None:
    page = make_report(tmp_path, *make_quickstart())
    links = re.findall(r"\]\(([^)]+)\)", page)
    assert [link.rsplit("-", 1)[-1] for link in links if link.endswith(".svg")] == [
        "memory.svg",
        "latency.svg",
        "training.svg",
        "cost.svg",
        "rank.svg",
    ]
    for link in links:
        file = tmp_path / "report" / link
        assert file.stat().st_size > 0
        assert file.suffix != ".svg" or "text{paint-order: stroke; stroke: #FFFFFF" in file.read_text()
        assert file.suffix != ".svg" or ElementTree.parse(file).getroot().tag == "{http://www.w3.org/2000/svg}svg"


def test_a_figure_holds_only_text_whatever_names_say(tmp_path: Path) -> None:
    hostile = '"><script>alert(1)</script><image href="//t"/>'
    make_report(tmp_path, *(make_record(name, model=hostile, task="evil") for name in (f"rag {hostile}", hostile)))
    figures = list((tmp_path / "report" / "figures").iterdir())
    assert figures
    for file in figures:
        said = ElementTree.parse(file)
        assert hostile[:9] in "".join(said.getroot().itertext())
        used = {element.tag.rsplit("}", 1)[-1] for element in said.iter()}
        assert not used & {"script", "image", "a", "foreignObject"}
        assert "http" not in re.sub(r"http://(www\.w3\.org|purl\.org|creativecommons\.org)/", "", file.read_text())


def test_the_pareto_front_is_what_nothing_cheaper_is_better_than(tmp_path: Path) -> None:
    runs = [
        ("zero_shot", 0.3, 400),
        ("few_shot", 0.2, 500),
        ("rag", 0.5, 600),
        ("full", 0.5, 900),
        ("oracle", 0.9, 450),
    ]
    write_results(tmp_path, *(make_record(name, quality, memory=memory) for name, quality, memory in runs))
    (cohort,) = gather(load_records(str(tmp_path)), [])
    front = pareto(points_of(cohort, peak_memory))
    assert [point.row.name for point in front] == ["zero_shot", "rag"], "an upper bound is no choice"


def test_without_training_there_is_no_figure_of_its_time(tmp_path: Path) -> None:
    assert "-training.svg" not in make_report(tmp_path, make_record("zero_shot"), make_record("rag"))


def test_a_price_and_a_number_of_requests_are_what_the_axis_of_cost_says(tmp_path: Path) -> None:
    write_results(tmp_path, make_record("zero_shot"), make_record("lora", rank=8))
    (cohort,) = gather(load_records(str(tmp_path)), [])
    free, priced = Prices(), Prices(hour=36, requests_per_month=2e5)
    assert "set-up and 1,000 requests (s)" in draw_cost(cohort, free)
    assert "cost of set-up and 200,000 requests at 36 an hour" in draw_cost(cohort, priced)


def draw_cost(cohort: Cohort, prices: Prices) -> str:
    (drawing,) = [d for d in draw_figures(cohort, prices) if d.name.endswith("-cost.svg")]
    return drawing.svg


def test_one_rank_alone_makes_no_figure_by_rank(tmp_path: Path) -> None:
    assert "-rank.svg" not in make_report(tmp_path, make_record("zero_shot"), make_record("lora", rank=8))


def test_several_numbers_of_labelled_rows_make_a_learning_curve(tmp_path: Path) -> None:
    runs = [
        run
        for i, rows in enumerate((16, 32, 64))
        for run in with_training_rows(
            rows, make_record("lora", 0.4 + 0.1 * i, rank=8), make_record("few_shot", 0.45), make_record("full", 0.3)
        )
    ]
    page = make_report(tmp_path, make_record("zero_shot", 0.2), *runs)
    assert re.search(r"\(figures/\S+-rows\.svg\)", page)
    assert "-rows.svg" not in make_report(tmp_path / "two", *runs[:6])  # two points are no curve


def test_what_was_forgotten_is_drawn_against_what_was_gained(tmp_path: Path) -> None:
    def forgot(change: float, method: str) -> Record:
        interval = {"change": change, "low": change - 0.05, "high": change + 0.05}
        skill = {"before": 0.6, "after": 0.6 + change, **interval, "n": 100}
        parts = {"knowledge": skill, "bits_per_byte": {**skill, "change": -change}}
        return make_record(method, retention={"metric": "accuracy", **skill, "parts": parts})

    page = make_report(tmp_path, forgot(-0.1, "full"), forgot(-0.02, "lora"), make_record("zero_shot"))
    assert re.search(r"\(figures/\S+-retention\.svg\)", page)
    assert ["full", "knowledge", "0.600", "0.500", "-0.10 (-0.15 to -0.05)", "100"] in table_rows(page, "full")
    assert ["full", "bits_per_byte"] in [row[:2] for row in table_rows(page, "full")]
