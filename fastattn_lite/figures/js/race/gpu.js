// The race on the reader's GPU, whose work is cut into short pieces: the GPU also draws the screen.
import { directFlops, fastFlops } from "../maths/complexity.js";
import { featureRecipe, raceTokens, raceWeights } from "../maths/race.js";
import { CHECK_TOKENS, expectedOutputs, largestDifference } from "./checking.js";
import { Problem } from "./problem.js";
import { runRounds } from "./rounds.js";
import { evaluateShader, GROUP, momentsShader, reduceShader, softmaxShader, vectors } from "./shaders.js";

/** What round-off may do to an output of float32. */
const TOLERANCE = 1e-4;
/** A piece of work takes about so long, so that the screen never waits. */
const PIECE_SECONDS = 0.03;
const FIRST_RATE = 2e8;
const MOST_PARTIAL_BYTES = 2 ** 26;
const ENOUGH_GROUPS = 1024;

/** Race on the GPU; `tell` hears of points and progress. */
export async function raceOnGpu({ dim, order, most, budget }, tell) {
  const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
  if (!adapter) throw new Problem("none");
  const device = await adapter.requestDevice();
  try {
    const race = new GpuRace(device, dim, order);
    await Promise.race([race.lost, course(race, { most, budget, tell })]);
  } finally {
    device.destroy();
  }
}

async function course(race, { most, budget, tell }) {
  const { dim, order } = race;
  await race.compile();
  const expected = expectedOutputs(dim, order);
  await race.prepare(expected.tokens, CHECK_TOKENS);
  for (const name of ["direct", "fast"]) {
    const found = await race.output(name);
    if (!(largestDifference(found, expected[name]) < TOLERANCE)) throw new Problem("wrong");
  }
  const time = async (name, tokens) => {
    if (race.prepared !== tokens) await race.prepare(raceTokens(tokens, dim, Float32Array), tokens);
    return race.seconds(name);
  };
  await runRounds({ most, budget, time, tell });
}

class GpuRace {
  constructor(device, dim, order) {
    const recipe = featureRecipe(dim, order);
    Object.assign(this, { device, dim, order, count: recipe.count, prepared: 0, buffers: {} });
    this.tables = { recipes: coordinatesOf(recipe, dim), weights: Float32Array.from(raceWeights(dim, order, 1 / Math.sqrt(dim))) };
    this.rates = { direct: FIRST_RATE, fast: FIRST_RATE };
    this.lost = device.lost.then(() => { throw new Problem("lost"); });
  }

  async compile() {
    const { dim, order, count } = this;
    const code = {
      softmax: softmaxShader(dim), moments: momentsShader(dim, order, count),
      reduce: reduceShader(dim, count), evaluate: evaluateShader(dim, order, count),
    };
    const made = Object.entries(code).map(async ([name, text]) => {
      const module = this.device.createShaderModule({ code: text });
      return [name, await this.device.createComputePipelineAsync({ layout: "auto", compute: { module, entryPoint: "main" } })];
    });
    this.pipelines = Object.fromEntries(await Promise.all(made));
  }

  /** Bring n tokens onto the GPU, with room for what the algorithms write. */
  async prepare([query, key, value], tokens) {
    const { device, dim, count } = this;
    const { row, extended } = vectors(dim);
    for (const buffer of Object.values(this.buffers)) buffer.destroy();
    const tableBytes = 16 * extended * count;
    this.spans = spansOf(tokens, count, tableBytes);
    const filled = {
      query: padded(query, dim, 4 * row), key: padded(key, dim, 4 * row), value: padded(value, dim, 4 * row),
      valueAndOne: padded(value, dim, 4 * extended, 1), ...this.tables,
    };
    const empty = { output: 16 * row * tokens, partial: this.spans * tableBytes, moments: tableBytes };
    this.buffers = await withRoom(device, () => ({
      ...Object.fromEntries(Object.entries(filled).map(([name, numbers]) => [name, bufferOf(device, numbers.byteLength, numbers)])),
      ...Object.fromEntries(Object.entries(empty).map(([name, bytes]) => [name, bufferOf(device, bytes)])),
    }));
    this.prepared = tokens;
  }

  /** The pieces of one run: the pipeline, its buffers, its parameters, its groups. */
  pieces(name) {
    const { prepared: tokens, dim, order, spans, buffers, count } = this;
    const share = this.rates[name] * PIECE_SECONDS;
    const flops = name === "direct" ? directFlops(tokens, dim) : fastFlops(tokens, dim, order) / 2;
    const pieces = Math.max(1, Math.ceil(flops / share));
    const cut = (total, size) => slices(total, Math.max(size, size * Math.ceil(total / pieces / size)));
    const ofQueries = (pipeline, bound) => cut(tokens, GROUP[pipeline]).map(([first, end]) => ({
      pipeline, bound, part: [first, end, tokens, 0], groups: [Math.ceil((end - first) / GROUP[pipeline])],
    }));
    const { query, key, value, valueAndOne, output, partial, moments, weights, recipes } = buffers;
    if (name === "direct") return ofQueries("softmax", [query, key, value, output]);
    const perSpan = Math.ceil(tokens / spans);
    return [
      ...cut(spans, 1).map(([first, end]) => ({
        pipeline: "moments", bound: [key, valueAndOne, recipes, partial], part: [first, end, tokens, perSpan],
        groups: [Math.ceil(count / GROUP.moments), end - first],
      })),
      { pipeline: "reduce", bound: [partial, weights, moments], part: [spans, 0, 0, 0], groups: [Math.ceil((count * vectors(dim).extended) / GROUP.reduce)] },
      ...ofQueries("evaluate", [query, moments, recipes, output]),
    ];
  }

