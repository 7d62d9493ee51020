"""Why the untouched model fails, and what to run next."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from harness.records.reading import PREDICTIONS_FILE, load_records
from tests.commands import decide_one, run_decide
from tests.factories import (
    make_record,
    right_then_wrong,
    shuffled_scores,
    write_answered_runs,
    write_behaviour_task,
    write_knowledge_task,
    write_results,
)


def test_the_cause_is_named_with_its_share_of_the_errors(tmp_path: Path) -> None:
    found = decide_one(write_behaviour_task(tmp_path / "a")).diagnosis
    assert (found.cause, found.errors) == ("behaviour", 80)
    shares = {share.cause: round(share.share.value, 2) for share in found.shares}
    assert shares == {"behaviour": 0.75, "knowledge": 0.0, "capacity": 0.25}
    assert found.shares[0].examples == ("test-020", "test-021", "test-022")
    found = decide_one(write_knowledge_task(tmp_path / "b")).diagnosis
    assert found.cause == "knowledge"
    effects = {effect.what: round(effect.difference.value, 2) for effect in found.effects}
    assert effects["passages, trained"] == 0.6
    assert effects["the gold passage instead of retrieved ones"] == 0.1


@pytest.mark.parametrize(("zero", "other", "cause"), [(95, 96, "none"), (10, 11, "capacity")])
def test_few_errors_have_no_cause_and_errors_that_nothing_mends_are_of_capacity(
    tmp_path: Path, zero: int, other: int, cause: str
) -> None:
    runs = [
        (make_record("zero_shot"), right_then_wrong(zero), right_then_wrong(zero)),
        (make_record("full"), right_then_wrong(other), right_then_wrong(other)),
    ]
    found = decide_one(write_answered_runs(tmp_path, runs)).diagnosis
    assert found.cause == cause
    assert "knowledge" not in {share.cause for share in found.shares}, "nothing was asked with passages"


def test_without_answers_the_means_decide_and_it_is_said(tmp_path: Path) -> None:
    write_results(
        tmp_path, make_record("zero_shot", 0.2, 0.2), make_record("full", 0.8, 0.8), make_record("rag", 0.3, 0.3)
    )
    found = decide_one(str(tmp_path))
    assert (found.diagnosis.cause, found.diagnosis.errors) == ("behaviour", None)
    assert found.strategy.probability is None
    assert "based on means alone" in run_decide(str(tmp_path)).output


def test_what_to_run_next_is_what_could_change_the_choice(tmp_path: Path) -> None:
    runs = [
        (make_record("zero_shot", memory=400), right_then_wrong(20), right_then_wrong(20)),
        (make_record("full", memory=2600), right_then_wrong(80), shuffled_scores(round(0.50 * 60), 60, 1)),
        (make_record("lora", memory=900, rank=8), right_then_wrong(80), shuffled_scores(round(0.50 * 60), 60, 2)),
    ]
    found = decide_one(write_answered_runs(tmp_path / "a", runs))
    rival = found.strategy.rival
    assert {found.strategy.row.name, rival.row.name} == {"lora r8", "full"}
    assert 0.2 < rival.probability < 0.8
    assert rival.items > 5000, "two points take thousands of items where half of them differ"
    done = run_decide(str(tmp_path / "a")).output
    assert f"about {rival.items:,} would detect a difference of 2 points" in done
    assert "3 training seeds of lora r8 and full" in done
    untrained = [
        (make_record(m), right_then_wrong(n), right_then_wrong(n)) for m, n in (("zero_shot", 20), ("few_shot", 60))
    ]
    assert "method=lora, since" in run_decide(write_answered_runs(tmp_path / "b", untrained)).output
    facts = [
        (make_record(m, probes="knowledge"), right_then_wrong(n), right_then_wrong(n))
        for m, n in (("zero_shot", 5), ("rag", 60))
    ]
    assert "method=rag_lora, since" in run_decide(write_answered_runs(tmp_path / "c", facts)).output
    clear = [(make_record(m), right_then_wrong(n), right_then_wrong(n)) for m, n in (("zero_shot", 5), ("full", 90))]
    assert "more validation items" not in run_decide(write_answered_runs(tmp_path / "d", clear)).output


@pytest.mark.parametrize(
    ("methods", "probes", "lacking"),
    [
        (("zero_shot",), "behaviour", ["lora"]),
        (("zero_shot", "full"), "knowledge", ["rag"]),
        (("zero_shot", "few_shot"), "knowledge", ["lora", "rag"]),
    ],
)
def test_what_has_not_been_run_leaves_the_cause_unknown(
    tmp_path: Path, methods: Sequence[str], probes: str, lacking: Sequence[str]
) -> None:
    """That nothing mends an error is no claim to make of methods that nobody has tried."""
    root = write_answered_runs(
        tmp_path,
        [(make_record(method, probes=probes), right_then_wrong(10), right_then_wrong(10)) for method in methods],
    )
    assert decide_one(root).diagnosis.cause is None
    done = run_decide(root).output
    assert [method for method in ("lora", "rag") if f"method={method}, since" in done] == lacking
    assert "larger model" not in done
    assert "capacity" not in done, "of what was not run there is no rest"
    (task,) = json.loads(run_decide(root, "--json").output)["tasks"]
    assert task["cause"] is None


def test_two_methods_with_passages_are_compared_over_the_same_passages(tmp_path: Path) -> None:
    runs = [
        (make_record("zero_shot", probes="knowledge"), right_then_wrong(5), right_then_wrong(5)),
        (make_record("oracle", probes="knowledge"), right_then_wrong(60), right_then_wrong(60)),
        (make_record("rag", probes="knowledge"), right_then_wrong(30), right_then_wrong(30)),
        (make_record("lora", rank=8, probes="knowledge"), right_then_wrong(10), right_then_wrong(10)),
        (make_record("full", probes="knowledge"), right_then_wrong(12), right_then_wrong(12)),
        (make_record("rag_lora", rank=8, probes="knowledge"), right_then_wrong(70), right_then_wrong(70)),
    ]
    effects = {effect.what: effect for effect in decide_one(write_answered_runs(tmp_path, runs)).diagnosis.effects}
    assert effects["training, with passages"].worse == "rag"
    assert effects["passages, untrained"].better == "rag"
    assert effects["passages, trained"].worse == "lora r8", "the same adaptation, though full has more"


def test_errors_of_one_cluster_are_no_independent_ones(tmp_path: Path) -> None:
    root = write_behaviour_task(tmp_path)

    def width() -> float:
        share = decide_one(root).diagnosis.shares[0].share
        return float(share.high - share.low)

    alone = width()
    for run in load_records(root):
        lines = [replace(line, cluster=f"c{i // 20}") for i, line in enumerate(run.predictions())]
        (run.folder / PREDICTIONS_FILE).write_text("".join(line.to_json() + "\n" for line in lines))
    assert width() > 2 * alone


def test_shares_are_of_the_seeds_and_not_of_their_majority(tmp_path: Path) -> None:
    """LoRA's three seeds are right on 20 items each, never on the same ones; no majority of them is right anywhere."""
    apart = [[float(20 * seed <= i - 20 < 20 * (seed + 1)) for i in range(100)] for seed in range(3)]
    runs = [(make_record("zero_shot", probes="knowledge"), right_then_wrong(20), right_then_wrong(20))]
    runs += [(make_record("lora", rank=8, seed=seed, probes="knowledge"), own, own) for seed, own in enumerate(apart)]
    runs += [
        (make_record("rag", seed=seed, probes="knowledge"), right_then_wrong(n), right_then_wrong(n))
        for seed, n in ((0, 80), (1, 20))
    ]
    shares = {share.cause: share for share in decide_one(write_answered_runs(tmp_path, runs)).diagnosis.shares}
    found = {cause: share.share.value for cause, share in shares.items()}
    mended = 20 / 80, (60 - 20) / 80 / 2  # one seed of RAG mends 60 errors, without those that one of LoRA does
    assert found == pytest.approx({"behaviour": mended[0], "knowledge": mended[1], "capacity": 1 - sum(mended)})
    assert (shares["behaviour"].lost, shares["knowledge"].lost) == (20, 0)
    assert shares["knowledge"].share.low == 0 < 0.5 < shares["knowledge"].share.high, "two seeds that differ: unknown"


