"""The figures' mathematics in the browser, held to the package by vectors made here.

Python writes the inputs and its own answers, the browser computes the same from `maths.js`, and
the two are compared. Unless a line says otherwise they agree to 1e-12, relative. Two exceptions
follow from the numbers, not from the code:

- f is a sum of terms, written in powers of x from Chebyshev polynomials. So float64 knows it only
  to a few units of round-off times sum_l |a_l| B^l. For B = 8 this is 1e7 times f(-8). Whatever is
  made of f inherits that floor.
- Remez's exchange stops when it knows the error e of a minimax polynomial to 1e-10, relative. So e
  is compared to that, and f to ten times as much of e. Its coefficients may move without changing
  e, and are not compared.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page, Route, sync_playwright
from scipy import stats
from scipy.spatial import ConvexHull

from fastattn_lite import (
    Expansion,
    attention_weights,
    chebyshev,
    feature_weights,
    kernel_attention,
    minimax,
    multi_indices,
    normalize,
    number_of_features,
    softmax_attention,
    taylor,
)
from fastattn_lite.benchmark import crossover
from fastattn_lite.complexity import (
    cache_crossover_tokens,
    cache_numbers,
    crossover_tokens,
    direct_flops,
    fast_flops,
    moment_numbers,
)
from fastattn_lite.figures import AttentionMatrix, MonomialBasis
from fastattn_lite.figures.attention_matrix import matrices
from fastattn_lite.figures.far_field import far_field
from fastattn_lite.figures.gradient_bound import slope_of_weight
from fastattn_lite.figures.kernel_sum import one_query
from fastattn_lite.figures.measured import ORDERS as COMPARED
from fastattn_lite.figures.measured import leak, measure, random_tokens
from fastattn_lite.figures.merging import merge_tokens
from fastattn_lite.figures.random import RandomNumbers
from fastattn_lite.normalization import NORMALIZATIONS, default_scale
from fastattn_lite.results import load_result
from fastattn_lite.roofline import direct_work, roof_of, sample_work, step_work
from fastattn_lite.scaling import PowerLaw, fit_power_law, meeting_tokens
from tools.browser import ARGUMENTS, executable

pytestmark = pytest.mark.browser

SOURCES = Path(__file__).parents[1] / "fastattn_lite" / "figures" / "js"
SITE = "http://maths.test/"
EPSILON = 8 * np.finfo(np.float64).eps
FAMILIES = {"taylor": taylor, "chebyshev": chebyshev, "minimax": minimax}
ORDERS = range(13)
RADII = (0.25, 0.5, 1.0, 2.0, 3.7, 6.0, 8.0)


def answer(route: Route) -> None:
    """Serve the sources at an address of their own, because modules do not load from disk."""
    name = route.request.url.removeprefix(SITE)
    if name:
        route.fulfill(path=SOURCES / name, content_type="text/javascript")
    else:
        route.fulfill(body="<!doctype html><title>maths</title>", content_type="text/html")


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable(), args=ARGUMENTS)
        page = browser.new_page()
        page.route(f"{SITE}**", answer)
        page.goto(SITE)
        yield page
        browser.close()


def ask(page: Page, tmp_path: Path, script: str, vectors: Any) -> Any:
    """Run `script`, a function of (maths, vectors), in the browser and return what it returns."""
    file = tmp_path / "vectors.json"
    file.write_text(json.dumps(vectors), encoding="utf-8")
    answer = page.evaluate(
        "async ([site, script, text]) => {"
        "  const maths = await import(site + 'maths.js');"
        "  const result = (0, eval)(script)(maths, JSON.parse(text));"
        "  return JSON.stringify(result, (_, x) => x === Infinity ? 'inf' : x);"
        "}",
        [SITE, script, file.read_text(encoding="utf-8")],
    )
    return json.loads(answer)


def cases() -> list[list[Any]]:
    return [[name, order, radius] for name in FAMILIES for order in ORDERS for radius in RADII]


@pytest.fixture(scope="module")
def pairs(
    page: Page, tmp_path_factory: pytest.TempPathFactory
) -> list[tuple[dict[str, Any], Expansion]]:
    """Each case as the browser describes it, beside Python's expansion."""
    script = """(maths, cases) => cases.map(([name, order, radius]) => {
        const expansion = maths.FAMILIES[name](order, radius);
        return {
            ...expansion,
            slope: maths.derivative(expansion.coefficients),
            oscillation: maths.oscillation(expansion),
            bound: maths.outputErrorBound(expansion),
            error: maths.maxError(expansion),
            positive: maths.isPositive(expansion),
            everywhere: maths.isPositive(expansion, Infinity),
        };
    })"""
    described = ask(page, tmp_path_factory.mktemp("maths"), script, cases())
    return [
        (there, FAMILIES[name](order, radius=radius))
        for there, (name, order, radius) in zip(described, cases(), strict=True)
    ]


