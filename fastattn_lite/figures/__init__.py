"""Interactive figures: live in JupyterLab and Colab, alive on the built page without a kernel."""

from fastattn_lite.figures.attention_matrix import AttentionMatrix
from fastattn_lite.figures.base import Figure
from fastattn_lite.figures.browser_race import BrowserRace
from fastattn_lite.figures.causal_leak import CausalLeak
from fastattn_lite.figures.complexity_scaling import ComplexityScaling
from fastattn_lite.figures.cost_race import CostRace
from fastattn_lite.figures.error_versus_order import ErrorVersusOrder
from fastattn_lite.figures.far_field import FarField
from fastattn_lite.figures.gradient_bound import GradientBound
from fastattn_lite.figures.kernel_sum import KernelSum
from fastattn_lite.figures.moment_stream import MomentStream
from fastattn_lite.figures.monomial_basis import MonomialBasis
from fastattn_lite.figures.quiz import Quiz
from fastattn_lite.figures.roofline import Roofline
from fastattn_lite.figures.style import plot_style
from fastattn_lite.figures.truncation_error import TruncationError

__all__ = [
    "AttentionMatrix",
    "BrowserRace",
    "CausalLeak",
    "ComplexityScaling",
    "CostRace",
    "ErrorVersusOrder",
    "FarField",
    "Figure",
    "GradientBound",
    "KernelSum",
    "MomentStream",
    "MonomialBasis",
    "Quiz",
    "Roofline",
    "TruncationError",
    "plot_style",
]
