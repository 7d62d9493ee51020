"""Differences between methods, against published values and statsmodels, by exact enumeration and simulation."""

import math

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import special
from scipy import stats as scipy_stats
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import DescrStatsW

from harness.stats import (
    Interval,
    Z,
    compare,
    compare_over_seeds,
    holm,
    interval,
    interval_over_seeds,
    items_needed,
    mcnemar,
    needed_error,
    paired_difference,
    pooled,
    seed_spread,
    seed_variance,
    smallest_difference,
    tango,
    tango_statistic,
    unpaired,
    verdict,
)


@pytest.fixture
def rng() -> np.random.Generator:
    """Its own for every test, so that no test draws otherwise after another."""
    return np.random.default_rng(0)


def crossed_scores(
    rng: np.random.Generator, seeds: int, items: int, between_items: float, between_seeds: float, noise: float
) -> np.ndarray:
    """Scores around 0.5, shape (seeds, items), with a part of the item, one of the seed and one of both."""
    item, seed = rng.normal(0, between_items, items), rng.normal(0, between_seeds, (seeds, 1))
    return 0.5 + item + seed + rng.normal(0, noise, (seeds, items))


def test_tango_matches_the_published_examples() -> None:
    # Fagerland, Lydersen and Laake 2014: airway hyper-responsiveness, 1 and 7 discordant of 21
    found = tango(1, 7, 21)
    assert (found.value, found.low, found.high) == pytest.approx((-0.286, -0.517, -0.026), abs=5e-4)
    # R's PropCIs: 28 and 25 of 618 at 90 %: -0.0148 to 0.0247
    z = float(scipy_stats.norm.ppf(0.95))
    assert float(tango_statistic(28, 25, 618, -0.0148)) == pytest.approx(z, abs=0.01)
    assert float(tango_statistic(28, 25, 618, 0.0247)) == pytest.approx(-z, abs=0.01)


@pytest.mark.parametrize("pair", [(0, 0), (0, 5), (5, 0), (12, 9), (30, 0), (0, 30)])
def test_tangos_bounds_are_where_the_statistic_says(pair: tuple[int, int]) -> None:
    found, mirrored = tango(*pair, 30), tango(*pair[::-1], 30)
    assert -1 <= found.low <= found.value <= found.high <= 1
    assert (found.low, found.high) == pytest.approx((-mirrored.high, -mirrored.low), abs=1e-8)
    for bound, z in ((found.low, Z), (found.high, -Z)):
        if abs(bound) < 1:
            assert float(tango_statistic(*pair, 30, bound)) == pytest.approx(z, abs=1e-6)


def test_tango_is_the_inversion_of_mcnemars_test() -> None:
    """At no difference the statistic is McNemar's."""
    assert float(tango_statistic(12, 5, 40, 0.0)) == pytest.approx(7 / math.sqrt(17))


def coverage(n: int, discordance: float, difference: float) -> float:
    """Probability that Tango's interval holds the true difference, summed over every possible pair of counts."""
    more, less = (discordance + difference) / 2, (discordance - difference) / 2
    better, worse = np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij")
    possible = better + worse <= n
    better, worse = better[possible], worse[possible]
    counts = np.stack([better, worse, n - better - worse], axis=1)
    chance = scipy_stats.multinomial.pmf(counts, n, [more, less, 1 - more - less])
    return float(chance[np.abs(tango_statistic(better, worse, n, difference)) <= Z].sum())


def test_tangos_coverage_by_exact_enumeration() -> None:
    cells = {
        (n, discordance, share): coverage(n, discordance, share * discordance)
        for n in (30, 100, 300)
        for discordance in (0.05, 0.1, 0.2, 0.3, 0.4)
        for share in (0.0, 0.25, 0.5)
    }
    assert min(cells.values()) >= 0.925
    usual = [covered for (n, discordance, _), covered in cells.items() if n * discordance >= 5]
    assert 0.94 <= sum(usual) / len(usual) <= 0.965


