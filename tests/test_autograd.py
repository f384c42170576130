"""Chapter 7: the O(n d) backward pass against differences, the reference and torch's own rules."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from arrays import Names, draw, worst

from fastattn_lite import (
    Expansion,
    Moments,
    fast_attention,
    kernel_attention,
    minimax,
    monomial_features,
    taylor,
)
from fastattn_lite.autograd import attention_backward_op, attention_op, pull_back

pytestmark = pytest.mark.filterwarnings("ignore::fastattn_lite.ExpansionWarning")
EXPANSIONS = {
    "taylor": taylor,
    "minimax": lambda order: minimax(order, radius=2.0),
    "negative": lambda order: Expansion((1.0, -0.2, 0.05, -0.01, 0.002)[: order + 1]),
}


def tensors(*, scale: float = 1.0, **sizes) -> list[torch.Tensor]:
    """Return query, key and value in float64 that record gradients."""
    return [torch.from_numpy(scale * x).requires_grad_() for x in draw(**sizes)]


def gradients(function, inputs, seed: int = 5) -> list[torch.Tensor]:
    """Return the gradients of one random weighted sum of the outputs."""
    output = function(*inputs)
    weights = torch.from_numpy(np.random.default_rng(seed).standard_normal(output.shape))
    return list(torch.autograd.grad(output, inputs, weights.to(output.dtype)))


def assert_gradients_of_the_direct_sum(inputs, tolerance=1e-11, **options):
    """Check the operator against autograd through the reference."""
    chunk_size = options.pop("chunk_size", 4)
    fast = gradients(
        lambda *x: fast_attention(*x, backend="autograd", chunk_size=chunk_size, **options), inputs
    )
    direct = gradients(lambda *x: kernel_attention(*x, **options), inputs)
    for left, right, tokens in zip(fast, direct, inputs, strict=True):
        assert left.shape == tokens.shape
        assert left.dtype == tokens.dtype
        assert worst(left, right) < tolerance


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("order", range(5))
@pytest.mark.parametrize("family", EXPANSIONS)
def test_gradcheck(family, order, is_causal):
    inputs = tensors(queries=6, keys=6, scale=0.5)
    options = {"expansion": EXPANSIONS[family](order), "is_causal": is_causal, "chunk_size": 4}
    assert torch.autograd.gradcheck(
        lambda *x: fast_attention(*x, backend="autograd", **options), inputs
    )


@pytest.mark.equation("eq-score-slope", "eq-loss-slope", "eq-query-moments")
@pytest.mark.equation("eq-value-gradient", "eq-two-scans")
@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("order", range(7))
@pytest.mark.parametrize("family", ["taylor", "minimax"])
def test_gradients_are_those_of_the_direct_sum(family, order, is_causal):
    inputs = tensors(lead=(2,), dim=4, scale=0.6)
    assert_gradients_of_the_direct_sum(
        inputs, expansion=EXPANSIONS[family](order), is_causal=is_causal
    )


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("scale", [-0.4, 0.0, 0.7, 1e-320])
def test_a_scale_of_any_sign_and_zero(scale, is_causal):
    options = {"expansion": taylor(2), "is_causal": is_causal, "scale": scale}
    assert_gradients_of_the_direct_sum(tensors(), **options)


@pytest.mark.parametrize(
    "leads",
    [
        ((3, 1), (1, 4), (3, 4)),
        ((2, 3), (2, 1), (2, 1)),
        ((), (2,), (3, 1)),
        ((3, 1), (1,), ()),
        ((0, 2), (2,), (0, 1)),
    ],
)
@pytest.mark.parametrize("is_causal", [False, True])
def test_gradients_are_summed_over_axes_that_broadcast(leads, is_causal):
    random = np.random.default_rng(1)
    shapes = [(9, 3), (9, 3), (9, 2)]
    inputs = [
        torch.from_numpy(random.standard_normal((*lead, *shape))).requires_grad_()
        for lead, shape in zip(leads, shapes, strict=True)
    ]
    assert_gradients_of_the_direct_sum(inputs, expansion=taylor(2), is_causal=is_causal)


@pytest.mark.parametrize(("queries", "keys"), [(5, 11), (11, 5), (1, 7), (7, 1), (0, 3)])
def test_other_numbers_of_queries_than_keys(queries, keys):
    inputs = tensors(queries=queries, keys=keys, dim=5, value_dim=3)
    assert_gradients_of_the_direct_sum(inputs, expansion=taylor(3))


@pytest.mark.parametrize("tokens", [0, 1, 7, 63])
@pytest.mark.parametrize("chunk_size", [1, 16, 100, None])
def test_any_number_of_tokens_in_any_chunks(tokens, chunk_size):
    inputs = tensors(queries=tokens, keys=tokens)
    options = {"expansion": taylor(2), "is_causal": True, "chunk_size": chunk_size}
    assert_gradients_of_the_direct_sum(inputs, **options)


def test_no_value_columns():
    inputs = tensors(value_dim=0)
    assert all(float(g.abs().sum()) == 0 for g in gradients(fast_attention, inputs))


@pytest.mark.parametrize("is_causal", [False, True])
def test_strided_inputs_and_features_in_several_parts(is_causal, monkeypatch):
    for module in ("factorization", "autograd"):
        monkeypatch.setattr(f"fastattn_lite.{module}.block_rows", lambda _tokens, _features: 4)
    inputs = [x.detach().mT.contiguous().mT.requires_grad_() for x in tensors(dim=6)]
    assert not inputs[0].is_contiguous()
    assert_gradients_of_the_direct_sum(inputs, expansion=taylor(3), is_causal=is_causal)


@pytest.mark.parametrize("normalization", ["unit", "center+unit", "max"])
def test_gradients_pass_through_the_normalization(normalization):
    inputs = tensors()
    both = [
        gradients(
            lambda *x, b=b: fast_attention(*x, normalization=normalization, backend=b), inputs
        )
        for b in ("autograd", "array")
    ]
    assert all(worst(left, right) < 1e-12 for left, right in zip(*both, strict=True))


@pytest.mark.parametrize(
    "dtypes",
    [("float32",) * 3, ("bfloat16",) * 3, ("float16",) * 3, ("bfloat16", "float32", "float16")],
)
@pytest.mark.parametrize("is_causal", [False, True])
def test_low_precision_sums_in_float32(dtypes, is_causal):
    """The error is that of rounding inputs and outputs a few times, not that of 300 sums."""
    types = [getattr(torch, name) for name in dtypes]
    exact = [0.5 * x.detach() for x in tensors(queries=300, keys=300, dim=8, value_dim=6)]
    low = [x.to(t).requires_grad_() for x, t in zip(exact, types, strict=True)]
    wide = [x.detach().double().requires_grad_() for x in low]
    found = gradients(lambda *x: fast_attention(*x, is_causal=is_causal), low)
    expected = gradients(
        lambda *x: kernel_attention(*x, expansion=taylor(2), is_causal=is_causal), wide
    )
    step = max(torch.finfo(t).eps for t in types)
    for left, right, dtype in zip(found, expected, types, strict=True):
        assert left.dtype == dtype
        assert float((left.double() - right).abs().max() / right.abs().max()) < 8 * step


@pytest.mark.parametrize("is_causal", [False, True])
def test_only_inputs_outputs_and_normalisers_are_saved(is_causal):
    saved = []
    inputs = tensors(queries=40, keys=40, dim=5)
    with torch.autograd.graph.saved_tensors_hooks(lambda x: saved.append(x) or x, lambda x: x):
        fast_attention(*inputs, order=3, is_causal=is_causal)
    assert sorted(map(tuple, (x.shape for x in saved))) == [
        (40,),
        (40, 2),
        (40, 2),
        (40, 5),
        (40, 5),
    ]


def test_the_backward_pass_makes_no_zeros_for_the_normaliser():
    inputs = tensors(queries=4, keys=4)
    output = fast_attention(*inputs)
    with Names() as names:
        torch.autograd.grad(output, inputs, torch.ones_like(output))
    assert any("attention_backward" in name for name in names.found)
    assert not any("zeros" in name for name in names.found)


class Stop(torch.autograd.Function):
    """Hands a tensor on and passes no gradient back."""

    @staticmethod
    def forward(_ctx, x):
        return x.clone()

    @staticmethod
    def backward(_ctx, *_):
        return None


def test_an_output_without_a_gradient_passes_none_back():
    inputs = tensors(queries=4, keys=4)
    output = Stop.apply(fast_attention(*inputs))
    assert torch.autograd.grad(output.sum(), inputs, allow_unused=True) == (None, None, None)


@pytest.mark.equation("eq-token-gradient")
def test_pull_back_is_the_gradient_of_the_weighted_features():
    x, _, partners = tensors(dim=4, value_dim=3, lead=(2,))
    moments = Moments.accumulate(x.detach(), partners.detach(), order=4)
    weighted = moments.weighted(taylor(4))
    extended = torch.nn.functional.pad(partners, (0, 1), value=1.0)
    total = ((monomial_features(x, 4) @ weighted) * extended).sum()
    (expected,) = torch.autograd.grad(total, [x])
    assert worst(pull_back(x.detach(), 4, weighted, extended.detach()), expected) < 1e-12


def test_a_second_derivative_is_refused_and_the_array_path_has_it():
    inputs = tensors(queries=4, keys=4)
    first = torch.autograd.grad(fast_attention(*inputs).sum(), inputs, create_graph=True)
    with pytest.raises(RuntimeError, match='no second derivative; backend="array" has one'):
        first[0].sum().backward()
    assert torch.autograd.gradgradcheck(
        lambda *x: fast_attention(*x, order=1, backend="array"), inputs
    )


def test_what_the_operator_cannot_take_is_refused_by_name():
    inputs = tensors()
    _, state = fast_attention(*inputs, return_state=True)
    for options in ({"return_state": True}, {"initial_state": state}):
        with pytest.raises(ValueError, match='backend: "autograd" carries no state'):
            fast_attention(*inputs, backend="autograd", **options)
    with pytest.raises(TypeError, match='backend: "autograd" expected torch tensors'):
        fast_attention(*draw(), backend="autograd")
    with pytest.raises(ValueError, match=r"backend: expected one of .*'autograd'"):
        fast_attention(*inputs, backend="graph")


def test_which_calls_take_the_operator():
    inputs = tensors()
    plain = [x.detach() for x in inputs]

    def names(output):
        return type(output.grad_fn).__name__.lower()

    assert "attention" in names(fast_attention(*inputs))
    assert "attention" in names(fast_attention(inputs[0], *plain[1:]))
    assert "attention" not in names(fast_attention(*inputs, backend="array"))
    with torch.no_grad():
        assert fast_attention(*inputs).grad_fn is None


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_opcheck(dtype, is_causal):
    query, key, value = (
        x.detach().to(dtype).requires_grad_() for x in tensors(lead=(2, 1), queries=6, keys=6)
    )
    options = ([1.0, 1.0, 0.5], 0.6, is_causal, 4, False)
    tolerances = {"atol": 1e-4, "rtol": 1e-3}
    torch.library.opcheck(attention_op, (query, key, value, *options), **tolerances)
    shared = key[0].detach().requires_grad_()
    torch.library.opcheck(attention_op, (query, shared, value, *options), **tolerances)
    inputs = [x.detach() for x in (query, key, value)]
    output, normalizer = attention_op(*inputs, *options)
    saved = torch.ones_like(output), output, normalizer
    torch.library.opcheck(attention_backward_op, (*saved, *inputs, *options), **tolerances)


@pytest.fixture
def fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.parametrize(
    "options",
    [
        {"is_causal": True},
        {"order": 3, "normalization": "unit", "scale": 0.5},
        {"expansion": minimax(2, radius=2.0), "is_causal": True, "normalization": "unit"},
        {"normalization": "center", "chunk_size": 8},
        {"backend": "array"},
    ],
)
def test_compile_takes_the_public_function_whole(options):
    def function(*x):
        return fast_attention(*x, **options)

    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    inputs = tensors(lead=(2,), queries=20, keys=20)
    with torch.no_grad():
        assert worst(compiled(*inputs), function(*inputs)) < 1e-12
    for left, right in zip(gradients(compiled, inputs), gradients(function, inputs), strict=True):
        assert worst(left, right) < 1e-12


@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.parametrize("normalization", ["none", "unit"])
def test_compile_once_for_any_number_of_tokens_and_batch(normalization):
    graphs = []

    def counting(graph, _inputs):
        graphs.append(graph)
        return graph.forward

    def function(*x):
        return fast_attention(*x, is_causal=True, normalization=normalization)

    compiled = torch.compile(function, fullgraph=True, backend=counting, dynamic=True)
    for batch, tokens in ((5, 9), (6, 13), (4, 300)):
        inputs = tensors(lead=(batch,), queries=tokens, keys=tokens)
        assert worst(compiled(*inputs).detach(), function(*inputs).detach()) < 1e-12
    assert len(graphs) == 1


@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.filterwarnings("error")
def test_compile_leaves_a_call_with_a_state_as_it_is():
    def function(query, key, value, state=None):
        options = {"is_causal": True, "return_state": True, "initial_state": state}
        return fast_attention(query, key, value, **options)

    inputs = [x.detach() for x in tensors(queries=9, keys=9)]
    compiled = torch.compile(function, backend="aot_eager")
    output, state = compiled(*inputs)
    expected, plain = function(*inputs)
    assert torch.equal(output, expected)
    assert torch.equal(compiled(*inputs, state)[0], function(*inputs, plain)[0])
    torch._dynamo.reset()
    whole = torch.compile(function, fullgraph=True, backend="aot_eager")
    with pytest.raises(torch._dynamo.exc.Unsupported, match="uncompiled_with_a_state"):
        whole(*inputs)


@pytest.mark.usefixtures("fresh_compiler")
def test_compile_still_names_the_wrong_argument():
    compiled = torch.compile(fast_attention, fullgraph=True, backend="aot_eager")
    query, key, value = (x.detach() for x in tensors())
    with pytest.raises(Exception, match="key: expected the dimension of query"):
        compiled(query, key[:, :2], value)


@pytest.mark.parametrize("is_causal", [False, True])
def test_torch_func_transforms_of_the_gradient(is_causal):
    inputs = [x.detach() for x in tensors(lead=(3,))]

    def loss(f):
        return lambda *x: f(*x).square().sum()

    def fast(*x):
        return fast_attention(*x, is_causal=is_causal, chunk_size=4)

    def direct(*x):
        return kernel_attention(*x, expansion=taylor(2), is_causal=is_causal)

    one = [x[0] for x in inputs]
    every = (0, 1, 2)
    for axes in [(0, 0, 0), (0, None, None), (None, 0, None)]:
        tokens = [x if a == 0 else y for x, y, a in zip(inputs, one, axes, strict=True)]
        left, right = (
            torch.func.vmap(torch.func.grad(loss(f), every), axes)(*tokens) for f in (fast, direct)
        )
        assert all(worst(a, b) < 1e-11 for a, b in zip(left, right, strict=True))
    left, right = (torch.func.jacrev(f, every)(*one) for f in (fast, direct))
    assert all(worst(a, b) < 1e-11 for a, b in zip(left, right, strict=True))
    watched = [x.clone().requires_grad_() for x in inputs]
    for left, right in zip(
        gradients(torch.func.vmap(fast), watched), gradients(direct, watched), strict=True
    ):
        assert worst(left, right) < 1e-11


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("records", [False, True])
def test_autocast_rounds_no_moments(records, is_causal):
    inputs = [
        x.detach().float().requires_grad_(records) for x in tensors(dim=8, queries=64, keys=64)
    ]
    options = {"is_causal": is_causal, "chunk_size": 16}
    expected = fast_attention(*inputs, **options)
    before = gradients(lambda *x: fast_attention(*x, **options), inputs) if records else []
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = fast_attention(*inputs, **options)
        _, state = fast_attention(*inputs, return_state=True, **options)
        moments = Moments.accumulate(*inputs[1:], order=2)
        answers = moments.evaluate(inputs[0], taylor(2))
        assert (inputs[0] @ inputs[1].mT).dtype == torch.bfloat16  # it does round elsewhere
        after = gradients(lambda *x: fast_attention(*x, **options), inputs) if records else []
    assert torch.equal(result, expected)
    assert state.sums.dtype == moments.sums.dtype == answers.dtype == torch.float32
    exact = Moments.accumulate(*(x.detach().double() for x in inputs[1:]), order=2)
    assert worst(moments.sums.detach(), exact.sums) < 1e-5
    assert worst(answers.detach(), exact.evaluate(inputs[0].detach().double(), taylor(2))) < 1e-4
    for left, right in zip(after, before, strict=True):
        assert torch.equal(left, right)


def test_two_almost_equal_scales_do_not_mix():
    inputs = draw()
    _, state = fast_attention(*inputs, scale=0.5, return_state=True)
    with pytest.raises(ValueError, match=r"scale 0\.50000001, got .* scale 0\.5$"):
        fast_attention(*inputs, scale=0.50000001, initial_state=state)


@pytest.mark.parametrize("is_causal", [False, True])
def test_a_nan_never_becomes_a_wrong_finite_gradient(is_causal):
    inputs = tensors(queries=10, keys=10)
    options = {"is_causal": is_causal, "chunk_size": 4}
    clean = gradients(lambda *x: fast_attention(*x, **options), inputs)
    with torch.no_grad():
        inputs[0][5, 1] = torch.nan
    found = gradients(lambda *x: fast_attention(*x, **options), inputs)
    for left, right in zip(found, clean, strict=True):
        finite = torch.isfinite(left)
        assert worst(left[finite], right[finite]) < 1e-11
    assert torch.isfinite(found[0][:5]).all()
