"""Step 4, evaluation: attention in time and memory linear in the number of tokens.

    f(s_ij) = sum_a w_a q_i^a k_j^a        (expand and factor)
    M_a     = sum_j k_j^a [v_j, 1]         (accumulate once)
    o_i     = F_i / G_i,  [F_i, G_i] = sum_a w_a q_i^a M_a        (evaluate at each query)

Under a causal mask, M runs along: a chunk of tokens meets all earlier chunks through the moments
and itself through the scores f(s_ij).
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from array_api_compat import array_namespace, is_torch_array

from fastattn_lite._arrays import (
    Array,
    accumulation_dtype,
    broadcast_lead,
    check_attention_inputs,
    check_count,
    check_real,
    check_someone_to_attend_to,
    chunks,
    full_precision,
    is_compiling,
    is_plain,
    is_transformed,
    namespace,
    records_gradients,
)
from fastattn_lite.expansion import Expansion, check_expansion, taylor
from fastattn_lite.factorization import Table
from fastattn_lite.moments import (
    Moments,
    check_kinds,
    fitting_shape,
    joined,
    kind_of,
    prefix_sums,
    quotient,
    tokens_at_once,
    with_one,
)
from fastattn_lite.normalization import (
    check_normalization,
    default_scale,
    guaranteed_radius,
    normalize,
)
from fastattn_lite.reference import causal_part

CAUSAL_CHUNK = 256
"""Most tokens in a causal chunk: within it the cost is quadratic."""
BACKENDS = ("auto", "array", "autograd", "triton")
"""The names that `backend` takes.