def test_mcnemar_agrees_with_the_published_example_and_with_statsmodels() -> None:
    assert mcnemar(1, 7) == pytest.approx(0.0703, abs=5e-5)  # Fagerland, Lydersen and Laake 2013, table 5
    for better, worse in ((0, 0), (3, 9), (10, 10), (40, 21)):
        expected = statsmodels_mcnemar([[5, better], [worse, 5]], exact=True).pvalue
        assert mcnemar(better, worse) == pytest.approx(expected, abs=1e-8)


def test_paired_scores_agree_with_statsmodels(rng: np.random.Generator) -> None:
    ours, theirs = rng.random((2, 40))
    found, expected = compare(ours, theirs), DescrStatsW(ours - theirs)
    assert (found.low, found.high) == pytest.approx(expected.tconfint_mean(), abs=1e-8)
    assert found.p == pytest.approx(expected.ttest_mean()[1], abs=1e-8)
    assert found.test == "paired t"
    change = paired_difference(theirs, ours)
    assert (change.low, change.high) == (found.low, found.high)


def test_a_paired_difference_is_students() -> None:
    found = paired_difference([0, 0, 1, 1], [1, 0, 1, 1])
    assert (found.value, found.n) == (0.25, 4)
    assert found.low == pytest.approx(0.25 - 3.182446 * 0.5 / 2, abs=1e-5)


def test_clusters_agree_with_statsmodels(rng: np.random.Generator) -> None:
    clusters = rng.integers(0, 12, 60)
    differences = rng.normal(0.1, 0.3, 60) + rng.normal(0, 0.2, 12)[clusters]
    fitted = sm.OLS(differences, np.ones(60)).fit(cov_type="cluster", cov_kwds={"groups": clusters}, use_t=True)
    found = compare(differences, np.zeros(60), list(clusters))
    assert (found.low, found.high) == pytest.approx(tuple(fitted.conf_int()[0]), abs=1e-8)
    assert found.p == pytest.approx(float(fitted.pvalues[0]), abs=1e-8)
    assert found.test == "cluster-robust t"


def test_the_kind_of_score_decides_the_test() -> None:
    ours, theirs = [1, 1, 1, 0, 1, 0], [0, 1, 0, 0, 1, 1]
    found = compare(ours, theirs)
    assert found.test == "exact McNemar"
    assert (found.low, found.high) == (tango(2, 1, 6).low, tango(2, 1, 6).high)
    assert found.p == mcnemar(2, 1)
    same = compare(ours, ours)
    assert (same.value, same.p) == (0.0, 1.0)
    assert same.low < 0 < same.high
    assert compare([0.5, 0.25], [0.5, 0.25]).p == 1.0


def test_one_seed_of_each_is_the_paired_t_test(rng: np.random.Generator) -> None:
    ours, theirs = rng.random((2, 30))
    assert compare_over_seeds([ours], [theirs]).low == pytest.approx(compare(ours, theirs).low)


def test_items_and_seeds_cover_the_true_difference(rng: np.random.Generator) -> None:
    """Nominally 95 %, with three seeds 93.1 % (4,000 draws); a t test on items alone, which knows no seeds, 63 %."""
    covered = naive = 0
    for _ in range(600):
        ours = crossed_scores(rng, 3, 60, 0.0, 0.05, 0.2)
        theirs = crossed_scores(rng, 3, 60, 0.0, 0.05, 0.2)
        found = compare_over_seeds(ours, theirs)
        covered += found.low <= 0 <= found.high
        alone = compare(ours.mean(0), theirs.mean(0))
        naive += alone.low <= 0 <= alone.high
    assert 0.91 <= covered / 600 <= 0.97
    assert naive / 600 < 0.8


