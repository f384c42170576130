"""Gradients with O(n d) saved memory: the backward pass is the forward algebra, roles exchanged.

With h_i = [g_i, -g_i . o_i] / G_i for the upstream gradient g_i, and y_j = [v_j, 1]:

    dL/ds_ij = f'(s_ij) h_i . y_j
    N_a      = sum_i q_i^a h_i                                (moments of the queries)
    dv_j     = first d_v columns of sum_a w_a k_j^a N_a
    dq_i     = gradient at q = q_i of sum_a w_a q^a (M_a . h_i)
    dk_j     = gradient at k = k_j of sum_a w_a k^a (N_a . y_j)

Only query, key, value, output and normaliser are kept for it; M is summed again. Under a causal
mask M is a prefix sum and N a suffix sum, so there are two scans and no stored prefix.

Both passes are operators of `torch.library`, so torch.compile takes each as one node. Where
`is_fused` says so, the Triton kernels of `fastattn_lite.kernels` compute them; what is saved and
all that torch must know stays here.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import array_api_compat.torch as xp
import torch
from torch import Tensor

from fastattn_lite._arrays import accumulation_dtype, broadcast_lead, chunks, full_precision
from fastattn_lite.attention import CAUSAL_CHUNK, attend, causal_attention, split_scale
from fastattn_lite.expansion import Expansion
from fastattn_lite.factorization import (
    Factors,
    block_rows,
    factor_rows,
    factor_runs,
    feature_blocks,
    next_factors,
    number_of_features,
)
from fastattn_lite.moments import (
    Moments,
    feature_sums,
    tokens_at_once,
    weighted_sums,
    with_one,
)
from fastattn_lite.reference import causal_part

NO_SECOND_DERIVATIVE = (
    "fast_attention: the operator of fastattn_lite.autograd has no second derivative; "
    'backend="array" has one, and keeps O(n R) numbers for it'
)
SPAN = 512
"""Most tokens taken together: what is made for them is the memory beside the sums."""
_disable: Any = torch.compiler.disable  # whose types know no decorator without brackets
OPTIONS = "float[] coefficients, float scale, bool is_causal, int? chunk_size, bool is_fused"


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    expansion: Expansion,
    *,
    scale: float,
    is_causal: bool,
    chunk_size: int | None = None,
    is_fused: bool = False,
) -> Tensor:
    """Return fast attention of torch tensors, with the backward pass of this module.

    Formula: that of `fast_attention`, whose checks the inputs must have passed.
    Shapes: query (..., n_q, d), key (..., n_k, d), value (..., n_k, d_v) to (..., n_q, d_v) in the
    type of `value`; leading axes broadcast, and gradients are summed back over them.
    Cost: backward 10 n R (d_v + 1) flops; O(R d_v) memory and a chunk beyond inputs and outputs.
    Raises `RuntimeError` where a second derivative is asked for.
    Chapter: gradients.
    """
    coefficients = list(expansion.coefficients)
    options = (scale, is_causal, chunk_size, is_fused)
    return attention_op(query, key, value, coefficients, *options)[0]


def compiled_attention(
    query: Tensor, key: Tensor, value: Tensor, expansion: Expansion | None, **options: Any
) -> Tensor:
    """Return `fast_attention` where torch.compile traces the call.

    Checks, warnings and coefficients are Python that a graph cannot hold. They run once, while the
    graph is made; what stays in it is the operator and the normalisation before it.
    """
    fields = () if expansion is None else (expansion.coefficients, expansion.radius, expansion.name)
    return _traced(query, key, value, fields, **options)


@torch.compiler.allow_in_graph
def _traced(
    query: Tensor, key: Tensor, value: Tensor, fields: tuple[Any, ...], **options: Any
) -> Tensor:
    return attend(query, key, value, Expansion(*fields) if fields else None, **options)[0]


@_disable
def uncompiled_with_a_state(*given: Any, **options: Any) -> tuple[Tensor, Any]:
    """Return the outputs and the state where torch.compile meets a call with a state.

    No graph holds a state, so the call runs as it is; fullgraph=True refuses it with this name.
    """
    return attend(*given, **options, carries_state=True)


@dataclass(frozen=True)
class Problem:
    """The inputs of one call, handed out span by span: scaled, and in the type to compute in."""

    query: Tensor
    key: Tensor
    value: Tensor
    expansion: Expansion
    scale: float
    is_causal: bool
    chunk_size: int | None

    @property
    def dtype(self) -> torch.dtype:
        """The widest type of the inputs, at least float32."""
        return accumulation_dtype(xp, self.query, self.key, self.value)

    def queries(self, span: slice) -> Tensor:
        """Return the queries, times their share of the scale."""
        return split_scale(self.scale)[0] * self.query[..., span, :].to(self.dtype)

    def keys(self, span: slice) -> Tensor:
        """Return the keys, times their share of the scale."""
        return split_scale(self.scale)[1] * self.key[..., span, :].to(self.dtype)

    def extended(self, span: slice) -> Tensor:
        """Return y_j = [v_j, 1]."""
        return with_one(xp, self.value[..., span, :], self.dtype)

    def spans(self, tokens: int) -> Iterator[slice]:
        """Yield runs of tokens to take together, short ones where a causal run meets itself."""
        most = CAUSAL_CHUNK if self.is_causal else SPAN
        return chunks(tokens, self.chunk_size, min(self.longest(), most))

    def longest(self) -> int:
        """Return how many tokens' features below the last degree stay within bounds."""
        lead = broadcast_lead(self.query, self.key, self.value, names="query, key, value")
        return tokens_at_once(lead, self.key.shape[-1], self.expansion.order)

    def no_sums(self) -> Moments:
        """Return the moments of no token."""
        nothing = slice(0, 0)
        return Moments.empty(
            self.keys(nothing), self.value[..., nothing, :], order=self.expansion.order
        )