"array": the portable array-API path, for every library, state and transform; torch differentiates
it by keeping the features, O(n R) numbers. "autograd": the torch operator of
`fastattn_lite.autograd`, whose gradients keep O(n d) numbers and which torch.compile takes whole;
without a carried state. "triton": the same operator on the fused kernels of
`fastattn_lite.kernels`, for orders 1 to 3 on a GPU; with a carried state, one token at a time in
one pass over the state, without gradients. "auto": "triton" where the kernels take the problem;
"autograd" where torch records gradients or compiles and no state is carried; otherwise "array".
"""


MOST_KNOWN = 256
"""Of so many kinds of calls it is known that the kernels take them; then all are forgotten."""
KNOWN_KINDS = frozenset((type(None), bool, int, float, str, Expansion))
"""Types of what is asked of a call that is to be known again."""
Facts = tuple[Any, ...]
_known: dict[Facts | None, Callable[..., Any]] = {}
"""What computes the calls that the kernels took, by their facts."""


class ExpansionWarning(UserWarning):
    """The polynomial may be negative or 0 on scores that can occur."""


class KernelWarning(UserWarning):
    """The fused kernels do not run on this GPU, so a slower path is taken."""


def fast_attention(
    query: Array,
    key: Array,
    value: Array,
    *,
    order: int = 2,
    expansion: Expansion | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    normalization: str = "none",
    chunk_size: int | None = None,
    backend: str = "auto",
    return_state: bool = False,
    initial_state: Moments | None = None,
) -> Any:
    """Return attention with f in place of exp, in time linear in the number of tokens.

    Formula: o_i = sum_j f(s_ij) v_j / sum_j f(s_ij), s_ij = scale * q_i . k_j, with f the Taylor
    polynomial of the given `order`, or `expansion`; over j <= i where `is_causal`.
    Shapes: query (..., n_q, d), key (..., n_k, d), value (..., n_k, d_v) to (..., n_q, d_v) in
    the dtype of `value`; leading axes broadcast. `scale` defaults to 1/sqrt(d), or to 1 where
    `normalization` bounds |q.k| by 1. Half precision is accumulated in float32.
    State: `initial_state` holds the moments of earlier tokens; `return_state` adds those of all.
    Of two types of numbers the wider one is kept, so a float64 state stays one.
    Cost: 2 (n_q + n_k) R (d_v + 1) flops with R = C(d+p, p), O(R d_v) memory beyond the output.
    Raises `TypeError` or `ValueError` naming the argument that does not fit. Warns once, with
    `ExpansionWarning`, where f is not positive on every score that can occur, and with
    `KernelWarning`, where "auto" finds a GPU that cannot run the kernels.
    Equation: eq-kernel-attention (chapter intro).
    Equation: eq-prefix (chapter moment_accumulation).
    Source: FAST, arXiv 2402.07901 (there "Fastmax"; orders 1 and 2).
    """
    options: dict[str, Any] = {
        "order": order,
        "is_causal": is_causal,
        "scale": scale,
        "normalization": normalization,
        "chunk_size": chunk_size,
        "backend": backend,
    }
    carries_state = return_state or initial_state is not None
    if is_compiling():
        from fastattn_lite import autograd

        if not carries_state:
            return autograd.compiled_attention(query, key, value, expansion, **options)
        options |= {"initial_state": initial_state}
        output, state = autograd.uncompiled_with_a_state(query, key, value, expansion, **options)
        return (output, state) if return_state else output
    asked = (expansion, order, is_causal, scale, normalization, backend)
    is_simple = chunk_size is None and carries_state == (initial_state is not None)
    facts = facts_of(query, key, value, initial_state, *asked) if is_simple else None
    if (known := _known.get(facts)) is not None:
        output, state = known(query, key, value, initial_state)
        return (output, state) if return_state else output
    options |= {"initial_state": initial_state, "carries_state": carries_state, "facts": facts}
    output, state = attend(query, key, value, expansion, **options)
    return (output, state) if return_state else output


def attend(
    query: Array,
    key: Array,
    value: Array,
    expansion: Expansion | None,
    *,
    order: int,
    is_causal: bool,
    scale: float | None,
    normalization: str,
    chunk_size: int | None,
    backend: str,
    initial_state: Moments | None = None,
    carries_state: bool = False,
    facts: Facts | None = None,
) -> tuple[Array, Moments | None]:
    """Return the outputs, and the moments where they are carried or the array path summed them.

    If the kernels take the call, those with the same `facts` will be known.
    """
    asked = (expansion, order, is_causal, scale, normalization, backend)
    if chunk_size is not None:
        check_count("chunk_size", chunk_size, least=1)
    expansion, factor = checked(query, key, value, *asked, initial_state)
    carried = {"carries_state": carries_state}
    is_fused = takes_kernels(backend, query, key, value, expansion, initial_state, **carried)
    by_kernels = is_fused and not carries_state
    in_operator = by_kernels or takes_operator(backend, query, key, value, **carried)
    if normalization != "none":
        query, key = _normalized(query, key, value, normalization)
    kind: tuple[Any, ...] = (key, value, expansion.order, (normalization, factor), initial_state)
    if not by_kernels:  # which make no moments for few tokens, however many heads there are
        check_moments(*kind)
    warn_unless_positive(expansion, guaranteed_radius(normalization, factor))
    options: dict[str, Any] = {
        "is_fused": is_fused,
        "is_causal": is_causal,
        "chunk_size": chunk_size,
    }
    if in_operator:
        output = _by_operator(query, key, value, expansion, scale=factor, **options)
        some = is_fused and all(x.numel() > 0 for x in (query, key, value))
        if facts is not None and some:
            remember(facts, _by_kernels(expansion.coefficients, factor, is_causal))
        return output, None
    state = starting_moments(*kind)
    if facts is not None and is_fused:
        remember(facts, functools.partial(_by_step, expansion))
    return _by_moments(query, key, value, state, expansion, **options)


def facts_of(
    query: Array, key: Array, value: Array, state: Moments | None, *asked: Any
) -> Facts | None:
    """Return all that the checks of a call look at, which is no number of a token.

    A call with the same facts needs no second look: on a GPU it would take longer than a kernel.
    `None` where torch wants more than the result, or something else than the simplest is asked.
    """
    *_, normalization, _ = asked
    tokens = (query, key, value)
    if normalization != "none" or not is_plain(*tokens):
        return None
    kinds = tuple(map(type, asked))
    if not KNOWN_KINDS.issuperset(kinds):
        return None
    of_state = getattr(state, "facts", None)
    if of_state is None and state is not None:
        return None
    return (*asked, *kinds, of_state, *((x.shape, x.dtype, x.device) for x in tokens))


def remember(facts: Facts, call: Callable[..., Any]) -> None:
    """Note that the kernels take calls with these facts, past all that torch asks of an operator.

    `call` takes query, key, value and a state, and returns the output and a state.
    """
    if len(_known) >= MOST_KNOWN:
        _known.clear()
    _known[facts] = call


def _by_kernels(
    coefficients: tuple[float, ...], scale: float, is_causal: bool
) -> Callable[..., tuple[Array, None]]:
    """Return what computes the same as the operator."""
    from fastattn_lite.kernels.operator import forward

    def call(query: Array, key: Array, value: Array, _state: None) -> tuple[Array, None]:
        return forward(query, key, value, coefficients, scale, is_causal)[0], None

    return call


def _by_step(
    expansion: Expansion, query: Array, key: Array, value: Array, state: Moments
) -> tuple[Array, Moments]:
    """Return the output of one token and the state with it, by the kernels."""
    from fastattn_lite.kernels.step import one_token

    return one_token(query, key, value, state, expansion)


def checked(
    query: Array,
    key: Array,
    value: Array,
    expansion: Expansion | None,
    order: int,
    is_causal: bool,
    scale: float | None,
    normalization: str,
    backend: str,
    initial_state: Moments | None,
) -> tuple[Expansion, float]:
    """Return the polynomial and the factor of the scores; an error that names what does not fit."""
    expansion = taylor(order) if expansion is None else expansion
    check_expansion(expansion)
    check_attention_inputs(query, key, value, is_causal=is_causal)
    check_normalization(normalization, is_causal=is_causal or initial_state is not None)
    check_backend(backend)
    if initial_state is None:
        check_someone_to_attend_to(query, key)
    else:
        check_initial_state(initial_state, key)
    factor = default_scale(normalization, query.shape[-1]) if scale is None else scale
    return expansion, check_real("scale", factor)


def _normalized(query: Array, key: Array, value: Array, normalization: str) -> tuple[Array, Array]:
    """Return queries and keys by a convention, in the type to compute in."""
    xp = array_namespace(query)
    dtype = accumulation_dtype(xp, query, key, value)
    query, key = (xp.astype(x, dtype, copy=False) for x in (query, key))
    return normalize(query, key, normalization)


def check_moments(
    key: Array, value: Array, order: int, key_map: tuple[str, float], state: Moments | None
) -> None:
    """Raise an error where moments would not fit in memory, or not together with the state's."""
    shape = fitting_shape(array_namespace(key), key, value, order)
    if state is not None:
        expected = kind_of(shape, order, key.shape[-1], key_map)
        check_kinds(expected, state.kind(), "initial_state")