def test_what_seeds_add_is_their_spread_less_what_items_explain(rng: np.random.Generator) -> None:
    estimated = [seed_variance(crossed_scores(rng, 4, 50, 0.3, 0.05, 0.2)) for _ in range(2000)]
    assert sum(estimated) / 2000 == pytest.approx(0.05**2 / 4, rel=0.1)  # a little more, since it is never negative
    assert seed_variance([[0.2, 0.4]]) == 0.0


def test_several_tasks_are_pooled_with_equal_weight(rng: np.random.Generator) -> None:
    short, long = compare(rng.normal(0.1, 0.3, 40), np.zeros(40)), compare(rng.normal(-0.2, 0.1, 400), np.zeros(400))
    found = pooled([short, long])
    assert found.value == pytest.approx((short.value + long.value) / 2)
    assert found.error == pytest.approx(math.hypot(short.error, long.error) / 2)
    # Welch's t of one mean and the other turned round: the sum of two means.
    expected = scipy_stats.ttest_ind_from_stats(short.value, short.sd, 40, -long.value, long.sd, 400, equal_var=False)
    assert found.p == pytest.approx(expected.pvalue)
    assert found.n == 440
    assert pooled([short]) is short
    unknown = pooled([short, compare([1.0], [0.5])])
    assert (unknown.low, unknown.high, unknown.p) == (-math.inf, math.inf, 1.0)


def test_unpaired_samples_agree_with_scipy(rng: np.random.Generator) -> None:
    ours, theirs = rng.normal(1, 0.1, 5), rng.normal(1.1, 0.3, 4)
    found, expected = unpaired(ours, theirs), scipy_stats.ttest_ind(ours, theirs, equal_var=False)
    interval_ = expected.confidence_interval()
    assert (found.low, found.high, found.p) == pytest.approx((interval_.low, interval_.high, expected.pvalue))


def test_one_sided_p_is_half_of_the_two_sided_one(rng: np.random.Generator) -> None:
    found = compare(rng.normal(-0.1, 0.3, 40), np.zeros(40))
    assert found.value < 0
    assert found.p_below() == pytest.approx(found.p / 2)
    assert found.p_below(found.low) == pytest.approx(0.975)
    assert compare([0.5, 0.5], [0.5, 0.5]).p_below() == 1.0
    assert compare([0.5, 0.5], [0.6, 0.6]).p_below() == 0.0


def test_holm_agrees_with_statsmodels() -> None:
    p_values = [0.001, 0.04, 0.03, 0.9, 0.012, 0.012]
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1], abs=1e-8)
    assert holm([]) == []


def test_identical_methods_are_rarely_told_apart(rng: np.random.Generator) -> None:
    """1,000 reports of six methods that do not differ: after Holm a report claims something in 6 % at most."""
    claims = 0
    for _ in range(1000):
        scores = (rng.random((6, 60)) < rng.random(60)).astype(float)
        differences = [scores[i] - scores[j] for i in range(6) for j in range(i)]
        pairs = [mcnemar(int((d > 0).sum()), int((d < 0).sum())) for d in differences]  # what `compare` gives as p
        claims += min(holm(pairs)) < 0.05
    assert claims <= 60


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(-0.10, -0.03, "worse"), (0.01, 0.05, "better"), (-0.01, 0.05, "no_worse"), (-0.03, 0.05, "inconclusive")],
)
def test_a_verdict_is_where_the_interval_lies(low: float, high: float, said: str) -> None:
    assert verdict(Interval((low + high) / 2, low, high, 100), 0.02) == said


def test_the_smallest_difference_is_found_four_times_in_five(rng: np.random.Generator) -> None:
    n, sd = 200, 0.4
    true = smallest_difference(n, sd)
    found = sum(compare(rng.normal(true, sd, n), np.zeros(n)).p < 0.05 for _ in range(1000)) / 1000
    assert found == pytest.approx(0.8, abs=0.04)
    assert items_needed(true, sd) == pytest.approx(n, abs=1)
    assert needed_error(true) == pytest.approx(sd / math.sqrt(n))
    assert smallest_difference(1, sd) == math.inf