def forward(problem: Problem) -> tuple[Tensor, Tensor]:
    """Return o_i in the type of `value`, and G_i; only a span of tokens at a time is scaled."""
    expansion, value, state = problem.expansion, problem.value, problem.no_sums()
    options: dict[str, Any] = {"chunk_size": problem.chunk_size}
    most = max(min(problem.longest(), SPAN), problem.chunk_size or 0)
    if not problem.is_causal:
        for span in chunks(value.shape[-2], None, most):
            state = state.update(problem.keys(span), value[..., span, :], **options)
    output, normalizer = empty_results(problem.query, problem.key, value)
    for span in chunks(problem.query.shape[-2], None, most):
        rows = problem.queries(span)
        if problem.is_causal:
            tokens = rows, problem.keys(span), value[..., span, :]
            found, sums, state = causal_attention(*tokens, state, expansion, **options)
        else:
            found, sums = state.quotients(rows, expansion, **options)
        output[..., span, :], normalizer[..., span] = found, sums
    return output, normalizer


def empty_results(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Return room for the outputs and the normalisers."""
    lead = torch.broadcast_shapes(query.shape[:-2], key.shape[:-2], value.shape[:-2])
    rows = (*lead, query.shape[-2])
    normalizer = query.new_empty(rows, dtype=accumulation_dtype(xp, query, key, value))
    return value.new_empty((*rows, value.shape[-1])), normalizer


def backward(
    problem: Problem, upstream: Tensor, output: Tensor, normalizer: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of query, key and value, from two scans over the tokens.

    Equation: eq-score-slope, eq-loss-slope, eq-query-moments (chapter gradients).
    Equation: eq-value-gradient, eq-two-scans (chapter gradients).
    """

    def cotangents(span: slice) -> Tensor:
        """Return h_i = [g_i, -g_i . o_i] / G_i."""
        rows = upstream[..., span, :].to(problem.dtype)
        inner = (rows * output[..., span, :]).sum(-1, keepdim=True)
        return torch.cat([rows, -inner], dim=-1) / normalizer[..., span, None]

    return _query_gradient(problem, cotangents), *_key_and_value_gradients(problem, cotangents)


def _query_gradient(problem: Problem, cotangents: Callable[[slice], Tensor]) -> Tensor:
    """Return dL/dq_i; under a causal mask M runs along as a prefix sum."""
    gradient = torch.empty_like(problem.query, memory_format=torch.contiguous_format)
    moments = problem.no_sums()
    if not problem.is_causal:
        for span in problem.spans(problem.key.shape[-2]):
            moments = _with(moments, problem.keys(span), problem.extended(span))
    for span in problem.spans(problem.query.shape[-2]):
        rows, partners = problem.queries(span), cotangents(span)
        found = [pull_back(rows, moments.order, moments.weighted(problem.expansion), partners)]
        if problem.is_causal:
            keys, extended = problem.keys(span), problem.extended(span)
            found.append(_own_slopes(problem, span, partners) @ keys)
            moments = _with(moments, keys, extended)
        _write(gradient, span, found, split_scale(problem.scale)[0])
    return gradient


def _key_and_value_gradients(
    problem: Problem, cotangents: Callable[[slice], Tensor]
) -> tuple[Tensor, Tensor]:
    """Return dL/dk_j and dL/dv_j; under a causal mask N runs back as a suffix sum."""
    key, value = (
        torch.empty_like(x, memory_format=torch.contiguous_format)
        for x in (problem.key, problem.value)
    )
    moments, expansion = problem.no_sums(), problem.expansion
    if not problem.is_causal:
        for span in problem.spans(problem.query.shape[-2]):
            moments = _with(moments, problem.queries(span), cotangents(span))
    for span in reversed(list(problem.spans(problem.key.shape[-2]))):
        rows, extended = problem.keys(span), problem.extended(span)
        weighted = moments.weighted(expansion)
        for_key = [pull_back(rows, moments.order, weighted, extended)]
        for_value = [weighted_sums(xp, rows, weighted, expansion.order)[..., :-1]]
        if problem.is_causal:
            queries, partners = problem.queries(span), cotangents(span)
            for_key.append(_own_slopes(problem, span, partners).mT @ queries)
            own = causal_part(xp, expansion(queries @ rows.mT))
            for_value.append(own.mT @ partners[..., :-1])
            moments = _with(moments, queries, partners)
        _write(key, span, for_key, split_scale(problem.scale)[1])
        _write(value, span, for_value, 1.0)
    return key, value


def _own_slopes(problem: Problem, span: slice, partners: Tensor) -> Tensor:
    """Return dL/ds_ij = f'(s_ij) h_i . y_j for the pairs j <= i within the span."""
    slopes = problem.expansion.derivative()(problem.queries(span) @ problem.keys(span).mT)
    return causal_part(xp, slopes * (partners @ problem.extended(span).mT))


def _with(moments: Moments, tokens: Tensor, partners: Tensor) -> Moments:
    """Return the moments with sum_i x_i^a y_i added, summed over the axes that they lack."""
    more = feature_sums(xp, tokens, partners, moments.order)
    return replace(moments, sums=moments.sums + more.sum_to_size(moments.sums.shape))


def _write(gradient: Tensor, span: slice, parts: list[Tensor], factor: float) -> None:
    """Write factor times the sum of the parts, summed over the axes that the input lacks."""
    place = gradient[..., span, :]
    parts = [part.sum_to_size(place.shape) for part in parts]
    place.copy_(factor * functools.reduce(torch.add, parts))


def pull_back(x: Tensor, order: int, weighted: Tensor, partners: Tensor) -> Tensor:
    """Return the gradient with respect to x_j of sum_a x_j^a (W_a . y_j), shape (..., n, d).

    It goes back through the recursion of the monomials. One of degree l is x_i times one of degree
    l - 1: its slope W_a . y_j goes times the lower one to x_i, and times x_i to the lower one.
    Together, W and y have every leading axis of x.
    Cost: 2 n R m flops for partners y of m numbers, and 4 n R.
    Equation: eq-token-gradient (chapter gradients).
    """
    variables = x.mT.contiguous()
    lead = torch.broadcast_shapes(weighted.shape[:-2], partners.shape[:-2])
    gradient = variables.new_zeros((*lead, *variables.shape[-2:]))
    most = block_rows(math.prod(lead) * x.shape[-2], weighted.shape[-2])
    ends = [0, *(number_of_features(x.shape[-1], degree) for degree in range(order + 1))]
    blocks = feature_blocks(xp, x, max(order - 1, 0), most=weighted.shape[-2])
    lower_degrees = xp.concat(list(blocks), axis=-2)
    end, carried = weighted.shape[-2], None
    for degree in range(order, 0, -1):
        lower = lower_degrees[..., ends[degree - 1] : ends[degree], :]
        below = variables.new_zeros((*lead, *lower.shape[-2:]))
        runs = factor_runs(next_factors(variables, lower, degree), most)
        sinks = factor_runs(next_factors(gradient, below, degree), most)
        first = ends[degree]
        at = 0
        for factors, places in zip(runs, sinks, strict=True):
            rows = slice(at, at := at + factor_rows(factors))
            slopes = weighted[..., first:end, :][..., rows, :] @ partners.mT
            if carried is not None:
                slopes += carried[..., rows, :]
            _pull_back_products(slopes, factors, places)
        end, carried = first, below
    return gradient.mT


def _pull_back_products(slopes: Tensor, factors: Factors, places: Factors) -> None:
    """Add the slopes of the products x_i times lower to those of x_i and of the lower ones."""
    at = 0
    for (x_i, lower), (of_x_i, of_lower) in zip(factors, places, strict=True):
        part = slopes[..., at : (at := at + lower.shape[-2]), :]
        of_x_i += (part * lower).sum(-2, keepdim=True)
        of_lower.addcmul_(part, x_i)


def compute(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    coefficients: Sequence[float],
    scale: float,
    is_causal: bool,
    chunk_size: int | None,
    is_fused: bool,
) -> tuple[Tensor, Tensor]:
    """Return o_i in the type of `value`, and G_i in the type that was computed in."""
    if is_fused and query.numel() * key.numel() * value.numel() > 0:
        from fastattn_lite.kernels import operator

        return operator.forward(query, key, value, coefficients, scale, is_causal)
    tokens = (query.detach(), key.detach(), value.detach())
    with torch.no_grad(), full_precision(query):
        expansion = Expansion(tuple(coefficients))
        return forward(Problem(*tokens, expansion, scale, is_causal, chunk_size))


attention_op = torch.library.custom_op(
    "fastattn_lite::attention",
    compute,
    mutates_args=(),
    schema=f"(Tensor query, Tensor key, Tensor value, {OPTIONS}) -> (Tensor, Tensor)",
)
"""What torch sees of `compute`: the forward operator."""


@torch.library.custom_op(
    "fastattn_lite::attention_backward",
    mutates_args=(),
    schema="(Tensor upstream, Tensor output, Tensor normalizer, Tensor query, Tensor key, "
    f"Tensor value, {OPTIONS}) -> (Tensor, Tensor, Tensor)",
)
def attention_backward_op(
    upstream: Tensor,
    output: Tensor,
    normalizer: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    coefficients: Sequence[float],
    scale: float,
    is_causal: bool,
    chunk_size: int | None,
    is_fused: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of query, key and value, each in its own type."""
    tokens = (query.detach(), key.detach(), value.detach())
    given = (upstream.detach(), output.detach(), normalizer.detach())
    with torch.no_grad(), full_precision(query):
        if is_fused and query.numel() * key.numel() * value.numel() > 0:
            from fastattn_lite.kernels import operator

            return operator.backward(*given, *tokens, coefficients, scale, is_causal)
        expansion = Expansion(tuple(coefficients))
        return backward(Problem(*tokens, expansion, scale, is_causal, chunk_size), *given)


@attention_op.register_fake
def _(query: Tensor, key: Tensor, value: Tensor, *_options: Any) -> tuple[Tensor, Tensor]:
    """Say what the forward operator returns, without computing it."""
    return empty_results(query, key, value)


@attention_backward_op.register_fake
def _(
    _upstream: Tensor,
    _output: Tensor,
    _normalizer: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *_options: Any,
) -> tuple[Tensor, ...]:
    """Say what the backward operator returns, without computing it."""
    return tuple(x.new_empty(x.shape) for x in (query, key, value))


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    """Keep what the backward pass needs: O(n d) numbers."""
    ctx.save_for_backward(*output, *inputs[:3])
    ctx.options = inputs[3:]
    ctx.mark_non_differentiable(output[1])
    ctx.set_materialize_grads(False)  # else a table of zeros would be made for G


def _pass_back(ctx: Any, upstream: Tensor | None, _: Any) -> tuple[Tensor | None, ...]:
    """Return the gradients of the three inputs; the options have none."""
    if upstream is None:
        return (None,) * (3 + len(ctx.options))
    found = attention_backward_op(upstream, *ctx.saved_tensors, *ctx.options)
    return (*found, *(None for _ in ctx.options))


def _refuse(_ctx: Any, *_: Any) -> NoReturn:
    raise RuntimeError(NO_SECOND_DERIVATIVE)


attention_op.register_autograd(_pass_back, setup_context=_keep)
attention_backward_op.register_autograd(_refuse)
