"""Mark a reader's exercise, and show that two forms of a formula agree.

Every `check_*` function of an exercise takes the reader's own function, tries it on several
inputs and returns a `CheckResult`: a verdict and a hint. It never raises on a wrong answer, and
no hint gives the solution away. One module a chapter, over `marking`.
"""

from fastattn_lite.check.attention_as_a_kernel_sum import (
    check_keys_in_chunks,
    check_stable_weights,
    check_tokens_that_fit,
    check_window_attention,
)
from fastattn_lite.check.complexity_scaling import (
    check_slope_interval,
    check_time_crossover,
    check_useful_order,
)
from fastattn_lite.check.expansion_truncation import (
    check_best_shift,
    check_features_needed,
    check_fitted_expansion,
    check_truncated_exp,
    check_weight_distance,
)
from fastattn_lite.check.fast_multipole_ideas import (
    check_best_cells,
    check_farthest,
    check_moved_moments,
)
from fastattn_lite.check.full_attention_matrix import (
    check_order_for_full_rank,
    check_rows_of_matrix,
    check_sharpest_weight,
)
from fastattn_lite.check.gpu_evaluation import (
    check_intensity,
    check_ridge_tokens,
    check_row_states,
)
from fastattn_lite.check.gradients import (
    check_saving,
    check_score_gradient,
    check_value_gradient,
)
from fastattn_lite.check.intro import check_crossover, check_order_one_attention
from fastattn_lite.check.kernel_factorization import (
    check_largest_order,
    check_monomials,
    check_multiplicity,
    check_rescaled,
)
from fastattn_lite.check.marking import CheckResult, check_equal, show_source
from fastattn_lite.check.moment_accumulation import (
    check_cache_crossover,
    check_chunked_outputs,
    check_compensated_sum,
)

__all__ = [
    "CheckResult",
    "check_best_cells",
    "check_best_shift",
    "check_cache_crossover",
    "check_chunked_outputs",
    "check_compensated_sum",
    "check_crossover",
    "check_equal",
    "check_farthest",
    "check_features_needed",
    "check_fitted_expansion",
    "check_intensity",
    "check_keys_in_chunks",
    "check_largest_order",
    "check_monomials",
    "check_moved_moments",
    "check_multiplicity",
    "check_order_for_full_rank",
    "check_order_one_attention",
    "check_rescaled",
    "check_ridge_tokens",
    "check_row_states",
    "check_rows_of_matrix",
    "check_saving",
    "check_score_gradient",
    "check_sharpest_weight",
    "check_slope_interval",
    "check_stable_weights",
    "check_time_crossover",
    "check_tokens_that_fit",
    "check_truncated_exp",
    "check_useful_order",
    "check_value_gradient",
    "check_weight_distance",
    "check_window_attention",
    "show_source",
]