def test_few_clusters_and_many_pairs_show_less(rng: np.random.Generator) -> None:
    plain = smallest_difference(200, 0.4)
    assert smallest_difference(200, 0.4, freedom=4) == pytest.approx(
        plain * (special.stdtrit(4, 0.975) + special.stdtrit(4, 0.8)) / (special.ndtri(0.975) + special.ndtri(0.8))
    )
    found = compare(rng.normal(0, 1, 200), np.zeros(200))
    assert found.smallest_of(10) == pytest.approx(
        smallest_difference(200, found.sd, level=0.005, freedom=found.freedom)
    )
    assert found.smallest_of(10) > found.smallest_difference


def test_units_that_all_have_the_same_difference_leave_room_for_one_that_has_not() -> None:
    """Hardly less than Tango's interval of as many pairs without a discordant one; the sign test's p."""
    clusters = [i // 5 for i in range(200)]
    same = compare([1.0] * 200, [1.0] * 200, clusters)
    assert (same.low, same.high) == pytest.approx((tango(0, 0, 40).low, tango(0, 0, 40).high), rel=0.01)
    assert same.p == 1.0
    better = compare([0.75] * 4, [0.25] * 4)
    assert (better.value, better.p) == (0.5, pytest.approx(2 * 1.5**-4))
    assert better.low < 0 < better.high < 1
    rounded = compare([0.1] * 3, [0.0] * 3)
    assert (rounded.sd, rounded.p) == (0.0, 1.0), "0.1 has no exact float, and three items are three items"
    certain = [compare([1.0] * 2 * units, [0.0] * 2 * units, [i // 2 for i in range(2 * units)]) for units in (5, 6)]
    assert [(found.p < 0.05, found.low > 0) for found in certain] == [(False, False), (True, True)]


@pytest.mark.parametrize(("seeds", "coverage"), [(4, 0.918), (10, 0.944)])
def test_a_method_over_seeds_covers_its_true_mean(rng: np.random.Generator, seeds: int, coverage: float) -> None:
    """Nominally 95 %; with few seeds less, as simulated with 4,000 draws and more."""
    covered = 0
    for _ in range(600):
        found = interval_over_seeds(crossed_scores(rng, seeds, 60, 0.1, 0.05, 0.2))
        assert found is not None
        covered += found.low <= 0.5 <= found.high
    assert covered / 600 == pytest.approx(coverage, abs=0.025)


def test_seeds_that_add_no_variance_leave_the_interval_of_items(rng: np.random.Generator) -> None:
    assert interval_over_seeds([[1, 0, 1, 1]]) == interval([1, 0, 1, 1])
    assert interval_over_seeds([[1, 1], [1, 1]]) == interval([1, 1]), "no variance is no certainty"
    one = crossed_scores(rng, 4, 60, 0.1, 0.05, 0.2)
    assert interval_over_seeds(one[:, None]) == interval_over_seeds(one), "a second method of one seed adds no variance"


def test_a_mean_over_the_seeds_of_two_methods_covers_what_it_is_of(rng: np.random.Generator) -> None:
    covered = 0
    for _ in range(600):
        of_both = (
            crossed_scores(rng, 3, 60, 0.1, 0.05, 0.1)[:, None] + crossed_scores(rng, 4, 60, 0.0, 0.08, 0.1)[None] - 0.5
        )
        found = interval_over_seeds(of_both)
        assert found is not None
        covered += found.low <= 0.5 <= found.high
    assert 0.93 <= covered / 600 <= 0.995


def test_the_spread_of_seeds_is_apart_from_that_of_items() -> None:
    assert seed_spread([[0.2, 0.9], [0.2, 0.9]]) == 0.0
    assert seed_spread([[0.2, 0.4], [0.4, 0.6]]) == pytest.approx(math.sqrt(0.02))
    assert seed_spread([[0.2, 0.4]]) is None
