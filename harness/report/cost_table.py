"""What a method costs, and after how many requests training pays for itself.

    set-up         seconds of training, of the search for its learning rate, and of building an index
    each request   the mean time of a single request, answer included; merged if the adapter was merged
    break-even     N = (set-up of one - set-up of the other) / (each request of the other - each request of the one)

All on the machine that was measured, rented by the hour and busy with nothing else; so the price cancels out of N. A
server that answers many requests at once pays less for each, and not in the same proportion for every method.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from harness.records.cohorts import Cohort, Row
from harness.records.costs import _HOUR, ALIKE, CLOSE, REQUESTS, Prices, request_seconds, set_up_seconds
from harness.records.record import Record
from harness.text import MISSING, Table, count, markdown, short

FORMULA = (
    "Set-up: training, the search for its learning rate, building an index. A request: the mean of single requests, "
    "with the adapter merged if that was measured. Cheaper from N requests on: N = (set-up - set-up of the other) / "
    "(request of the other - request), rounded, since requests vary; the price per hour cancels out."
)


def total_is(prices: Prices) -> str:
    """The label of `total` on an axis."""
    counted = f"set-up and {count(prices.requests_per_month or REQUESTS)} requests"
    return f"machine time of {counted} (s)" if prices.hour is None else f"cost of {counted} at {prices.hour:g} an hour"


def break_even(record: Record, other: Record) -> float | None:
    """Number of requests from which `record` is cheaper than `other`: 0 if always, infinity if never."""
    each, others = request_seconds(record), request_seconds(other)
    set_up, others_set_up = set_up_seconds(record), set_up_seconds(other)
    if each is None or others is None or set_up is None or others_set_up is None:
        return None
    ahead = set_up - others_set_up
    if each >= others:
        return 0.0 if ahead < 0 and each == others else math.inf
    return max(0.0, ahead / (others - each))


def section(cohort: Cohort, prices: Prices) -> Iterator[str]:
    """Costs of a cohort's methods, and when a trained one becomes cheaper than a prompt."""
    rows = [row for row in cohort.rows if row.record.status == "ok" and request_seconds(row.record) is not None]
    trained = [row for row in rows if row.record.training]
    if not trained:
        return
    yield "#### Cost"
    yield table(cohort, rows, prices).markdown()
    yield FORMULA + _priced(prices)
    if findings := [f"- {sentence}" for sentence in sentences(cohort, trained, rows)]:
        yield "\n".join(findings)


def table(cohort: Cohort, rows: list[Row], prices: Prices) -> Table:
    """A line a method: seconds, or money if a price is given."""
    unit = "seconds" if prices.hour is None else "money"
    month = prices.requests_per_month
    headings = ["method", f"set-up ({unit})", f"{count(REQUESTS)} requests ({unit})"]
    lines = [
        [markdown(row.name), _amount(set_up_seconds(row.record), prices), _amount(_each(row, REQUESTS), prices)]
        for row in rows
    ]
    if month:
        headings.append(f"a month of {count(month)} ({unit})")
        for line, row in zip(lines, rows, strict=True):
            line.append(_amount(_each(row, month), prices))
    return Table(tuple(headings), tuple(map(tuple, lines)))


def sentences(cohort: Cohort, trained: list[Row], rows: list[Row]) -> Iterator[str]:
    """`lora r4 is cheaper than few_shot from about 310 requests on.`"""
    prompts = [row for row in rows if not row.record.training and row.record.context in ("few_shot", "rag")]
    for prompt in prompts:
        for row in trained:
            if said := _said(row.record, prompt.record, markdown(prompt.name)):
                yield f"{markdown(row.name)} {said}"


def _said(record: Record, prompt: Record, other: str) -> str | None:
    requests, lead = break_even(record, prompt), break_even(prompt, record)
    each, others = request_seconds(record), request_seconds(prompt)
    if requests is None or lead is None or not each or not others:
        return None
    if abs(each / others - 1) < ALIKE:
        if (set_up_seconds(record) or 0.0) < (set_up_seconds(prompt) or 0.0):
            return f"takes less to set up than {other}, and about as long for a request."
        return f"does not surely pay for itself against {other}: a request takes about as long."
    if requests <= 1:
        return f"is cheaper than {other} from the first request on."
    if math.isfinite(requests):
        return f"is cheaper than {other} from about {_rounded(requests, each / others)} requests on."
    if lead > 1:
        return f"is cheaper than {other} up to about {_rounded(lead, others / each)} requests."
    return f"does not pay for itself against {other}: a request takes longer."


def _rounded(requests: float, ratio: float) -> str:
    """To two digits, and to one if the requests are so close that a twentieth more would move N by a quarter."""
    return f"{float(f'{requests:.{2 if ratio < CLOSE else 1}g}'):,.0f}"


def _each(row: Row, requests: float) -> float:
    return (request_seconds(row.record) or 0.0) * requests


def _amount(seconds: float | None, prices: Prices) -> str:
    if seconds is None:
        return "unknown"
    if not seconds:
        return MISSING
    return short(seconds) if prices.hour is None else f"{seconds / _HOUR * prices.hour:,.4g}"


def _priced(prices: Prices) -> str:
    return "" if prices.hour is None else f" At {prices.hour:g} an hour."
