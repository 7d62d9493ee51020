"""Score a completion: every metric of the task's kind, from the text and the row.

    judge = scorer(task)
    judge("Answer: Ormen", example)      # {"token_f1": 0.67, "exact_match": 0.0, "contains": 1.0, ...}

Choices are judged by likelihood (inference/choices.py), all other kinds by their text, here.
"""

from __future__ import annotations

from collections.abc import Callable

from harness.tasks.metrics import FROM_ANSWERS, METRICS, contains, field_f1, normalise, parse_json, unfenced
from harness.tasks.reply_rules import judge_rules
from harness.tasks.sql import Database, same_result
from harness.tasks.task import Example, Task

Judge = Callable[[str, Example], dict[str, float]]


def scorer(task: Task) -> Judge:
    """The function that scores a task's completions; it omits metrics that do not apply to a row."""
    if task.kind == "json":
        return _json_judge(task)
    if task.kind == "sql":
        return _sql_judge(task)
    metrics = [METRICS[name] for name in FROM_ANSWERS[task.kind]]

    def judge(completion: str, example: Example) -> dict[str, float]:
        scores = {metric.__name__: metric(completion, example.answers) for metric in metrics}
        if task.rules:
            scores |= judge_rules(task.rules, completion, example.row)
        if task.abstains:
            scores |= _abstention(completion, example, task.abstains, scores)
        if example.outdated:
            scores["outdated"] = _outdated(completion, example)
        return scores

    return judge


def _json_judge(task: Task) -> Judge:
    import jsonschema

    validator = jsonschema.Draft202012Validator(task.schema or {})

    def judge(completion: str, example: Example) -> dict[str, float]:
        parsed, fields = parse_json(completion), field_f1(completion, example.answers)
        return {
            "field_f1": fields,
            "exact_json": float(fields == 1.0),
            "valid_json": float(parsed is not None and validator.is_valid(parsed)),
        }

    return judge


def _sql_judge(task: Task) -> Judge:
    databases = [Database(script, name) for name, script in task.databases.items()]

    def judge(completion: str, example: Example) -> dict[str, float]:
        query = unfenced(completion)
        return {
            "execution_accuracy": float(any(same_result(databases, query, gold) for gold in example.answers)),
            "valid_sql": float(all(database.run(query).rows is not None for database in databases)),
        }

    return judge


def _abstention(completion: str, example: Example, phrase: str, scores: dict[str, float]) -> dict[str, float]:
    """The scores that change in a task with unanswerable questions; `phrase` is the answer that abstains.

    As in SQuAD 2.0 (Rajpurkar et al. 2018) an unanswerable question scores 1 for abstaining and 0 for any answer.
    """
    abstained = bool(contains(completion, [phrase]))
    if normalise(phrase) not in {normalise(answer) for answer in example.answers}:
        return {"needlessly_abstained": float(abstained)}
    return {**dict.fromkeys(scores, float(abstained)), "unsupported_answer": float(not abstained)}


def _outdated(completion: str, example: Example) -> float:
    """1 if the completion contains the answer from before the facts changed and not the current one."""
    return float(bool(contains(completion, example.outdated)) and not contains(completion, example.answers))