@pytest.mark.parametrize(("items", "cause"), [(60, None), (400, "capacity")])
def test_what_is_right_by_luck_is_no_cause(tmp_path: Path, items: int, cause: str | None) -> None:
    """Random labels: half of the errors are right under full fine-tuning, and as many others are lost."""
    draws = {
        "zero_shot": shuffled_scores(round(0.5 * items), items),
        "full": shuffled_scores(round(0.5 * items), items, 1),
    }
    root = write_answered_runs(tmp_path, [(make_record(method), scores, scores) for method, scores in draws.items()])
    found = decide_one(root).diagnosis
    (share,) = [share for share in found.shares if share.cause == "behaviour"]
    assert share.share.value > 0.3
    assert abs(share.lost - share.share.value * found.errors) <= 1, "as many are lost as are mended"
    assert found.cause == cause
    assert ("nothing is significantly better than zero-shot" in run_decide(root).output) == (cause is None)


def test_a_trained_method_without_its_answers_is_no_trained_method_here(tmp_path: Path) -> None:
    root = write_answered_runs(
        tmp_path,
        [
            (make_record(m), right_then_wrong(n), right_then_wrong(n))
            for m, n in (("zero_shot", 10), ("lora", 90), ("few_shot", 11))
        ],
    )
    for run in load_records(root):
        if run.record.method == "lora":
            (run.folder / PREDICTIONS_FILE).unlink()
    found = decide_one(root).diagnosis
    assert (found.cause, found.missing) == (None, ("lora",))


def test_after_the_gold_passage_alone_retrieved_ones_come_next(tmp_path: Path) -> None:
    facts = [
        (make_record(m, probes="knowledge"), right_then_wrong(n), right_then_wrong(n))
        for m, n in (("zero_shot", 5), ("full", 7), ("oracle", 60))
    ]
    done = run_decide(write_answered_runs(tmp_path, facts)).output
    assert "method=rag, since only the gold passage has been tried" in done
    assert "method=rag_lora, since no method has been trained with passages" in done
