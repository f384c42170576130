// Numbers as the reader sees them. The twin of format_number and format_percent in words.py.

const SUPERSCRIPTS = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };

/** 10 to a power, in superscript digits: power(-6) is "10⁻⁶". */
export function power(exponent) {
  return `10${[...String(exponent)].map((digit) => SUPERSCRIPTS[digit]).join("")}`;
}

/** Three significant digits: 0.0973, 2,179 (whole), 4.29 × 10⁹, 1.51 × 10⁻⁶, ∞. */
export function formatNumber(x) {
  if (Number.isNaN(x)) return "–";
  if (!Number.isFinite(x)) return x > 0 ? "∞" : "−∞";
  const size = Math.abs(x);
  if (size >= 1e6 || (size > 0 && size < 1e-3)) {
    const [mantissa, exponent] = x.toExponential(2).split("e");
    return minus(`${mantissa} × ${power(Number(exponent))}`);
  }
  if (size >= 1000 || Number.isInteger(x)) return minus(grouped(x.toFixed(0)));
  return minus(String(Number(x.toPrecision(3))));
}

/** A share of 1 in percent, three significant digits. */
export function formatPercent(x) {
  return `${formatNumber(100 * x)} %`;
}

function grouped(digits) {
  return digits.replace(/\B(?=(\d{3})+$)/g, ",");
}

function minus(text) {
  return text.replace("-", "−");
}