def round_off(expansion: Expansion) -> float:
    """Return how well float64 knows f on [-radius, radius]."""
    sizes = Expansion(tuple(map(abs, expansion.coefficients)), expansion.radius)
    return EPSILON * float(sizes(expansion.radius))


def relative_round_off(expansion: Expansion) -> float:
    """Return how well float64 knows log f, or f/exp, on [-radius, radius]."""
    x = np.linspace(-expansion.radius, expansion.radius, 1001)
    return round_off(expansion) / float(np.min(np.abs(expansion(x))))


def minimax_error(oscillation: float) -> float:
    """Return e with osc = log((1+e)/(1-e))."""
    return math.tanh(oscillation / 2)


def test_every_family_and_order_is_compared(pairs: list[tuple[dict[str, Any], Expansion]]) -> None:
    assert len(pairs) == len(FAMILIES) * len(ORDERS) * len(RADII) == 273
    for there, here in pairs:
        assert (there["name"], there["order"], there["radius"]) == (
            here.name,
            here.order,
            here.radius,
        )


def test_coefficients_of_the_two_series(pairs: list[tuple[dict[str, Any], Expansion]]) -> None:
    compared = 0
    for there, here in pairs:
        if here.name == "minimax":
            continue
        scaled = here.radius ** np.arange(here.order + 1)
        differences = np.abs(np.subtract(there["coefficients"], here.coefficients)) * scaled
        sizes = np.abs(here.coefficients) * scaled
        assert np.all(differences <= 1e-12 * sizes + round_off(here)), here
        powers = np.arange(1, here.order + 1) if here.order else np.zeros(1)
        slope = powers * (there["coefficients"][1:] or 0.0)
        np.testing.assert_allclose(there["slope"], slope, rtol=1e-15)
        compared += 1
    assert compared == 2 * len(ORDERS) * len(RADII)


def test_values_relative_to_exp(pairs: list[tuple[dict[str, Any], Expansion]]) -> None:
    for there, here in pairs:
        x = np.linspace(-here.radius, here.radius, 201)
        difference = np.abs(np.polyval(there["coefficients"][::-1], x) - here(x))
        relative = 1e-12
        if here.name == "minimax":  # it balances f/exp, so the round-off of one end moves it all
            relative = 1e-9 * minimax_error(here.oscillation()) + relative_round_off(here)
        assert np.all(difference <= relative * np.exp(x) + round_off(here)), here


def test_oscillation_and_bound(pairs: list[tuple[dict[str, Any], Expansion]]) -> None:
    finite = 0
    for there, here in pairs:
        there_osc, osc = float(there["oscillation"]), here.oscillation()
        if math.isinf(osc):
            assert math.isinf(there_osc)
            assert there["bound"] == 1.0
            continue
        finite += 1
        floor = relative_round_off(here)
        if here.name == "minimax":
            error, there_error = minimax_error(osc), minimax_error(there_osc)
            assert abs(there_error - error) <= 1e-10 * error + floor, here
        else:
            assert abs(there_osc - osc) <= 1e-12 * osc + floor, here
        assert there["bound"] == pytest.approx(math.tanh(there_osc / 4), rel=1e-12)
    assert finite > 200


def test_largest_error(pairs: list[tuple[dict[str, Any], Expansion]]) -> None:
    for there, here in pairs:
        floor = round_off(here) + EPSILON * math.exp(here.radius)
        relative = 1e-12
        if here.name == "minimax":  # as for its values
            relative, floor = 1e-9, floor + relative_round_off(here) * math.exp(here.radius)
        assert abs(there["error"] - here.max_error()) <= relative * here.max_error() + floor, here