def starting_moments(
    key: Array, value: Array, order: int, key_map: tuple[str, float], state: Moments | None
) -> Moments:
    """Return the moments before these tokens, in the wider type of both."""
    if state is None:
        return replace(Moments.empty(key, value, order=order), key_map=key_map)
    xp = array_namespace(key)
    dtype = accumulation_dtype(xp, key, value, state.like)
    if dtype == state.like.dtype:
        return state
    return replace(state, sums=xp.astype(state.sums, dtype, copy=False))


def _by_operator(
    query: Array, key: Array, value: Array, expansion: Expansion, **options: Any
) -> Array:
    """Return what the operator does; its kernels take tokens of one type."""
    from fastattn_lite import autograd

    if options["is_fused"]:
        query, key = query.to(value.dtype), key.to(value.dtype)
    return autograd.attention(query, key, value, expansion, **options)


def _by_moments(
    query: Array,
    key: Array,
    value: Array,
    state: Moments,
    expansion: Expansion,
    *,
    is_fused: bool,
    **options: Any,
) -> tuple[Array, Moments]:
    """Return the outputs in the type of `value`, and the moments with these tokens added."""
    if is_fused:
        return _by_step(expansion, query, key, value, state)
    with full_precision(query):
        output, state = _array_attention(query, key, value, state, expansion, **options)
    xp = array_namespace(value)
    return xp.astype(output, value.dtype, copy=False), state


def takes_kernels(
    backend: str,
    query: Array,
    key: Array,
    value: Array,
    expansion: Expansion,
    initial_state: Moments | None,
    *,
    carries_state: bool,
) -> bool:
    """Say whether the fused kernels take the problem.

    Raises `ValueError`, saying why not, where `backend` asks for them by name. Where "auto" would
    take them and the GPU cannot run them, a `KernelWarning` says why, once.
    """
    if backend not in ("auto", "triton"):
        return False
    if not is_torch_array(query):
        reason = f"expected torch tensors, got {type(query).__name__}"
    elif backend == "auto" and query.device.type != "cuda":
        return False
    elif not is_compiling() and any(map(is_transformed, (query, key, value))):
        reason = "they have no rule for torch.func"
    else:
        from fastattn_lite.kernels import support

        missing = support.why_not_device(query.device)
        reason = missing or support.why_not(query, key, value, expansion.order)
        if reason is None and carries_state:
            sums = () if initial_state is None else (initial_state.like,)
            reason = support.why_not_one_token(query, key, value, *sums)
        if missing is not None and backend == "auto" and not is_compiling():
            _warn_once(f"the fused kernels are not taken: {missing}", KernelWarning)
    if reason is not None and backend == "triton":
        raise ValueError(f'backend: "triton" cannot take this: {reason}')
    return reason is None


