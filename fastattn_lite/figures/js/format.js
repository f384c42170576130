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
    const [mantissa, exponent] = halfToEven(x, 3).toExponential(2).split("e");
    return minus(`${mantissa} × ${power(Number(exponent))}`);
  }
  if (size >= 1000) return minus(grouped(halfToEven(x, Math.trunc(size).toString().length).toFixed(0)));
  return minus(String(Number(halfToEven(x, 3).toPrecision(3))));
}

/**
 * Where x lies exactly between two numbers of so many digits, the one whose last digit is even, as
 * Python rounds; otherwise x. (JavaScript would round 1.125 to 1.13, Python rounds it to 1.12.)
 */
function halfToEven(x, digits) {
  const [mantissa, exponent] = Math.abs(x).toExponential(99).split("e");
  const kept = mantissa.slice(0, digits + 1);
  const isBetween = /^50*$/.test(mantissa.slice(digits + 1));
  if (!isBetween || Number(kept.at(-1)) % 2 === 1) return x;
  return Math.sign(x) * Number(`${kept}e${exponent}`);
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