def test_positivity(pairs: list[tuple[dict[str, Any], Expansion]]) -> None:
    for there, here in pairs:
        assert there["positive"] == here.is_positive(), here
        if here.name == "minimax" and minimax_error(here.oscillation()) < 1e-15:
            continue  # e is below round-off, and so is the sign of the last coefficient
        assert there["everywhere"] == here.is_positive(math.inf), here


def test_minimax_errors_are_equal_in_size_and_alternate(page: Page, tmp_path: Path) -> None:
    """Chebyshev's criterion needs no oracle: order + 2 equal errors of alternating sign."""
    vectors = [[order, radius] for order in range(9) for radius in (1.0, 2.0, 4.0, 8.0)]
    script = """(maths, cases) => cases.map(([order, radius]) => {
        const expansion = maths.minimax(order, radius);
        return maths.turningPoints(expansion)
            .map((x) => maths.evaluate(expansion.coefficients, x) * Math.exp(-x) - 1);
    })"""
    for (order, radius), errors in zip(vectors, ask(page, tmp_path, script, vectors), strict=True):
        sizes, signs = np.abs(errors), np.sign(errors)
        floor = relative_round_off(minimax(order, radius=radius))
        assert len(errors) == order + 2, (order, radius)
        assert np.all(signs[1:] == -signs[:-1]), (order, radius)
        assert np.ptp(sizes) <= 1e-9 * np.max(sizes) + floor, (order, radius)


def test_numbers_printed_in_the_design_of_the_method(page: Page, tmp_path: Path) -> None:
    """Bounds and roots known apart from both programs."""
    script = """(maths) => [
        maths.outputErrorBound(maths.taylor(2, 1)),
        maths.outputErrorBound(maths.minimax(2, 1)),
        maths.outputErrorBound(maths.minimax(6, 4)),
        ...maths.realRoots(maths.minimax(1, 1).coefficients, -2, 2),
        ...maths.realRoots([-6, 11, -6, 1], 0, 4),
        ...maths.realRoots([0, 0, 0, 1], -1, 1),
    ]"""
    expected = [0.09733, 0.01988, 0.01630, -1.313, 1, 2, 3, 0]
    np.testing.assert_allclose(ask(page, tmp_path, script, None), expected, rtol=5e-4, atol=1e-15)


def tokens(seed: int = 0) -> tuple[Any, Any, Any]:
    random = np.random.default_rng(seed)
    return random.normal(size=(7, 3)), random.normal(size=(9, 3)), random.normal(size=(9, 2))


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_attention(page: Page, tmp_path: Path, normalization: str) -> None:
    query, key, value = tokens()
    scale, expansion = default_scale(normalization, 3), minimax(4, radius=2.0)
    script = """(maths, { query, key, value, normalization, coefficients }) => {
        const [q, k] = maths.normalize(query, key, normalization);
        const scale = maths.defaultScale(normalization, 3);
        const expansion = maths.custom(coefficients, 2);
        return [q, k, maths.attentionWeights(q, k, { scale }),
            maths.attentionWeights(q, k, { expansion, scale }),
            maths.softmaxAttention(q, k, value, { scale }),
            maths.kernelAttention(q, k, value, { expansion, scale })];
    }"""
    vectors = {
        "query": query.tolist(),
        "key": key.tolist(),
        "value": value.tolist(),
        "normalization": normalization,
        "coefficients": expansion.coefficients,
    }
    q, k = normalize(query, key, normalization)
    expected = [
        *(q, k, attention_weights(q, k, scale=scale)),
        attention_weights(q, k, expansion=expansion, scale=scale),
        softmax_attention(q, k, value, scale=scale),
        kernel_attention(q, k, value, expansion=expansion, scale=scale),
    ]
    for there, here in zip(ask(page, tmp_path, script, vectors), expected, strict=True):
        np.testing.assert_allclose(there, here, rtol=1e-12, atol=1e-14)


def test_causal_attention(page: Page, tmp_path: Path) -> None:
    _, key, value = tokens()
    script = """(maths, { key, value }) => [
        maths.softmaxAttention(key, key, value, { isCausal: true }),
        maths.kernelAttention(key, key, value,
            { expansion: maths.taylor(2), isCausal: true }),
        maths.diameter(value)]"""
    softmax, kernel, diameter = ask(
        page, tmp_path, script, {"key": key.tolist(), "value": value.tolist()}
    )
    expected = kernel_attention(key, key, value, expansion=taylor(2), is_causal=True)
    np.testing.assert_allclose(softmax, softmax_attention(key, key, value, is_causal=True), 1e-12)
    np.testing.assert_allclose(kernel, expected, rtol=1e-12)
    distances = np.linalg.norm(value[:, None] - value[None], axis=-1)
    assert diameter == pytest.approx(np.max(distances), rel=1e-12)


