"""The fused kernels against the direct sum in float64: every order, mask, shape and gradient."""

from __future__ import annotations

import functools
import math
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from fastattn_lite import (
    Expansion,
    Moments,
    autograd,
    fast_attention,
    kernel_attention,
    minimax,
    taylor,
)
from fastattn_lite.kernels import (
    backward,
    forward,
    launch,
    operator,
    rows,
    settings,
    states,
    support,
)

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
FLOOR = {torch.float32: 1e-6, torch.float16: 1e-3, torch.bfloat16: 8e-3}
"""About one unit in the last place of each type, eight in float32: summation orders differ."""
NEGATIVE = Expansion((1.0, -0.5, 0.4))
"""A polynomial with a negative coefficient, positive everywhere."""


def tokens(*shapes: tuple[int, ...], dtype: torch.dtype, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    made = [torch.randn(shape, generator=generator) for shape in shapes]
    return [x.to(DEVICE, dtype) for x in made]


def relative(found: Tensor, expected: Tensor) -> float:
    found, expected = found.detach().double(), expected.detach()
    return float((found - expected).norm() / expected.norm())


def plain(query: Tensor, key: Tensor, value: Tensor, expansion: Expansion, is_causal: bool):
    """Return the same formula in the plain products of the inputs' own type."""
    scores = query @ key.mT * query.shape[-1] ** -0.5
    weights = sum(a * scores**degree for degree, a in enumerate(expansion.coefficients))
    weights = weights.tril() if is_causal else weights
    return weights @ value / weights.sum(-1, keepdim=True)


@pytest.fixture(autouse=True, params=["moments", "pairs"])
def form(request, monkeypatch):
    """Take every problem by its moments, then every one by its scores, whatever is faster."""
    for module in (forward, backward):
        monkeypatch.setattr(module, "takes_pairs", lambda *_: request.param == "pairs")
    return request.param


SINGLE, HALF = torch.float32, torch.float16
LARGE = () if DEVICE == "cuda" else pytest.mark.slow
"""The interpreter takes minutes for these; a GPU takes no time."""
CASES = [
    pytest.param(taylor(2), 1, 16, 16, SINGLE, id="one-token"),
    pytest.param(taylor(2), 7, 16, 24, SINGLE, id="seven"),
    pytest.param(taylor(2), 260, 16, 16, SINGLE, id="several-chunks"),
    pytest.param(taylor(2), 260, 16, 16, HALF, id="half-precision"),
    pytest.param(taylor(1), 150, 32, 16, SINGLE, id="order-1"),
    pytest.param(taylor(3), 70, 5, 8, SINGLE, id="order-3"),
    pytest.param(NEGATIVE, 40, 16, 16, SINGLE, id="negative"),
    pytest.param(minimax(2), 63, 20, 33, SINGLE, id="odd-dimensions", marks=LARGE),
    pytest.param(taylor(2), 130, 64, 64, SINGLE, id="d-64", marks=LARGE),
    pytest.param(taylor(2), 111, 64, 64, HALF, id="d-64-half", marks=LARGE),
    pytest.param(taylor(2), 130, 128, 128, HALF, id="d-128-half", marks=LARGE),
    pytest.param(taylor(3), 111, 32, 32, HALF, id="order-3-half", marks=LARGE),
]
if DEVICE == "cuda":
    CASES += [
        pytest.param(taylor(2), n, d, d, torch.bfloat16, id=f"bfloat16-{n}-{d}")
        for n in (1, 63, 5000)
        for d in (16, 32, 64, 128)
    ]


@pytest.mark.filterwarnings("ignore::fastattn_lite.attention.ExpansionWarning")
@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize(("expansion", "n", "d", "d_v", "dtype"), CASES)
def test_outputs_and_gradients_equal_the_direct_sum(
    expansion, n, d, d_v, dtype, is_causal, monkeypatch
):
    """Rule for half precision: at most twice the error of the plain formula, plus a floor."""
    inputs = tokens((2, n, d), (2, n, d), (2, n, d_v), dtype=dtype)
    upstream = tokens((2, n, d_v), dtype=dtype, seed=1)[0]
    poison_empty(monkeypatch)
    given = [x.clone().requires_grad_() for x in inputs]
    output = fast_attention(*given, expansion=expansion, is_causal=is_causal, backend="triton")
    found = [output, *torch.autograd.grad(output, given, upstream)]
    monkeypatch.undo()
    exact = [x.double().requires_grad_() for x in inputs]
    expected = kernel_attention(*exact, expansion=expansion, is_causal=is_causal)
    wanted = [expected, *torch.autograd.grad(expected, exact, upstream.double())]
    own = [x.clone().requires_grad_() for x in inputs]
    simple = plain(*own, expansion, is_causal)
    rough = [simple, *torch.autograd.grad(simple, own, upstream)]
    for ours, theirs, truth in zip(found, rough, wanted, strict=True):
        truth, floor = truth.detach(), FLOOR[dtype]
        assert ours.dtype == dtype
        if truth.norm() > 1e-9:
            assert relative(ours, truth) <= 2 * relative(theirs, truth) + floor
        else:
            assert ours.double().norm() < 10 * floor


def poison_empty(monkeypatch):
    """Fill every tensor that is made without values with NaN: what is not written shows."""
    make = {name: getattr(torch, name) for name in ("empty", "empty_like")}
    for name, function in make.items():
        monkeypatch.setattr(torch, name, poisoned(function))


def poisoned(function):
    def made(*args, **options):
        new = function(*args, **options)
        return new.fill_(float("nan")) if new.is_floating_point() else new

    return made


def test_more_keys_than_queries_and_other_scales():
    query, key, value = tokens((1, 10, 16), (1, 140, 16), (1, 140, 16), dtype=torch.float32)
    for scale in (0.3, -0.2, 0.0):
        found = fast_attention(query, key, value, scale=scale, backend="triton")
        exact = [x.double() for x in (query, key, value)]
        expected = kernel_attention(*exact, expansion=taylor(2), scale=scale)
        assert relative(found, expected) < 1e-6


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize(
    ("query", "key", "value"),
    [
        pytest.param((2, 3, 4), (2, 3, 1), (2, 3, 1), id="grouped-heads"),
        pytest.param((2, 3), (1, 3), (2, 1), id="both-broadcast"),
        pytest.param((), (2,), (2,), id="one-query-for-two-heads"),
        pytest.param((3,), (), (), id="shared-keys"),
    ],
)
def test_leading_axes_broadcast(query, key, value, is_causal):
    shapes = ((*query, 20, 16), (*key, 20, 16), (*value, 20, 8))
    inputs = tokens(*shapes, dtype=torch.float32)
    given = [x.clone().requires_grad_() for x in inputs]
    exact = [x.double().requires_grad_() for x in inputs]
    found = fast_attention(*given, is_causal=is_causal, backend="triton")
    expected = kernel_attention(*exact, expansion=taylor(2), is_causal=is_causal)
    assert found.shape == expected.shape
    assert relative(found, expected.detach()) < 1e-6
    pairs = zip(
        torch.autograd.grad(found.square().sum(), given),
        torch.autograd.grad(expected.square().sum(), exact),
        strict=True,
    )
    assert all(relative(ours, truth) < 1e-5 for ours, truth in pairs)


def test_grouped_heads_share_their_moments():
    assert operator.leads((2, 3, 4), (2, 3, 1), (2, 3, 1))[1] == (2, 3, 1)
    assert operator.leads((2, 3), (3,), (3,))[1] == (2, 3)
    assert operator.leads((2, 3), (1, 1), (1,))[1] == (1, 1)


def test_inputs_in_any_memory_order():
    base = tokens((1, 16, 30), (1, 30, 32), (30, 1, 16), dtype=torch.float32)
    query, key, value = base[0].mT, base[1][..., ::2], base[2].transpose(0, 1)
    found = fast_attention(query, key, value, is_causal=True, backend="triton")
    exact = [x.double() for x in (query, key, value)]
    assert relative(found, kernel_attention(*exact, expansion=taylor(2), is_causal=True)) < 1e-6


SIZES = [(300, 16, 2)] if DEVICE == "cpu" else [(20_000, d, 12) for d in (16, 32, 64, 128)]


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize(("n", "d", "runs"), SIZES)
def test_same_inputs_give_the_same_bits(n, d, runs, is_causal):
    """A product still under way while its operands are overwritten shows as bits that change."""
    query, key, value, upstream = tokens(*[(4, n, d)] * 4, dtype=HALF)
    options = ((1.0, 1.0, 0.5), d**-0.5, is_causal)

    def once() -> tuple[Tensor, ...]:
        output, normaliser = operator.forward(query, key, value, *options)
        given = (upstream, output, normaliser, query, key, value)
        return output, normaliser, *operator.backward(*given, *options)

    first = once()
    for _ in range(runs):
        assert all(torch.equal(x, y) for x, y in zip(first, once(), strict=True))


@pytest.mark.filterwarnings("ignore::fastattn_lite.attention.ExpansionWarning")
@pytest.mark.parametrize("expansion", [taylor(1), taylor(2), taylor(3)])
def test_chunks_in_turn_equal_chunks_side_by_side(expansion, monkeypatch):
    inputs = tokens((2, 600, 16), (2, 600, 16), (2, 600, 24), dtype=SINGLE)
    exact = kernel_attention(*(x.double() for x in inputs), expansion=expansion, is_causal=True)
    rough = relative(plain(*inputs, expansion, True), exact)
    monkeypatch.setattr(forward, "takes_pairs", lambda *_: False)
    for in_turn in (True, False):
        with monkeypatch.context() as patch:
            patch.setattr(forward, "runs", lambda *_, chosen=in_turn: chosen)
            poison_empty(patch)
            found = fast_attention(*inputs, expansion=expansion, is_causal=True, backend="triton")
        assert relative(found, exact) <= 2 * rough + FLOOR[SINGLE]


def test_chunks_are_taken_in_turn_where_heads_keep_the_device_busy(monkeypatch):
    key, cut = states.transposed(tokens((2, 600, 16), dtype=SINGLE)[0], 2), states.Chunks(256, 3)
    for processors, in_turn in ((1, True), (132, False)):
        monkeypatch.setattr(states, "processors", lambda _, count=processors: count)
        assert states.runs(key, 2, cut) == in_turn
    assert states.runs(key, 2, states.Chunks(1024, 1))


def test_a_causal_output_does_not_see_the_future():
    query, key, value = tokens(*3 * [(1, 260, 16)], dtype=torch.float32)
    before = fast_attention(query, key, value, is_causal=True, backend="triton")
    key[:, 200:], value[:, 200:] = 7.0, -7.0
    after = fast_attention(query, key, value, is_causal=True, backend="triton")
    assert torch.equal(before[:, :200], after[:, :200])


def test_float16_moments_of_many_tokens_do_not_overflow():
    """Sums of k_c k_d v over 1,000 tokens pass 65,504; their means, which are kept, do not."""
    inputs = [16.0 + x for x in tokens(*3 * [(1, 1000, 16)], dtype=torch.float16)]
    found = fast_attention(*inputs, scale=0.0005, backend="triton")
    expected = kernel_attention(*(x.double() for x in inputs), expansion=taylor(2), scale=0.0005)
    assert relative(found, expected) < 2e-3


@pytest.mark.filterwarnings("ignore::fastattn_lite.attention.ExpansionWarning")
@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning", "ignore:invalid:RuntimeWarning")
@pytest.mark.parametrize(("order", "last", "first_beyond"), [(2, 350, 370), (3, 71, 75)])
def test_float16_overflows_where_the_polynomial_passes_65504(form, order, last, first_beyond):
    """Through the scores f(s) is rounded to float16; the moments are means, and go further."""
    value = tokens((1, 40, 16), dtype=HALF)[0]
    for score in (last, first_beyond, 10_000):
        same = torch.full((1, 40, 16), math.sqrt(score / 16), dtype=HALF, device=DEVICE)
        options = {"scale": 1.0, "expansion": taylor(order), "backend": "triton"}
        found = fast_attention(same, same, value, **options)
        if score == last or (form == "moments" and order == 2):
            assert relative(found, value.double().mean(1, keepdim=True).expand_as(value)) < 1e-2
        elif form == "pairs":
            assert not torch.isfinite(found).any(), "visible, not silently wrong"


def test_normalized_tokens_keep_their_type():
    inputs = tokens(*3 * [(1, 50, 16)], dtype=torch.float16)
    found = fast_attention(*inputs, normalization="unit", backend="triton")
    expected = fast_attention(*(x.double() for x in inputs), normalization="unit")
    assert found.dtype == torch.float16
    assert relative(found, expected) < 2e-3


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"order": 4}, "an order from 1 to 3, got 4"),
        ({"order": 0}, "an order from 1 to 3, got 0"),
        ({"d": 256}, "dimensions of at most 128, got 256 and 16"),
        ({"d": 64, "order": 3}, "at most 32 at order 3, got 64 and 16"),
        ({"dtype": torch.float64}, "float16, bfloat16 or float32"),
        ({"return_state": True}, "with a state they take one query and one key, got 5 and 5"),
    ],
)
def test_what_the_kernels_do_not_take_is_said(changed, reason):
    changed = dict(changed)
    dtype = changed.pop("dtype", torch.float32)
    inputs = tokens(*2 * [(1, 5, changed.pop("d", 16))], (1, 5, 16), dtype=dtype)
    with pytest.raises(ValueError, match=f'backend: "triton" cannot take this: .*{reason}'):
        fast_attention(*inputs, backend="triton", **changed)