def takes_operator(backend: str, *tokens: Array, carries_state: bool) -> bool:
    """Say whether the operator of `fastattn_lite.autograd` takes these query, key and value.

    Raises `TypeError` or `ValueError` where `backend` asks for it and it cannot take them.
    """
    if backend in ("array", "triton"):
        return False
    if backend == "auto":
        return not carries_state and records_gradients(*tokens)
    if not is_torch_array(tokens[0]):
        name = type(tokens[0]).__name__
        raise TypeError(f'backend: "autograd" expected torch tensors, got {name}')
    if carries_state:
        raise ValueError(
            'backend: "autograd" carries no state; expected "auto" or "array" with '
            "initial_state or return_state"
        )
    return True


def split_scale(scale: float) -> tuple[float, float]:
    """Return the shares of the scale of query and key: its root, with its sign on the query."""
    root = math.sqrt(abs(scale))
    return math.copysign(root, scale), root


def _array_attention(
    query: Array,
    key: Array,
    value: Array,
    state: Moments,
    expansion: Expansion,
    *,
    is_causal: bool,
    chunk_size: int | None,
) -> tuple[Array, Moments]:
    """Return the outputs and the moments with these tokens added, by the portable path."""
    xp, roots = array_namespace(query), split_scale(state.key_map[1])
    query, key = (
        root * xp.astype(x, accumulation_dtype(xp, query, key, value), copy=False)
        for root, x in zip(roots, (query, key), strict=True)
    )
    if is_causal:
        output, _, state = causal_attention(query, key, value, state, expansion, chunk_size)
        return output, state
    table = Table()
    state = state.with_tokens(key, value, chunk_size, table)
    return state.at_queries(query, expansion, chunk_size, table)[0], state


def causal_attention(
    query: Array,
    key: Array,
    value: Array,
    state: Moments,
    expansion: Expansion,
    chunk_size: int | None,
) -> tuple[Array, Array, Moments]:
    """Return o_i, G_i and the moments with the tokens added.

    Earlier chunks come through the moments, the chunk itself through its scores.
    """
    xp, pairs = array_namespace(query), list[tuple[Array, Array]]()
    lead = broadcast_lead(query, state.sums, names="query, moments")
    longest, tables = tokens_at_once(lead, state.dim, state.order), (Table(), Table())
    for span in chunks(query.shape[-2], None, max(longest, chunk_size or 0)):
        spans = (x[..., span, :] for x in (query, key))
        rows, keys = (xp.astype(x, state.sums.dtype, copy=False) for x in spans)
        extended = with_one(xp, value[..., span, :], state.sums.dtype)
        parts = list(chunks(rows.shape[-2], chunk_size, min(longest, CAUSAL_CHUNK)))
        earlier, state = prefix_sums(rows, keys, extended, state, expansion, parts, tables)
        for tokens, before in zip(parts, earlier, strict=True):
            scores = rows[..., tokens, :] @ xp.matrix_transpose(keys[..., tokens, :])
            own = causal_part(xp, expansion(scores)) @ extended[..., tokens, :]
            pairs.append(quotient(xp, xp.matrix_transpose(before) + own))
    return *joined(xp, pairs), state


def check_initial_state(state: object, key: Array) -> None:
    """Raise an error where the state is none that `return_state` gave, in the key's library."""
    if not isinstance(state, Moments):
        raise TypeError(
            f"initial_state: expected Moments, as return_state gives, got {type(state).__name__}"
        )
    namespace(key=key, initial_state=state.like)


def check_backend(backend: str) -> None:
    """Raise `ValueError` for an unknown backend."""
    if backend not in BACKENDS:
        raise ValueError(f"backend: expected one of {BACKENDS}, got {backend!r}")


def warn_unless_positive(expansion: Expansion, radius: float) -> None:
    """Warn where f <= 0 on its own radius or on the scores that can occur, |s| <= radius.

    It looks at no data, so it costs nothing on a GPU; `check_scores` looks at the data.
    """
    if not expansion.is_positive():
        _warn_once(
            f"{expansion.name} of order {expansion.order} is not positive on its own radius "
            f"{expansion.radius:g}: weights can be negative. Use an even order or minimax()."
        )
    elif not expansion.is_positive(radius):
        scores = "any score" if math.isinf(radius) else f"scores up to {radius:g}"
        _warn_once(
            f"{expansion.name} of order {expansion.order} is not positive for {scores}: weights "
            'can be negative. Use an even order, or normalization="unit" with a scale of at '
            f"most {expansion.radius:g}; check_scores() says which scores occur."
        )


@functools.cache
def _warn_once(message: str, category: type[Warning] = ExpansionWarning) -> None:
    warnings.warn(message, category, stacklevel=5)