MATRICES = list(
    itertools.product(range(7), FAMILIES, (0.25, 1.0, 8.0), (False, True), ("passage", "random"))
)


def words_or_random(name: str) -> dict[str, Any]:
    """Return the tokens of the chapter, or eleven random ones of dimension 2."""
    if name == "passage":
        return AttentionMatrix().tokens
    query, key = np.random.default_rng(3).normal(size=(2, 11, 2))
    return AttentionMatrix(query=query, key=key).tokens


def test_attention_matrices(page: Page, tmp_path: Path) -> None:
    """Rank, entropy, distance, ratio: all of what the figure says of both matrices."""
    settings = [
        {"order": order, "family": family, "temperature": temperature, "is_causal": causal}
        for order, family, temperature, causal, _ in MATRICES
    ]
    vectors = [words_or_random(c[-1]) | s for c, s in zip(MATRICES, settings, strict=True)]
    script = "(maths, cases) => cases.map((one) => maths.attentionMatrices(one))"
    ranks = set()
    answers = ask(page, tmp_path, script, vectors)
    for there, one, case in zip(answers, vectors, settings, strict=True):
        here = matrices(np.array(one["query"]), np.array(one["key"]), **case)
        floor = 1e-12 if case["family"] != "minimax" else 1e-9
        for side, mine in ((there["exact"], here.exact), (there["fast"], here.fast)):
            np.testing.assert_allclose(side["weights"], mine.weights, rtol=floor, atol=floor)
            assert side["rank"] == mine.rank, case
            for name in ("entropy", "distance"):
                found = math.nan if side[name] is None else side[name]
                wanted = pytest.approx(getattr(mine, name), rel=floor, abs=floor, nan_ok=True)
                assert found == wanted, (name, case)
            # Where f comes near 0 the ratio is known as well as f is there.
            least = round_off(here.expansion) / abs(here.expansion(here.high))
            inverse = pytest.approx(1 / mine.ratio, rel=floor, abs=least)
            assert 1 / float(side["ratio"]) == inverse, case
            ranks.add(side["rank"])
        assert (there["low"], there["high"]) == pytest.approx((here.low, here.high), rel=1e-12)
        assert there["moved"] == pytest.approx(here.moved, rel=1e-9, abs=1e-12)
        assert there["negative"] == here.negative
    assert {1, 3, 5, 6, 10, 11, 15, 24} <= ranks


@pytest.mark.parametrize("seed", range(4))
def test_singular_values_and_rank(page: Page, tmp_path: Path, seed: int) -> None:
    """Of random matrices, of products of thin ones, and of one that is all 0."""
    random = np.random.default_rng(seed)
    thin = random.normal(size=(12, 5)) @ random.normal(size=(5, 12))
    vectors = [random.normal(size=(9, 9)), random.normal(size=(7, 4)), thin, np.zeros((3, 3))]
    script = "(maths, all) => all.map((one) => [maths.singularValues(one), maths.matrixRank(one)])"
    answers = ask(page, tmp_path, script, [one.tolist() for one in vectors])
    for (sizes, rank), matrix in zip(answers, vectors, strict=True):
        exact = np.linalg.svd(matrix, compute_uv=False)
        np.testing.assert_allclose(sizes, exact, rtol=1e-12, atol=1e-14 * (1 + exact[0]))
        assert rank == np.linalg.matrix_rank(matrix)


