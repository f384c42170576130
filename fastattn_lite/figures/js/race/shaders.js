// The same two algorithms for WebGPU, as text in its language, written out for one d and one order.
// One thread holds one row: a query with its output, or a feature with its moments.

/** Tokens or features that a group of threads reads together before each thread uses them. */
const TILE = 16;
/** Threads in a group; fewer for `evaluate`, whose queries must fit into the group's memory. */
export const GROUP = { softmax: 64, moments: 64, reduce: 64, evaluate: 32 };

const list = (count, text) => Array.from({ length: count }, (_, i) => text(i)).join("\n    ");

/** How many vectors of four numbers a row of a key, and a row [v, 1], takes. */
export function vectors(dim) {
  return { row: Math.ceil(dim / 4), extended: Math.ceil((dim + 1) / 4) };
}

const part = (binding) => `@group(0) @binding(${binding}) var<uniform> part: vec4u;`;
const buffer = (binding, name, type, access = "read") => `@group(0) @binding(${binding}) var<storage, ${access}> ${name}: array<${type}>;`;
const main = (name) => `@compute @workgroup_size(${GROUP[name]})
fn main(@builtin(local_invocation_index) thread: u32, @builtin(workgroup_id) group: vec3u) {`;

/** Softmax attention of the queries part.x .. part.y over part.z keys, with a running maximum. */
export function softmaxShader(dim) {
  const { row } = vectors(dim);
  const scores = (j) => `let s${j} = select(-3e38, ${Array.from({ length: row }, (_, c) => `dot(q${c}, keys[b + ${j * row + c}u])`).join(" + ")}, j + ${j}u < count);`;
  return `
${buffer(0, "query", "vec4f")} ${buffer(1, "key", "vec4f")} ${buffer(2, "value", "vec4f")} ${buffer(3, "output", "vec4f", "read_write")} ${part(4)}
var<workgroup> keys: array<vec4f, ${TILE * row}>;
var<workgroup> values: array<vec4f, ${TILE * row}>;
${main("softmax")}
  let i = part.x + ${GROUP.softmax}u * group.x + thread;
  let base = ${row}u * min(i, part.z - 1u);
    ${list(row, (c) => `let q${c} = ${1 / Math.sqrt(dim)} * query[base + ${c}u]; var o${c} = vec4f();`)}
  var top = -3e38;
  var total = 0.0;
  for (var start = 0u; start < part.z; start += ${TILE}u) {
    let count = min(${TILE}u, part.z - start);
    workgroupBarrier();
    for (var x = thread; x < ${row}u * count; x += ${GROUP.softmax}u) {
      keys[x] = key[${row}u * start + x];
      values[x] = value[${row}u * start + x];
    }
    workgroupBarrier();
    for (var j = 0u; j < count; j += 4u) {
      let b = ${row}u * j;
    ${list(4, scores)}
      let raised = max(max(top, max(s0, s1)), max(s2, s3));
      let kept = exp(top - raised);
      let e = exp(vec4f(s0, s1, s2, s3) - raised);
      total = total * kept + e.x + e.y + e.z + e.w;
    ${list(row, (c) => `o${c} = o${c} * kept + e.x * values[b + ${c}u] + e.y * values[b + ${row + c}u] + e.z * values[b + ${2 * row + c}u] + e.w * values[b + ${3 * row + c}u];`)}
      top = raised;
    }
  }
  if (i < part.y) {
    ${list(row, (c) => `output[${row}u * i + ${c}u] = o${c} / total;`)}
  }
}`;
}

/** A feature: `order` coordinates multiplied; coordinate d is the constant 1. */
function feature(order, name, base) {
  return ["x", "y", "z"].slice(0, order).map((c) => `${name}[${base} + recipe.${c}]`).join(" * ");
}