def test_numpy_is_refused_by_name():
    inputs = [x.cpu().numpy() for x in tokens(*3 * [(1, 5, 16)], dtype=torch.float32)]
    with pytest.raises(ValueError, match="expected torch tensors, got ndarray"):
        fast_attention(*inputs, backend="triton")


@pytest.mark.parametrize("backend", ["triton", "autograd"])
def test_no_state_is_made_beside_the_kernels(backend, monkeypatch):
    """The operator needs none, and at d = 64 an unused one would take 0.5 MB a head."""
    made = []
    monkeypatch.setattr(Moments, "empty", lambda *_, **__: made.append(1))
    monkeypatch.setattr(autograd, "attention", lambda *_, **__: "output")
    inputs = tokens(*3 * [(1, 5, 16)], dtype=torch.float32)
    assert fast_attention(*inputs, backend=backend) == "output"
    assert made == []
    with pytest.raises(ValueError, match=r"order: the moments of .* would need .* GiB"):
        fast_attention(*inputs, backend="autograd", order=60)


def test_an_old_gpu_gets_a_reason(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr(support, "capability", lambda _device: (7, 5))
    reason = support._why_not_device(torch.device("cuda"))
    assert reason is not None
    assert "compute capability 7.5" in reason


def test_auto_leaves_the_cpu_to_the_portable_path(monkeypatch):
    def refuse(*_):
        raise AssertionError

    monkeypatch.setattr(operator, "forward", refuse)
    inputs = [x.cpu() for x in tokens(*3 * [(1, 5, 16)], dtype=torch.float32)]
    assert fast_attention(*inputs).shape == (1, 5, 16)


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("width", [16, 32])
def test_rows_and_weights_spell_out_the_polynomial(order, width):
    """sum_rc a w_rc x^r x_c y^r y_c is f(x.y) - a_0, and that of the row weights is f'(x.y)."""
    coefficients = (0.7, 1.3, 0.4, 0.2)[: order + 1]
    table = rows.rows_of(order, width)
    x, y = (torch.randn(width, dtype=torch.float64).numpy() for _ in range(2))
    padded_x, padded_y = ([1.0, *z] for z in (x, y))
    monomials = [
        [z[i] * z[j] for i, j in zip(table.first, table.second, strict=True)]
        for z in (padded_x, padded_y)
    ]
    both = torch.tensor(monomials, dtype=torch.float64).prod(0)
    degrees = 1 + (table.first > 0).astype(int) + (table.second > 0).astype(int)
    factors = torch.tensor(coefficients, dtype=torch.float64)[torch.from_numpy(degrees)]
    weights = factors[:, None] * torch.from_numpy(rows.shared_weights(order, width)).double()
    score = float(x @ y)
    value = float(torch.einsum("r,rc,c->", both, weights, torch.from_numpy(x * y)))
    expected = sum(a * score**degree for degree, a in enumerate(coefficients)) - coefficients[0]
    assert value == pytest.approx(expected, rel=1e-5, abs=1e-5)
    row_weights = factors * torch.from_numpy(rows.row_weights(order, width)).double()
    slope = float(both @ row_weights)
    expected = sum(d * a * score ** (d - 1) for d, a in enumerate(coefficients) if d > 0)
    assert slope == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_few_tokens_take_the_scores_and_many_the_moments(monkeypatch):
    """More features make moments dearer; a mask halves the scores; long sequences stay linear."""
    monkeypatch.undo()
    limits = [most_pairs(16, 2, False), most_pairs(64, 2, False), most_pairs(64, 2, True)]
    assert 0 < limits[0] < limits[1] < limits[2] < most_pairs(128, 2, True)
    assert most_pairs(128, 3, True) == settings.MOST_PAIRS


def test_where_the_host_takes_longer_than_the_device_one_kernel_is_started():
    """Few heads may have more tokens than many."""
    limits = [most_pairs(32, 2, False, heads=heads) for heads in (1_000, 64, 8)]
    assert limits[0] < limits[1] < limits[2]
    assert limits[1] == 2_048


def most_pairs(dim, order, is_causal, *, heads=1_000):
    takes = settings.takes_pairs
    return sum(takes((heads, n, dim), n, order, is_causal) for n in range(1, 20_000))


def test_chunks_hold_every_token():
    for n in (1, 127, 128, 129, 5000):
        causal = [states.cut_causal(n, dim, order) for dim in (16, 64) for order in (1, 2)]
        for cut in (*causal, states.cut_full(n, torch.zeros(3, n, 16))):
            assert (cut.count - 1) * cut.size < n <= cut.count * cut.size
            assert cut.size % states.TOKEN_TILE == 0


@pytest.mark.parametrize(("capability", "limits"), [((9, 0), (96, 128)), ((8, 9), (None, None))])
def test_registers_are_limited_where_that_leaves_enough(capability, limits, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    monkeypatch.setattr(settings, "shared_memory", lambda _: settings.ROOMY)
    settings.settings_of.cache_clear()
    on_gpu = SimpleNamespace(dtype=torch.bfloat16, device=torch.device("cuda", 0))
    chosen = settings.settings_for(on_gpu, 2, 32, 32)
    settings.settings_of.cache_clear()
    assert (chosen.moment_registers, chosen.registers) == limits


def test_chunks_of_order_1_are_short_for_their_state_is_small():
    assert states.cut_causal(5000, 64, 1).size < states.cut_causal(5000, 64, 2).size
    assert states.cut_causal(5000, 16, 1).size <= states.cut_causal(5000, 16, 2).size


def test_order_1_takes_its_keys_as_they_lie(monkeypatch):
    """No transposed copy is made: nothing but row 0 is summed."""
    monkeypatch.setattr(states, "launch", None)
    query = tokens((2, 300, 16), dtype=SINGLE)[0]
    assert states.transposed(query, 1).copy is query
    assert states.transposed(query, 1).padded == 384


def test_kernels_start_on_the_gpu_of_their_first_tensor(launches) -> None:
    first = torch.ones(1)
    launch.launch(launches, (2, 3), first, torch.ones(1), ORDER=2)
    assert [place is first for place in launches.places] == [True]
    assert launches.current == []


if torch.cuda.device_count() > 1:

    @pytest.mark.parametrize("is_causal", [False, True])
    def test_tensors_may_lie_on_another_gpu_than_the_current_one(is_causal):
        """Forward and backward, twice, for a call that is known takes a shorter way; one token."""
        fused = functools.partial(fast_attention, backend="triton", is_causal=is_causal)
        drawn = tokens(*[(2, 600, 32)] * 3, dtype=HALF)
        results = []
        for place in ("cuda:0", "cuda:1"):
            given = [x.to(place) for x in drawn]
            recorded = [x.clone().requires_grad_() for x in given]
            found = [fused(*given) for _ in range(2)]
            fused(*recorded).sum().backward()
            last = [x[:, -1:] for x in given]
            step, state = fast_attention(*last, backend="triton", return_state=True)
            found += [*(x.grad for x in recorded), step, state.sums]
            assert all(x.device == torch.device(place) for x in found)
            results.append([x.cpu() for x in found])
        assert torch.cuda.current_device() == 0
        assert all(map(torch.equal, *results))