def test_slope_of_a_weight(page: Page, tmp_path: Path) -> None:
    vectors = list(itertools.product((None, *range(7)), (-4, -2.9, -2, -1, -0.3, 0, 4), (2, 8, 64)))
    script = """(maths, vectors) => vectors.map(([p, s, n]) => {
        const found = maths.slopeOfWeight(p, s, n);
        return [found.total, found.weight, found.slope, found.bound].map(String);
    })"""
    for vector, there in zip(vectors, ask(page, tmp_path, script, vectors), strict=True):
        here = slope_of_weight(*vector)
        expected = [here.total, here.weight, here.slope, here.bound]
        found = [float(x.replace("Infinity", "inf")) for x in there]
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(("order", "seed"), [(0, 0), (1, 5), (2, 1), (3, 2), (6, 99)])
def test_one_query_among_keys(page: Page, tmp_path: Path, order: int, seed: int) -> None:
    case = {"query_x": -2.1, "query_y": 1.7, "order": order, "tokens": 11, "seed": seed}
    script = """(maths, settings) => {
        const found = maths.kernelSum(settings);
        return { ...found, hull: maths.convexHull(found.key) };
    }"""
    there, here = ask(page, tmp_path, script, case), one_query(**case)
    names = {"key": here.key, "scores": here.scores, "exact": here.exact, "fast": here.fast}
    outputs = {"exactOutput": here.exact_output, "fastOutput": here.fast_output}
    for name, expected in {**names, **outputs}.items():
        np.testing.assert_allclose(there[name], expected, rtol=1e-12, atol=1e-13)
    assert there["apart"] == pytest.approx(here.apart, rel=1e-12)
    assert there["negative"] == here.negative
    corners = here.key[ConvexHull(here.key).vertices].tolist()
    np.testing.assert_allclose(sorted(there["hull"]), sorted(corners), rtol=1e-12)


@pytest.mark.parametrize("kernel", ["inverse", "gauss"])
@pytest.mark.parametrize(("radius", "centers", "seed"), [(1.0, 1, 0), (1.5, 3, 7), (0.3, 8, 99)])
def test_far_field(
    page: Page, tmp_path: Path, kernel: str, radius: float, centers: int, seed: int
) -> None:
    """An error is a sum of terms of both signs, so round-off relative to the bound sets a floor."""
    case = {"kernel": kernel, "radius": radius, "centers": centers, "seed": seed}
    script = """(maths, { case: settings, places, orders }) => {
        const cells = maths.farField(settings);
        const all = (f) => orders.map((p) => places.map((y) => f(cells, y, p)));
        return [cells.source, cells.charge, cells.middles,
            all(maths.farFieldError), all(maths.farFieldBound)];
    }"""
    places, orders = np.linspace(-5, 5, 41), range(13)
    vectors = {"case": case, "places": places.tolist(), "orders": list(orders)}
    source, charge, middles, errors, bounds = ask(page, tmp_path, script, vectors)
    here = far_field(**case)
    for there, expected in ((source, here.source), (charge, here.charge), (middles, here.middles)):
        np.testing.assert_allclose(there, expected, rtol=1e-13, atol=1e-15)
    for order in orders:
        bound = here.bounds(places, order)
        np.testing.assert_allclose(bounds[order], bound, rtol=1e-12)
        error = here.errors(places, order)
        difference = np.abs(np.array(errors[order]) - error)
        assert np.all(difference <= 1e-12 * error + 1e-13 * bound)


@pytest.mark.parametrize(("dim", "order"), [(1, 4), (2, 0), (3, 3), (5, 2), (4, 6)])
def test_features(page: Page, tmp_path: Path, dim: int, order: int) -> None:
    expansion = minimax(order)
    script = """(maths, { dim, order, coefficients }) => [maths.numberOfFeatures(dim, order),
        maths.multiIndices(dim, order), maths.featureWeights(coefficients, dim)]"""
    vectors = {"dim": dim, "order": order, "coefficients": expansion.coefficients}
    count, indices, weights = ask(page, tmp_path, script, vectors)
    assert count == number_of_features(dim, order) == len(indices)
    np.testing.assert_array_equal(indices, multi_indices(dim, order))
    np.testing.assert_allclose(weights, feature_weights(expansion, dim), rtol=1e-12)