/** Partial moments: group.x counts blocks of features, part.x + group.y spans of part.w tokens. */
export function momentsShader(dim, order, count) {
  const { row, extended } = vectors(dim);
  const step = 4 * row + 1;
  return `
${buffer(0, "key", "f32")} ${buffer(1, "value", "vec4f")} ${buffer(2, "recipes", "vec4u")} ${buffer(3, "partial", "vec4f", "read_write")} ${part(4)}
var<workgroup> keys: array<f32, ${TILE * step}>;
var<workgroup> values: array<vec4f, ${TILE * extended}>;
${main("moments")}
  let r = ${GROUP.moments}u * group.x + thread;
  let recipe = recipes[min(r, ${count - 1}u)];
  let span = part.x + group.y;
  let end = min(part.z, (span + 1u) * part.w);
    ${list(extended, (c) => `var m${c} = vec4f();`)}
  for (var start = span * part.w; start < end; start += ${TILE}u) {
    let tokens = min(${TILE}u, end - start);
    workgroupBarrier();
    for (var x = thread; x < ${step}u * tokens; x += ${GROUP.moments}u) {
      let j = x / ${step}u;
      let c = x % ${step}u;
      keys[x] = select(1.0, key[${4 * row}u * (start + j) + min(c, ${4 * row - 1}u)], c < ${dim}u);
    }
    for (var x = thread; x < ${extended}u * tokens; x += ${GROUP.moments}u) { values[x] = value[${extended}u * start + x]; }
    workgroupBarrier();
    for (var j = 0u; j < tokens; j += 1u) {
      let phi = ${feature(order, "keys", `${step}u * j`)};
    ${list(extended, (c) => `m${c} += phi * values[${extended}u * j + ${c}u];`)}
    }
  }
  if (r < ${count}u) {
    ${list(extended, (c) => `partial[${extended}u * (${count}u * span + r) + ${c}u] = m${c};`)}
  }
}`;
}

/** The sum of part.x partial tables, each row times its weight. */
export function reduceShader(dim, count) {
  const { extended } = vectors(dim);
  return `
${buffer(0, "partial", "vec4f")} ${buffer(1, "weights", "f32")} ${buffer(2, "moments", "vec4f", "read_write")} ${part(3)}
${main("reduce")}
  let x = ${GROUP.reduce}u * group.x + thread;
  if (x >= ${extended * count}u) { return; }
  var sum = vec4f();
  for (var span = 0u; span < part.x; span += 1u) { sum += partial[${extended * count}u * span + x]; }
  moments[x] = weights[x / ${extended}u] * sum;
}`;
}

/** Outputs of the queries part.x .. part.y from the moments. */
export function evaluateShader(dim, order, count) {
  const { row, extended } = vectors(dim);
  const step = 4 * row + 1;
  const last = `m${Math.floor(dim / 4)}.${"xyzw"[dim % 4]}`;
  return `
${buffer(0, "query", "f32")} ${buffer(1, "moments", "vec4f")} ${buffer(2, "recipes", "vec4u")} ${buffer(3, "output", "vec4f", "read_write")} ${part(4)}
var<workgroup> queries: array<f32, ${GROUP.evaluate * step}>;
var<workgroup> table: array<vec4f, ${TILE * extended}>;
${main("evaluate")}
  let first = part.x + ${GROUP.evaluate}u * group.x;
  for (var x = thread; x < ${GROUP.evaluate * step}u; x += ${GROUP.evaluate}u) {
    let c = x % ${step}u;
    let i = min(first + x / ${step}u, part.z - 1u);
    queries[x] = select(1.0, query[${4 * row}u * i + min(c, ${4 * row - 1}u)], c < ${dim}u);
  }
    ${list(extended, (c) => `var m${c} = vec4f();`)}
  for (var start = 0u; start < ${count}u; start += ${TILE}u) {
    let features = min(${TILE}u, ${count}u - start);
    workgroupBarrier();
    for (var x = thread; x < ${extended}u * features; x += ${GROUP.evaluate}u) { table[x] = moments[${extended}u * start + x]; }
    workgroupBarrier();
    for (var r = 0u; r < features; r += 1u) {
      let recipe = recipes[start + r];
      let phi = ${feature(order, "queries", `${step}u * thread`)};
    ${list(extended, (c) => `m${c} += phi * table[${extended}u * r + ${c}u];`)}
    }
  }
  let i = first + thread;
  if (i < part.y) {
    ${list(row, (c) => `output[${row}u * i + ${c}u] = m${c} / ${last};`)}
  }
}`;
}
