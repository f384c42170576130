"""The tests would notice: small wrong versions of the package, each of which must fail a test."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.pool import Pool
from pathlib import Path

import pytest
from triton_here import why_no_triton

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "fastattn_lite"
LEFT_OUT = shutil.ignore_patterns("__pycache__", "figures", "check", "node_modules")
SLOW_IMPORTS = [
    "array_api_strict", "hypothesis", "mpmath", "nbformat", "pytest", "scipy.special", "torch",
]  # fmt: skip


@dataclass(frozen=True)
class Bug:
    """A wrong version: in `module`, the only `right` becomes `wrong`; `test` must notice."""

    name: str
    module: str
    right: str
    wrong: str
    test: str

    @property
    def is_in_a_kernel(self) -> bool:
        """Whether its test needs Triton."""
        return self.test.startswith("kernels/")


DIRECT_SUM = "test_attention.py::test_order_means_taylor"
STREAM = "test_attention.py::test_a_stream_of_single_tokens_is_the_whole"
REFERENCE = "test_reference.py::test_softmax_attention_is_its_definition"
MULTI_INDICES = (
    "test_factorization.py::test_multi_indices_are_all_of_them_in_graded_lexicographic_order"
)
WEIGHTS = "test_factorization.py::test_weights_are_multinomial_and_may_be_negative"
FIGURES_OF_THE_BOOK = "test_expansion.py::test_output_bound_has_the_published_figures_of_the_book"
CHUNKS = "test_moments.py::test_chunks_and_updates_give_the_same"
REFUSED = "test_normalization.py::test_a_statistic_over_all_tokens_is_refused_where_it_would_leak"
BAD_MOMENTS = "test_moments.py::test_bad_input_names_the_argument"
TIME_CROSSOVER = "test_complexity.py::test_both_forms_take_the_same_time_at_the_crossover"
SLOPE = "test_scaling.py::test_slope_and_interval_by_hand"

AUTOGRAD = "test_autograd.py::test_gradients_are_those_of_the_direct_sum"
TEACHING = "kernels/test_teaching.py::test_the_outputs_are_those_of_the_oracle"
GRADIENTS = "kernels/test_fused.py::test_outputs_and_gradients_equal_the_direct_sum"
LINEAR = f"{GRADIENTS}[moments-order-1-False]"
SQUARE = f"{GRADIENTS}[moments-negative-False]"
CHUNKS_OF_ORDER_1 = (
    "kernels/test_fused_layouts.py::test_chunks_in_turn_equal_chunks_side_by_side[expansion0-2-300]"
)

BUGS = [
    # Step 1: the polynomial and its bounds.
    Bug(
        "Taylor without 1/l!",
        "expansion.py",
        "1 / math.factorial(power) for power",
        "1.0 for power",
        "test_expansion.py::test_taylor_has_the_coefficients_one_over_factorial",
    ),
    Bug(
        "Chebyshev without halving c_0",
        "expansion.py",
        "series[0] /= 2",
        "series[0] /= 1",
        "test_expansion.py::test_chebyshev_is_the_truncated_series",
    ),
    Bug(
        "minimax that never exchanges its points",
        "expansion.py",
        "MOST_EXCHANGES = 40",
        "MOST_EXCHANGES = 0",
        "test_expansion.py::test_minimax_touches_its_error_level_in_turn",
    ),
    Bug(
        "minimax of the absolute error",
        "expansion.py",
        "basis * np.exp(-radius * points)[:, None], signs])",
        "basis * np.exp(-radius * points)[:, None], signs * np.exp(-radius * points)])",
        "test_expansion.py::test_minimax_touches_its_error_level_in_turn",
    ),
    Bug(
        "oscillation from the maximum alone",
        "expansion.py",
        "np.ptp(expansion.log_ratio(_scan(expansion)))",
        "np.max(expansion.log_ratio(_scan(expansion)))",
        FIGURES_OF_THE_BOOK,
    ),
    Bug(
        "tanh(osc/2)",
        "expansion.py",
        "self.oscillation() / 4",
        "self.oscillation() / 2",
        FIGURES_OF_THE_BOOK,
    ),
    Bug(
        "derivative off by one",
        "expansion.py",
        "power * self.coefficients[power] for",
        "power * self.coefficients[power - 1] for",
        "test_expansion.py::test_derivative_lowers_the_order_and_matches_a_difference",
    ),
    Bug(
        "odd orders positive everywhere",
        "expansion.py",
        " or len(a) % 2 == 0:",
        ":",
        "test_expansion.py::test_even_taylor_orders_are_positive_everywhere_and_odd_ones_are_not",
    ),
    Bug(
        "one order too many",
        "expansion.py",
        "            return order\n",
        "            return order + 1\n",
        "test_expansion.py::test_order_for_is_the_first_order_that_meets_the_tolerance",
    ),
    # Step 2: the features.
    Bug(
        "multinomial weight dropped",
        "factorization.py",
        "coefficients[degree] * factorial[degree] / np.prod(factorial[powers], axis=1)",
        "coefficients[degree]",
        WEIGHTS,
    ),
    Bug(
        "Taylor's weight for every expansion",
        "factorization.py",
        "coefficients[degree] * factorial[degree] / ",
        "1 / ",
        WEIGHTS,
    ),
    Bug(
        "wrong start of the monomials without x_i",
        "factorization.py",
        "math.comb(dim - i + degree - 1, degree) for i",
        "math.comb(dim - max(0, i - 1) + degree - 1, degree) for i",
        MULTI_INDICES,
    ),
    Bug(
        "monomials written in place while gradients are recorded",
        "_arrays.py",
        "return not (is_compiling() or x.requires_grad or ",
        "return not (is_compiling() or ",
        "test_attention.py::test_torch_gradients_are_those_of_the_direct_sum",
    ),
    # Step 3: the moments.
    Bug(
        "remainder of the tokens dropped",
        "_arrays.py",
        "range(0, max(tokens, 1), size)",
        "range(0, max(tokens - tokens % size, 1), size)",
        CHUNKS,
    ),
    Bug(
        "denominator without the ones",
        "moments.py",
        "xp.concat([value, ones], axis=-1)",
        "xp.concat([value, value[..., :1]], axis=-1)",
        "test_moments.py::test_moments_are_the_sums_of_their_definition",
    ),
    Bug(
        "ones before the values",
        "moments.py",
        "xp.concat([value, ones], axis=-1)",
        "xp.concat([ones, value], axis=-1)",
        "test_moments.py::test_moments_are_the_sums_of_their_definition",
    ),
    Bug(
        "accumulation in half precision",
        "_arrays.py",
        "_common_dtype(xp, *(array.dtype for array in arrays), xp.float32)",
        "_common_dtype(xp, *(array.dtype for array in arrays))",
        "test_moments.py::test_half_precision_is_summed_in_float32",
    ),
    Bug(
        "sum that forgets how the keys were mapped",
        "moments.py",
        'f"shape {shape}, normalization {normalization!r}, scale {scale!r}"',
        'f"shape {shape}, {normalization!r} {scale!r}"[:0]',
        BAD_MOMENTS,
    ),
    Bug(
        "key map lost in an update",
        "moments.py",
        "        return replace(self, sums=sums)",
        "        return Moments(sums, self.order, self.dim)",
        "test_attention.py::test_the_state_of_full_attention_answers_later_queries",
    ),
    Bug(
        "scales told apart by six digits only",
        "moments.py",
        "scale {scale!r}",
        "scale {scale:g}",
        "test_autograd.py::test_two_almost_equal_scales_do_not_mix",
    ),
    Bug(
        "update that changes the moments it started from",
        "moments.py",
        "sums + found if sums is self.sums else add(sums, found)",
        "add(sums, found)",
        "test_moments.py::test_moments_never_change_once_made",
    ),
    Bug(
        "sum that changes its first part",
        "moments.py",
        "sums=self.sums + other.sums",
        "sums=self.sums.__iadd__(other.sums)",
        "test_moments.py::test_moments_never_change_once_made",
    ),
    Bug(
        "chunks that forget the batch",
        "moments.py",
        "kept = math.prod(lead) * number_of_features",
        "kept = number_of_features",
        "test_moments.py::test_the_memory_beyond_the_result_is_bounded",
    ),
    # Step 4: evaluation.
    Bug(
        "swapped axes in a causal chunk",
        "attention.py",
        "rows[..., tokens, :] @ xp.matrix_transpose(keys[..., tokens, :])",
        "keys[..., tokens, :] @ xp.matrix_transpose(rows[..., tokens, :])",
        DIRECT_SUM,
    ),
    Bug(
        "lost scale",
        "attention.py",
        "root = math.sqrt(abs(scale))",
        "root = 1.0",
        DIRECT_SUM,
    ),
    Bug(
        "scale on both sides without the root",
        "attention.py",
        "root = math.sqrt(abs(scale))",
        "root = abs(scale)",
        DIRECT_SUM,
    ),
    Bug(
        "lost sign of the scale",
        "attention.py",
        "math.copysign(root, scale), root",
        "root, root",
        "test_attention.py::test_a_scale_of_any_sign_and_zero",
    ),
    Bug(
        "causal chunk that sees itself twice",
        "moments.py",
        "xp.matrix_transpose(weights[block, :] * running)",
        "xp.matrix_transpose("
        "weights[block, :] * (running + keys[..., tokens] @ extended[..., tokens, :]))",
        DIRECT_SUM,
    ),
    Bug(
        "causal chunk without its mask",
        "attention.py",
        "causal_part(xp, expansion(scores))",
        "expansion(scores)",
        DIRECT_SUM,
    ),
    Bug(
        "initial_state ignored",
        "attention.py",
        "    if state is None:\n        return replace",
        "    if True:\n        return replace",
        STREAM,
    ),
    Bug(
        "output left in the type of accumulation",
        "attention.py",
        "return xp.astype(output, value.dtype, copy=False), state",
        "return output, state",
        "test_attention.py::test_low_precision_is_at_most_twice_as_wrong_as_the_plain_formula",
    ),
    Bug(
        "norms taken in half precision",
        "attention.py",
        "query, key = (xp.astype(x, dtype, copy=False) for x in (query, key))",
        "query, key = (xp.astype(x, dtype) for x in normalize(query, key, normalization))",
        "test_attention.py::test_norms_of_half_precision_are_taken_in_float32",
    ),
    # The oracle.
    Bug(
        "mask that hides the token itself",
        "reference.py",
        "return xp.tril(kernel)",
        "return xp.tril(kernel, k=-1)",
        REFERENCE,
    ),
    Bug(
        "mask that shows the next token",
        "reference.py",
        "return xp.tril(kernel)",
        "return xp.tril(kernel, k=1)",
        "test_reference.py::test_kernel_attention_is_its_definition",
    ),
    Bug(
        "largest score taken over the future too",
        "reference.py",
        "xp.tril(xp.ones_like(scores)) > 0",
        "xp.ones_like(scores) > 0",
        "test_reference.py::test_a_large_score_of_a_later_token_changes_no_row",
    ),
    Bug(
        "1/d for 1/sqrt(d)",
        "reference.py",
        "1 / math.sqrt(query.shape[-1])",
        "1 / query.shape[-1]",
        REFERENCE,
    ),
    # The score radius.
    Bug(
        "unit length over the tokens",
        "normalization.py",
        "return scaled / xp.sqrt(_nonzero(xp, squares))",
        "return scaled / xp.sqrt(_nonzero(xp, xp.sum(squares, axis=-2, keepdims=True)))",
        "test_normalization.py::test_unit_is_length_one_for_any_length_and_zero_stays_zero",
    ),
    Bug(
        "largest norm of all heads together",
        "normalization.py",
        "xp.max(squares, axis=-2, keepdims=True)",
        "xp.max(squares)",
        "test_normalization.py::test_max_is_the_largest_norm_of_each_head",
    ),
    Bug(
        "centring allowed under a causal mask",
        "normalization.py",
        'OVER_ALL_TOKENS = ("center", "center+unit", "max")',
        'OVER_ALL_TOKENS = ("center+unit", "max")',
        REFUSED,
    ),
    Bug(
        "centring allowed with a carried state",
        "attention.py",
        "is_causal=is_causal or initial_state is not None",
        "is_causal=is_causal",
        REFUSED,
    ),
    Bug(
        "later tokens in the range of causal scores",
        "normalization.py",
        "k=block.start",
        "k=block.start + 1",
        "test_normalization.py::test_check_scores_looks_at_no_later_token",
    ),
    # The full matrix, and the words that the chapter looks at.
    Bug(
        "entropy in bits",
        "matrix.py",
        "xp.log(xp.where(",
        "xp.log2(xp.where(",
        "test_matrix.py::test_entropy_of_rows_known_by_hand",
    ),
    Bug(
        "a negative weight without a word",
        "matrix.py",
        "xp.where(weights < 0, xp.full_like(weights, math.nan), weights * logarithms)",
        "weights * logarithms",
        "test_matrix.py::test_a_negative_weight_makes_its_row_nan_and_no_other",
    ),
    Bug(
        "distance of the columns",
        "matrix.py",
        "xp.abs(rows - columns), axis=-1)",
        "xp.abs(rows - columns), axis=-2)",
        "test_matrix.py::test_distance_of_rows_known_by_hand",
    ),
    Bug(
        "ratio of the ends alone",
        "matrix.py",
        "np.append(line(inside), [low, high])",
        "np.array([low, high])",
        "test_matrix.py::test_ratios_known_by_hand",
    ),
    Bug(
        "a word that meets itself",
        "sentences.py",
        "apart * 1.0",
        "1.0",
        "test_sentences.py::test_association_of_two_sentences_by_hand",
    ),
    Bug(
        "singular values on both sides",
        "sentences.py",
        "np.sqrt(sizes[:dim])",
        "sizes[:dim]",
        "test_sentences.py::test_scores_are_the_nearest_table_of_their_rank",
    ),
    # The ancestors.
    Bug(
        "multipole bound of one order less",
        "multipole.py",
        "** (order + 1) / (distance - radius)",
        "** (order + 2) / (distance - radius)",
        "test_multipole.py::test_the_bound_is_reached_by_a_source_on_the_side_of_the_target",
    ),
    Bug(
        "multipole series without the sign of the offset",
        "multipole.py",
        "polyval(1 / offset, ",
        "polyval(1 / np.abs(offset), ",
        "test_multipole.py::test_moments_are_sums_of_powers",
    ),
    Bug(
        "entangled factor without 2^l",
        "gauss.py",
        "2**degree / math.factorial(degree)",
        "1 / math.factorial(degree)",
        "test_gauss.py::test_one_kernel_is_its_sum_over_multi_indices",
    ),
    Bug(
        "Hermite recursion with the wrong sign",
        "gauss.py",
        "2 * t * values[degree] - 2 * degree * below",
        "2 * t * values[degree] + 2 * degree * below",
        "test_gauss.py::test_hermite_functions_are_derivatives_of_the_gauss_kernel",
    ),
    Bug(
        "cut-off from the centre, not from the edge of the cluster",
        "gauss.py",
        "limit = np.max(distance[mine], initial=0.0) + reach",
        "limit = reach",
        "test_gauss.py::test_the_chosen_order_meets_the_tolerance_far_and_near",
    ),
    Bug(
        "bound with the worst target forgotten",
        "gauss.py",
        "s = min(radius, worst_distance(order, t))",
        "s = radius",
        "test_gauss.py::test_the_bound_covers_every_source_and_target",
    ),
    Bug(
        "clusters nearest to the last centre",
        "clusters.py",
        "nearest = np.minimum(nearest, distances(z, z[chosen[-1]]))",
        "nearest = distances(z, z[chosen[-1]])",
        "test_gauss.py::test_the_radius_is_at_most_twice_the_best_for_centers_among_the_sources",
    ),
    Bug(
        "clustered attention without the factor of the centre",
        "gauss.py",
        "factor[:, m, None] * (features @ moments)",
        "features @ moments",
        "test_gauss.py::test_clustered_attention_is_its_direct_sum",
    ),
    # The backward pass.
    Bug(
        "gradient of the query without its share of the scale",
        "autograd.py",
        "_write(gradient, span, found, split_scale(problem.scale)[0])",
        "_write(gradient, span, found, 1.0)",
        AUTOGRAD,
    ),
    Bug(
        "own query left out of the suffix sum",
        "autograd.py",
        "            for_key.append(_own_slopes(problem, span, partners).mT @ queries)",
        "            for_key.append(_own_slopes(problem, span, partners).tril(-1).mT @ queries)",
        AUTOGRAD,
    ),
    Bug(
        "suffix sum that holds its own chunk twice",
        "autograd.py",
        "        weighted = moments.weighted(expansion)\n        for_key",
        "        if problem.is_causal:\n"
        "            moments = _with(moments, problem.queries(span), cotangents(span))\n"
        "        weighted = moments.weighted(expansion)\n        for_key",
        AUTOGRAD,
    ),
    Bug(
        "upstream gradient not divided by G",
        "autograd.py",
        "dim=-1) / normalizer[..., span, None]",
        "dim=-1)",
        AUTOGRAD,
    ),
    Bug(
        "output does not move with the denominator",
        "autograd.py",
        "torch.cat([rows, -inner], dim=-1)",
        "torch.cat([rows, 0 * inner], dim=-1)",
        AUTOGRAD,
    ),
    Bug(
        "power not brought down: the lower monomial gets no slope",
        "autograd.py",
        "of_lower.addcmul_(part, x_i)",
        "of_lower.addcmul_(part, 0 * x_i)",
        "test_autograd.py::test_pull_back_is_the_gradient_of_the_weighted_features",
    ),
    Bug(
        "f in place of its derivative within a chunk",
        "autograd.py",
        "problem.expansion.derivative()(",
        "problem.expansion(",
        AUTOGRAD,
    ),
    Bug(
        "moments rounded under autocast",
        "_arrays.py",
        "torch.autocast(x.device.type, enabled=False)",
        "nullcontext()",
        "test_autograd.py::test_autocast_rounds_no_moments",
    ),
    Bug(
        "known calls whatever the type of an option",
        "attention.py",
        "return (*asked, *kinds, of_state, *(",
        "return (*asked, of_state, *(",
        "kernels/test_known.py::test_what_only_equals_a_known_option_is_refused",
    ),
    Bug(
        "known calls past a tape",
        "_arrays.py",
        "any(map(is_transformed, arrays)) or records_gradients(*arrays))",
        "any(map(is_transformed, arrays)))",
        "kernels/test_known.py::test_gradients_come_after_a_call_without",
    ),
    Bug(
        "known steps on a state whatever its kind",
        "kernels/stream.py",
        "(self.order, self.dim, self.key_map, held.shape,",
        "(self.order, self.dim, held.shape,",
        "kernels/test_known.py::test_another_state_is_not_taken_for_it",
    ),
    Bug(
        "kernels without a noted sign",
        "kernels/operator.py",
        "x, axes = x.resolve_neg(), x.shape[-2:]",
        "axes = x.shape[-2:]",
        "kernels/test_known.py::test_a_minus_sign_that_torch_only_notes_is_not_lost",
    ),
    Bug(
        "a table that holds fewer rows than variables",
        "factorization.py",
        "max(2 * ends[-2] + most, dim + 1)",
        "2 * ends[-2] + most",
        "test_factorization.py::test_features_in_parts_of_any_size_are_all_of_them",
    ),
    Bug(
        "features kept for the backward pass",
        "attention.py",
        "return not carries_state and records_gradients(*tokens)",
        "return False",
        "test_autograd.py::test_only_inputs_outputs_and_normalisers_are_saved",
    ),
    Bug(
        "bound without the quarter",
        "expansion.py",
        "self(scores)))) / 4",
        "self(scores))))",
        "test_expansion.py::test_gradient_bound_of_known_cases",
    ),
    # Counts.
    Bug(
        "a causal crossover like the full one",
        "complexity.py",
        '(4 if check_flag("is_causal", is_causal) else 2) * numbers',
        "2 * numbers",
        "test_complexity.py::test_crossover_of_order_two",
    ),
    # Scaling.
    Bug(
        "a crossover in time with the rates exchanged",
        "complexity.py",
        "fast_flops(1, dim, order, value_dim) / fast",
        "fast_flops(1, dim, order, value_dim) / slow",
        TIME_CROSSOVER,
    ),
    Bug(
        "a fixed time that counts half",
        "complexity.py",
        "b**2 + 4 * a",
        "b**2 + 2 * a",
        TIME_CROSSOVER,
    ),
    Bug(
        "an interval with one side of the tail",
        "scaling.py",
        "(1 + share) / 2, len(x) - 2",
        "share, len(x) - 2",
        SLOPE,
    ),
    Bug(
        "an interval with too many degrees of freedom",
        "scaling.py",
        "(1 + share) / 2, len(x) - 2",
        "(1 + share) / 2, len(x) - 1",
        SLOPE,
    ),
    Bug(
        "two laws that meet at the inverse",
        "scaling.py",
        "second.factor / first.factor",
        "first.factor / second.factor",
        "test_scaling.py::test_two_laws_meet_where_they_are_equal",
    ),
    # The roofline and the teaching kernel.
    Bug(
        "stored features that pass through memory once",
        "roofline.py",
        "traffic += 2 * number_bytes",
        "traffic += number_bytes",
        "test_roofline.py::test_work_by_hand",
    ),
    Bug(
        "a roof without its slope",
        "roofline.py",
        "return min(self.peak, intensity * self.bandwidth)",
        "return max(self.peak, intensity * self.bandwidth)",
        "test_roofline.py::test_the_roof_rises_to_the_ridge_and_is_flat_from_there",
    ),
    Bug(
        "row 0 of the teaching kernel without its constant 1",
        "kernels/teaching.py",
        "mask=there & (row > 0), other=1.0)",
        "mask=there & (row > 0), other=0.0)",
        TEACHING,
    ),
    Bug(
        "square of the teaching kernel without 1/2",
        "kernels/teaching.py",
        "tl.where(row > 0, scale * scale / 2, scale)",
        "tl.where(row > 0, scale * scale, scale)",
        TEACHING,
    ),
    Bug(
        "tokens beyond the last counted by the teaching kernel",
        "kernels/teaching.py",
        "scale) / tokens",
        "scale) / tl.cdiv(tokens, BLOCK) / BLOCK",
        TEACHING,
    ),
    Bug(
        "keys beyond the last counted by the kernel of the scores",
        "kernels/pairs.py",
        "tokens - 1 + t * 0",
        "tokens + t * 0",
        "kernels/test_fused.py::test_more_keys_than_queries_and_other_scales",
    ),
    # The fused kernels.
    Bug(
        "a quarter of the variables without the columns of the far half",
        "kernels/rows.py",
        "(quarter, three, width // 2, width // 2)",
        "(half, three, width // 2, width // 2)",
        "kernels/test_fused.py::test_panels_hold_every_computed_entry_once[2-64]",
    ),
    Bug(
        "running sums that are not divided by their tokens",
        "kernels/accumulate.py",
        "sums *= (weight / tl.maximum(held, 1))[:, None]",
        "sums *= weight[:, None]",
        CHUNKS_OF_ORDER_1,
    ),
    Bug(
        "a last chunk that counts as a full one",
        "kernels/combine.py",
        "held += tl.minimum(chunk, tokens - c * chunk)",
        "held += chunk",
        LINEAR,
    ),
    Bug(
        "means of the earlier chunks times the tokens of one more",
        "kernels/evaluate.py",
        "place, held = g * chunks + c, c * chunk",
        "place, held = g * chunks + c, (c + 1) * chunk",
        CHUNKS_OF_ORDER_1,
    ),
    Bug(
        "moments of all chunks where a query may see the earlier ones",
        "kernels/forward.py",
        "direction = EARLIER if is_causal else ALL",
        "direction = ALL",
        CHUNKS_OF_ORDER_1,
    ),
    Bug(
        "weights of rows laid out column by column",
        "kernels/states.py",
        "rows.row_weights(order, width).repeat(width)",
        "np.tile(rows.row_weights(order, width), width)",
        SQUARE,
    ),
    Bug(
        "f in place of its derivative where the normaliser moves",
        "kernels/backward.py",
        "tuple(degree * a for degree, a in enumerate(coefficients))[1:]",
        "tuple(coefficients)[1:]",
        SQUARE,
    ),
    Bug(
        "what moves with the normaliser added and not taken away",
        "kernels/differentiate.py",
        "acc = -linear_form(",
        "acc = linear_form(",
        LINEAR,
    ),
    Bug(
        "a part of a room taken for the room",
        "kernels/launch.py",
        "return count, address - first",
        "return count, 0",
        "kernels/test_launch.py::test_rooms_lie_apart_when_a_call_is_repeated",
    ),
    # One token on a state.
    Bug(
        "a place of the latest tokens that two states both write",
        "kernels/stream.py",
        "return self.taken.setdefault(place, mine) is mine",
        "return self.taken.setdefault(place, mine) is not self",
        "kernels/test_decode.py::test_two_streams_go_on_from_one_state",
    ),
    Bug(
        "latest tokens that are lost when there is no more room",
        "kernels/decode.py",
        "    for start in range(0, count, BT):\n        near = keys + tl.minimum",
        "    for start in range(0, count - BT, BT):\n        near = keys + tl.minimum",
        "kernels/test_decode.py::test_the_sums_are_those_of_all_tokens_at_any_time",
    ),
    Bug(
        "rounded moments that are cut off and not taken from the middle",
        "kernels/decode.py",
        "tl.full(at.shape, 0x8000, tl.int32)",
        "tl.full(at.shape, 0, tl.int32)",
        "kernels/test_decode.py::test_rounded_moments_are_right_on_average",
    ),
    Bug(
        "sums that were changed and are not gone on from",
        "kernels/stream.py",
        '            del self.__dict__["held"]\n',
        "",
        "kernels/test_decode.py::test_sums_that_were_changed_are_gone_on_from",
    ),
    Bug(
        "the constant 1 of the decode kernel times the root of the scale",
        "kernels/decode.py",
        "root * values.to(tl.float32), 1.0)",
        "root * values.to(tl.float32), root)",
        "kernels/test_decode.py::test_scales_and_normalized_tokens",
    ),
    Bug(
        "queries of a group that all get the first one's answer",
        "kernels/decode.py",
        "                query += stride_qg\n",
        "",
        "kernels/test_decode.py::test_leading_axes_broadcast_as_in_the_array_path",
    ),
]


@pytest.fixture(scope="module")
def workers() -> Iterator[Pool]:
    """Return a pool that takes a new process for each call, with the slow imports done before.

    Where the system cannot fork, each process imports them itself.
    """
    forks = "forkserver" in multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if forks else "spawn")
    context.set_forkserver_preload(SLOW_IMPORTS)
    with context.Pool(1, maxtasksperchild=1) as pool:
        yield pool


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a folder that holds a copy of the package."""
    shutil.copytree(PACKAGE, tmp_path / PACKAGE.name, ignore=LEFT_OUT)
    return tmp_path