@pytest.mark.parametrize("basis", ["minimal", "full"])
@pytest.mark.parametrize("coefficients", ["taylor", "ones", "alternating"])
@pytest.mark.parametrize(("dim", "order"), [(1, 4), (2, 0), (3, 3), (4, 4)])
def test_terms_of_an_inner_product(
    page: Page, tmp_path: Path, dim: int, order: int, coefficients: str, basis: str
) -> None:
    """The same operations in the same sequence: not one digit differs."""
    settings = {"dim": dim, "order": order, "coefficients": coefficients, "basis": basis}
    for seed in (0, 7):
        script = "(maths, settings) => maths.innerProductTerms(settings)"
        there = ask(page, tmp_path, script, settings | {"seed": seed})
        here = MonomialBasis(**settings, seed=seed)
        assert [there["query"], there["key"]] == list(here.vectors())
        assert (there["minimal"], there["full"]) == here.counts()
        assert there["value"] == here.value()
        for name in ("weight", "query", "key", "total"):
            assert [t[name] for t in there["terms"]] == [getattr(t, name) for t in here.terms()]
        assert [tuple(t["factors"]) for t in there["terms"]] == [t.factors for t in here.terms()]
        assert sum(t["merged"] for t in there["terms"]) == there["full"]


@pytest.mark.parametrize("is_causal", [False, True])
def test_cost_model(page: Page, tmp_path: Path, is_causal: bool) -> None:
    vectors = list(itertools.product((1, 4096), (8, 64, 128), range(7), (16, 64)))
    script = """(maths, { vectors, isCausal }) => vectors.map(([n, d, p, dv]) => [
        maths.directFlops(n, d, dv, isCausal), maths.fastFlops(n, d, p, dv),
        maths.crossoverTokens(d, p, dv, isCausal)])"""
    answers = ask(page, tmp_path, script, {"vectors": vectors, "isCausal": is_causal})
    for (n, d, p, dv), there in zip(vectors, answers, strict=True):
        here = [
            direct_flops(n, d, dv, is_causal=is_causal),
            fast_flops(n, d, p, dv),
            crossover_tokens(d, p, dv, is_causal=is_causal),
        ]
        np.testing.assert_allclose(there, here, rtol=1e-12)