  /** One run, piece by piece; the seconds from the first piece to the end of the last. */
  async seconds(name) {
    const work = this.pieces(name).map((piece) => this.bind(piece));
    const start = performance.now();
    for (const [place, { pipeline, group, groups }] of work.entries()) {
      const encoder = this.device.createCommandEncoder();
      const pass = encoder.beginComputePass();
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, group);
      pass.dispatchWorkgroups(...groups);
      pass.end();
      this.device.queue.submit([encoder.finish()]);
      // A few pieces may wait in line, so that the GPU is never idle and the screen waits for few.
      if (place % 4 === 3) await this.submittedWork();
    }
    await this.submittedWork();
    const seconds = (performance.now() - start) / 1000;
    const flops = name === "direct" ? directFlops(this.prepared, this.dim) : fastFlops(this.prepared, this.dim, this.order);
    this.rates[name] = Math.max(this.rates[name], flops / Math.max(seconds, 1e-4));
    for (const { uniform } of work) uniform.destroy();
    return seconds;
  }

  bind({ pipeline: name, bound, part, groups }) {
    const { device } = this;
    const pipeline = this.pipelines[name];
    const numbers = Uint32Array.from(part);
    const uniform = bufferOf(device, numbers.byteLength, numbers, GPUBufferUsage.UNIFORM);
    const entries = [...bound, uniform].map((buffer, binding) => ({ binding, resource: { buffer } }));
    return { pipeline, group: device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }), groups, uniform };
  }

  /** Wait for the work so far; a lost device, which has none to wait for, ends the race here. */
  submittedWork() {
    return Promise.race([this.lost, this.device.queue.onSubmittedWorkDone()]);
  }

  /** What an algorithm computes for the tokens that were prepared, back on the processor. */
  async output(name) {
    await this.seconds(name);
    const { device, dim, buffers: { output } } = this;
    const copy = device.createBuffer({ size: output.size, usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ });
    const encoder = device.createCommandEncoder();
    encoder.copyBufferToBuffer(output, 0, copy, 0, output.size);
    device.queue.submit([encoder.finish()]);
    await copy.mapAsync(GPUMapMode.READ);
    const numbers = new Float32Array(copy.getMappedRange().slice(0));
    copy.destroy();
    const step = 4 * vectors(dim).row;
    return numbers.filter((_, place) => place % step < dim);
  }
}

/** How many spans of tokens are summed apart, so that the GPU has enough to do at once. */
function spansOf(tokens, count, tableBytes) {
  const wanted = Math.ceil(ENOUGH_GROUPS / Math.ceil(count / GROUP.moments));
  return Math.max(1, Math.min(wanted, Math.ceil(tokens / 64), Math.floor(MOST_PARTIAL_BYTES / tableBytes)));
}

function slices(total, size) {
  return Array.from({ length: Math.ceil(total / size) }, (_, i) => [i * size, Math.min(total, (i + 1) * size)]);
}

/** Rows made longer with zeros, after a 1 where `one` is given. */
function padded(numbers, dim, step, one) {
  const count = numbers.length / dim;
  const rows = new Float32Array(count * step);
  for (let i = 0; i < count; i += 1) {
    rows.set(numbers.subarray(i * dim, (i + 1) * dim), i * step);
    if (one) rows[i * step + dim] = one;
  }
  return rows;
}

/** The coordinates of every feature, filled up with d, where every token has a 1. */
function coordinatesOf({ parent, coordinate, count }, dim) {
  const numbers = new Uint32Array(4 * count);
  for (let r = 0; r < count; r += 1) {
    let place = 0;
    for (let at = r; parent[at] >= 0; at = parent[at]) numbers[4 * r + place++] = coordinate[at];
    numbers.fill(dim, 4 * r + place, 4 * r + 4);
  }
  return numbers;
}

function bufferOf(device, size, numbers, usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC) {
  const buffer = device.createBuffer({ size, usage: usage | GPUBufferUsage.COPY_DST });
  if (numbers) device.queue.writeBuffer(buffer, 0, numbers);
  return buffer;
}

/** Make buffers; too little memory is a problem with a name. */
async function withRoom(device, make) {
  device.pushErrorScope("out-of-memory");
  device.pushErrorScope("validation");
  let made = null;
  try {
    made = make();
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
  }
  const problems = [await device.popErrorScope(), await device.popErrorScope()];
  if (!made || problems.some(Boolean)) throw new Problem("memory");
  return made;
}
