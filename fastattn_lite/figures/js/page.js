// The script of the built pages: every figure, and the host that needs no kernel.
import { host } from "./host.js";
import AttentionMatrix from "./figures/AttentionMatrix.js";
import BrowserRace from "./figures/BrowserRace.js";
import CausalLeak from "./figures/CausalLeak.js";
import ComplexityScaling from "./figures/ComplexityScaling.js";
import CostRace from "./figures/CostRace.js";
import ErrorVersusOrder from "./figures/ErrorVersusOrder.js";
import GradientBound from "./figures/GradientBound.js";
import FarField from "./figures/FarField.js";
import KernelSum from "./figures/KernelSum.js";
import MomentStream from "./figures/MomentStream.js";
import MonomialBasis from "./figures/MonomialBasis.js";
import Quiz from "./figures/Quiz.js";
import Roofline from "./figures/Roofline.js";
import TruncationError from "./figures/TruncationError.js";

host({ AttentionMatrix, BrowserRace, CausalLeak, ComplexityScaling, CostRace, ErrorVersusOrder, FarField, GradientBound, KernelSum, MomentStream, MonomialBasis, Quiz, Roofline, TruncationError });