def run_tests(copy: Path, tests: list[str]) -> tuple[int, str]:
    """Run tests of this folder against the copy of the package, in a process of their own."""
    sys.path.insert(0, str(copy))
    os.chdir(copy)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # their imports take seconds
    options = ["-x", "-q", "-p", "no:cacheprovider"]
    with contextlib.redirect_stdout(io.StringIO()) as output:
        status = pytest.main([*options, *(str(TESTS / test) for test in tests)])
    assert Path(sys.modules[PACKAGE.name].__file__ or "").is_relative_to(copy)
    return int(status), output.getvalue()


def test_the_unmodified_copy_passes(copy: Path, workers: Pool) -> None:
    tests = {bug.test for bug in BUGS if not (bug.is_in_a_kernel and why_no_triton())}
    status, output = workers.apply(run_tests, (copy, sorted(tests)))
    assert status == pytest.ExitCode.OK, output


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_is_noticed(bug: Bug, copy: Path, workers: Pool) -> None:
    if bug.is_in_a_kernel and why_no_triton():
        pytest.skip(why_no_triton() or "")
    path = copy / PACKAGE.name / bug.module
    source = path.read_text(encoding="utf-8")
    assert source.count(bug.right) == 1, f"{bug.module} no longer holds {bug.right!r} just once"
    path.write_text(source.replace(bug.right, bug.wrong), encoding="utf-8")
    status, output = workers.apply(run_tests, (copy, [bug.test]))
    assert status == pytest.ExitCode.TESTS_FAILED, output