@pytest.mark.parametrize("seed", [0, 1, 12345, 2**32 - 1])
def test_the_same_seed_gives_the_same_tokens(page: Page, tmp_path: Path, seed: int) -> None:
    script = """(maths, seed) => {
        const random = maths.randomNumbers(seed);
        return [random.normals(50, 3), random.uniform()];
    }"""
    normals, uniform = ask(page, tmp_path, script, seed)
    random = RandomNumbers(seed)
    np.testing.assert_allclose(normals, random.normals(50, 3), rtol=1e-12)
    assert uniform == random.uniform()
    assert 0.5 < np.std(normals) < 1.5


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("radius", [0.5, 2.0])
def test_measured_errors(page: Page, tmp_path: Path, normalization: str, radius: float) -> None:
    script = """(maths, { normalization, coefficients }) => {
        const [query, key, value] = maths.randomTokens(3, 12, 5);
        const [q, k] = maths.normalize(query, key, normalization);
        const sums = maths.powerSums(q, k, value, maths.defaultScale(normalization, 5), 10);
        const error = (a) => maths.measuredError(a, sums) / maths.diameter(value);
        return [coefficients.map((family) => family.map(error)), sums.smallest, sums.largest];
    }"""
    coefficients = [
        [make(order, radius=radius).coefficients for order in COMPARED]
        for make in FAMILIES.values()
    ]
    vectors = {"normalization": normalization, "coefficients": coefficients}
    errors, smallest, largest = ask(page, tmp_path, script, vectors)
    here = measure(*random_tokens(3, 12, 5), normalization=normalization, radius=radius)
    # An error is a difference of outputs near 1, so round-off sets its last digits.
    np.testing.assert_allclose(errors, list(here.errors.values()), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose([smallest, largest], [here.smallest, here.largest], rtol=1e-12)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("seed", range(3))
def test_leak(page: Page, tmp_path: Path, normalization: str, seed: int) -> None:
    case = {"seed": seed, "position": 9, "change": 2.0, "normalization": normalization}
    there = ask(page, tmp_path, "(maths, settings) => maths.leak(settings)", case)
    here = leak(seed=seed, position=9, change=2.0, normalization=normalization)
    np.testing.assert_allclose(there["before"], here.before, rtol=1e-12)
    np.testing.assert_allclose(there["after"], here.after, rtol=1e-12)
    assert there["leaked"] == here.leaked
    assert there["leaked"] == (0 if normalization in ("none", "unit") else 8)


def test_memory_model(page: Page, tmp_path: Path) -> None:
    vectors = list(itertools.product((1, 4096), (1, 64, 128), range(5), (2, 4)))
    script = """(maths, vectors) => vectors.map(([n, d, p, bytes]) => [
        maths.momentNumbers(d, p), maths.cacheNumbers(n, d),
        maths.cacheCrossoverTokens(d, p, bytes)])"""
    for (n, d, p, cache), there in zip(vectors, ask(page, tmp_path, script, vectors), strict=True):
        crossover = cache_crossover_tokens(d, p, cache_bytes=cache)
        here = [moment_numbers(d, p), cache_numbers(n, d), crossover]
        np.testing.assert_allclose(there, here, rtol=1e-12)


@pytest.mark.parametrize("merge", ["sequence", "tree", "shuffled"])
@pytest.mark.parametrize(("devices", "arrived"), [(1, 24), (4, 24), (5, 13), (7, 0), (8, 23)])
def test_merging(page: Page, tmp_path: Path, merge: str, devices: int, arrived: int) -> None:
    case = {"devices": devices, "arrived": arrived, "merge": merge, "seed": 7}
    there = ask(page, tmp_path, "(maths, settings) => maths.mergeTokens(settings)", case)
    here = merge_tokens(devices=devices, arrived=arrived, merge=merge, seed=7)
    assert there["edges"] == here.edges
    for node, mine in zip(there["nodes"], here.nodes, strict=True):
        assert node["place"] == mine.place
        assert (node["level"], node["chain"]) == (mine.level, mine.chain)
        assert tuple(node["children"]) == mine.children
        np.testing.assert_allclose(node["sums"], mine.moments.sums.ravel(), rtol=1e-12, atol=1e-14)
    assert there["difference"] < 1e-14
    assert here.difference < 1e-14


@pytest.mark.parametrize("confidence", [0.5, 0.95])
def test_power_laws(page: Page, tmp_path: Path, confidence: float) -> None:
    random = np.random.default_rng(0)
    vectors = []
    for count in (3, 4, 5, 6, 9, 12):
        tokens = 2.0 ** np.arange(5, 5 + count)
        values = 1e-7 * tokens**1.5 * np.exp(random.normal(scale=0.2, size=count))
        vectors.append([*zip(tokens.tolist(), values.tolist(), strict=True)])
    script = f"(maths, vectors) => vectors.map((points) => maths.fitPowerLaw(points, {confidence}))"
    for points, there in zip(vectors, ask(page, tmp_path, script, vectors), strict=True):
        here = fit_power_law(*zip(*points, strict=True), confidence=confidence)
        found = [there[name] for name in ("factor", "exponent", "low", "high")]
        expected = [here.factor, here.exponent, here.low, here.high]
        np.testing.assert_allclose(found, expected, rtol=1e-12)
    few = ask(page, tmp_path, script, [[[1, 2], [2, 3]], [[4, 1], [4, 2], [4, 3]]])
    assert few == [None, None]


def test_quantiles_of_students_law(page: Page, tmp_path: Path) -> None:
    vectors = list(itertools.product((0.6, 0.75, 0.975, 0.995), range(1, 21)))
    script = (
        "(maths, vectors) => vectors.map(([share, free]) => maths.studentQuantile(share, free))"
    )
    here = [stats.t.ppf(share, freedom) for share, freedom in vectors]
    np.testing.assert_allclose(ask(page, tmp_path, script, vectors), here, rtol=1e-12)


def test_crossovers_of_laws_and_of_points(page: Page, tmp_path: Path) -> None:
    laws = [PowerLaw(2e-9, 2.0, 2, 2), PowerLaw(3e-6, 1.1, 1, 1)]
    there = ask(
        page,
        tmp_path,
        "(maths, laws) => maths.meetingTokens(...laws)",
        [vars(law) for law in laws],
    )
    assert there == pytest.approx(meeting_tokens(*laws), rel=1e-12)
    cases = [
        [[[256, 1.0], [512, 4.0], [1024, 16.0], [300, 1.0]], [[256, 3.0], [512, 5.0], [1024, 9.0]]],
        [[[256, 9.0], [512, 9.0]], [[512, 5.0], [256, 3.0]]],
        [[[256, 1.0], [512, 2.0]], [[256, 3.0], [512, 5.0]]],
        [[[128, 4.0], [256, 1.0], [512, 9.0]], [[128, 3.0], [256, 3.0], [512, 5.0]]],
    ]
    script = "(maths, cases) => cases.map(([slow, fast]) => maths.measuredCrossover(slow, fast))"
    for (slow, fast), found in zip(cases, ask(page, tmp_path, script, cases), strict=True):
        other = {int(n): seconds for n, seconds in fast}
        here = crossover({int(n): s / other[int(n)] for n, s in slow if int(n) in other})
        assert found == (None if here is None else pytest.approx(here, rel=1e-12))


@pytest.mark.parametrize(("dim", "order"), [(1, 1), (5, 2), (8, 3), (64, 2)])
@pytest.mark.parametrize("tokens", [1, 63, 64, 130])
def test_both_forms_of_the_race(
    page: Page, tmp_path: Path, tokens: int, dim: int, order: int
) -> None:
    script = """(maths, [tokens, dim, order]) => {
        const inputs = maths.raceTokens(tokens, dim);
        const direct = maths.softmaxRace(...inputs, tokens, dim);
        const fast = maths.fastRace(...inputs, tokens, dim, order);
        return [...inputs, direct, fast].map((numbers) => [...numbers]);
    }"""
    found = ask(page, tmp_path, script, [tokens, dim, order])
    query, key, value, direct, fast = (np.reshape(x, (tokens, dim)) for x in found)
    here = kernel_attention(query, key, value, expansion=taylor(order))
    # An output is a mean of numbers near 1, so round-off sets its last digits.
    exact = softmax_attention(query, key, value)
    np.testing.assert_allclose(direct, exact, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(fast, here, rtol=1e-12, atol=1e-14)
    assert np.max(np.abs(query)) < 1
    assert tokens == 1 or np.std(query - key) > 0.5


def test_race_tokens_repeat_what_was_drawn(page: Page, tmp_path: Path) -> None:
    script = "(maths, n) => [...maths.raceTokens(n, 2)[0]]"
    long = ask(page, tmp_path, script, 5000)
    assert long[: 2 * 2048] == ask(page, tmp_path, script, 2048)
    assert long[2 * 2048 : 4 * 2048] == long[: 2 * 2048]
    assert len(long) == 10_000
    assert long[-1] == long[2 * (4999 - 4096) + 1]


@pytest.mark.parametrize("is_stored", [False, True])
def test_work_of_a_step(page: Page, tmp_path: Path, is_stored: bool) -> None:
    vectors = list(itertools.product((1, 4096), (16, 64, 128), range(4), (2, 4)))
    script = """(maths, { vectors, isStored }) => vectors.map(([n, d, p, bytes]) => [
        maths.stepWork(n, d, p, bytes, isStored), maths.directWork(n, d, bytes, isStored)])"""
    answers = ask(page, tmp_path, script, {"vectors": vectors, "isStored": is_stored})
    for (n, d, p, size), (step, direct) in zip(vectors, answers, strict=True):
        here = step_work(n, d, p, number_bytes=size, is_stored=is_stored)
        there = direct_work(n, d, number_bytes=size, is_causal=is_stored)
        np.testing.assert_allclose([step["flops"], step["bytes"]], [here.flops, here.bytes], 1e-12)
        np.testing.assert_allclose(
            [direct["flops"], direct["bytes"]], [there.flops, there.bytes], 1e-12
        )


@pytest.mark.parametrize("name", ["gpu_design_log", "gpu_roofline", "cpu_roofline"])
def test_stored_runs_under_their_roof(page: Page, tmp_path: Path, name: str) -> None:
    result = load_result(name)
    roof = roof_of(result)
    vectors = {
        "samples": result["samples"],
        "roof": {"peak": roof.peak, "bandwidth": roof.bandwidth},
    }
    script = """(maths, { samples, roof }) => samples.map((sample) => {
        const work = maths.sampleWork(sample);
        const intensity = maths.intensityOf(work);
        return [work.flops, work.bytes, maths.attainable(roof, intensity),
            maths.leastSeconds(roof, work)];
    })"""
    there = ask(page, tmp_path, script, vectors)
    works = [sample_work(sample) for sample in result["samples"]]
    here = [
        [work.flops, work.bytes, roof.attainable(work.intensity), roof.least_seconds(work)]
        for work in works
    ]
    np.testing.assert_allclose(there, here, rtol=1e-12)
