// The script of the built pages: every figure, and the host that needs no kernel.
import { host } from "./host.js";
import CausalLeak from "./figures/CausalLeak.js";
import CostRace from "./figures/CostRace.js";
import ErrorVersusOrder from "./figures/ErrorVersusOrder.js";
import KernelSum from "./figures/KernelSum.js";
import MomentStream from "./figures/MomentStream.js";
import MonomialBasis from "./figures/MonomialBasis.js";
import Quiz from "./figures/Quiz.js";
import Roofline from "./figures/Roofline.js";
import TruncationError from "./figures/TruncationError.js";

host({ CausalLeak, CostRace, ErrorVersusOrder, KernelSum, MomentStream, MonomialBasis, Quiz, Roofline, TruncationError });
