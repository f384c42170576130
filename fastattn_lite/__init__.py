"""Factorizable attention: softmax attention in linear time, one module per derivation step.

`expansion` cuts the series of exp, `factorization` splits it into features of queries and keys,
`moments` sums over the keys once, `attention` evaluates at every query; `reference` is the direct
sum they are all held to.
"""

from fastattn_lite.attention import ExpansionWarning, KernelWarning, fast_attention
from fastattn_lite.expansion import Expansion, chebyshev, minimax, order_for, taylor
from fastattn_lite.factorization import (
    feature_weights,
    monomial_features,
    multi_indices,
    number_of_features,
)
from fastattn_lite.matrix import attention_distance, ratio_limit, row_entropy
from fastattn_lite.moments import Moments, stream_moments
from fastattn_lite.normalization import ScoreReport, check_scores, normalize
from fastattn_lite.reference import attention_weights, kernel_attention, softmax_attention

__version__ = "0.1.0"

__all__ = [
    "Expansion",
    "ExpansionWarning",
    "KernelWarning",
    "Moments",
    "ScoreReport",
    "attention_distance",
    "attention_weights",
    "chebyshev",
    "check_scores",
    "fast_attention",
    "feature_weights",
    "kernel_attention",
    "minimax",
    "monomial_features",
    "multi_indices",
    "normalize",
    "number_of_features",
    "order_for",
    "ratio_limit",
    "row_entropy",
    "softmax_attention",
    "stream_moments",
    "taylor",
]
