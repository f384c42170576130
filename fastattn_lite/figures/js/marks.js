// What a plot can show. Every function returns SVG nodes; colour comes with a dash or a shape.
import { svg } from "./dom.js";
import palette from "../palette.json";

const FAR = 1e5;
const LABEL_HEIGHT = 17;
const CHARACTER_WIDTH = 7.2;
const SHADES = 24;

/** Pixels that SVG accepts, also where a value leaves the plot by far. */
function pixel(value) {
  return Number(Math.max(-FAR, Math.min(FAR, value)).toFixed(2));
}

function line({ points, series }, { x, y }) {
  const style = palette.lines[series] ?? { dash: [], width: 1.5 };
  let path = "";
  let isDown = false;
  for (const [px, py] of points) {
    if (Number.isFinite(py) && Number.isFinite(px)) {
      path += `${isDown ? "L" : "M"}${pixel(x(px))} ${pixel(y(py))}`;
      isDown = true;
    } else {
      isDown = false;
    }
  }
  return [svg("path", {
    d: path, class: `fastattn-line fastattn-${series}`, "stroke-width": style.width,
    "stroke-dasharray": style.dash.join(" ") || undefined,
  })];
}

export const SHAPES = {
  circle: "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0Z",
  square: "M-4.5 -4.5H4.5V4.5H-4.5Z",
  triangle: "M0 -5.5L5 4H-5Z",
  diamond: "M0 -6L6 0L0 6L-6 0Z",
  cross: "M-5 -3L-3 -5L0 -2L3 -5L5 -3L2 0L5 3L3 5L0 2L-3 5L-5 3L-2 0Z",
};

function points({ points: places, series, shape, size = 1 }, { x, y }) {
  const path = SHAPES[shape ?? palette.lines[series]?.marker ?? "circle"];
  return places
    .filter(([px, py]) => Number.isFinite(px) && Number.isFinite(py))
    .map(([px, py]) => svg("path", {
      d: path, class: `fastattn-point fastattn-${series}`, transform: `translate(${pixel(x(px))} ${pixel(y(py))}) scale(${size})`,
    }));
}

/** A vertical band from..to; tone "inside" is quiet, tone "warning" is hatched. */
function band({ from, to, tone }, { x, box, hatch }) {
  const [left, right] = [from, to].map((value) => Math.min(box.right, Math.max(box.left, x(value))));
  const place = { x: pixel(left), y: box.top, width: pixel(right - left), height: box.bottom - box.top };
  const nodes = [svg("rect", { ...place, class: `fastattn-band fastattn-band-${tone}` })];
  if (tone === "warning") nodes.push(svg("rect", { ...place, fill: `url(#${hatch})` }));
  return nodes;
}

function rule({ x: atX, y: atY, from, to, series = "quiet" }, { x, y, box }) {
  const ends = atX === undefined
    ? { x1: box.left, x2: box.right, y1: y(atY), y2: y(atY) }
    : { x1: x(atX), x2: x(atX), y1: from === undefined ? box.bottom : y(from), y2: to === undefined ? box.top : y(to) };
  const attributes = Object.fromEntries(Object.entries(ends).map(([key, value]) => [key, pixel(value)]));
  return [svg("line", { ...attributes, class: `fastattn-rule fastattn-${series}` })];
}

/** A bracket between two heights, at a place across. */
function bracket({ x: atX, from, to, series }, { x, y }) {
  const [px, low, high] = [pixel(x(atX)), pixel(y(from)), pixel(y(to))];
  return [svg("path", {
    d: `M${px - 6} ${low}H${px + 6}M${px} ${low}V${high}M${px - 6} ${high}H${px + 6}`,
    class: `fastattn-line fastattn-${series}`, "stroke-width": 1.75,
  })];
}

function bar({ from, to, low, high, series }, { x, y }) {
  const [left, right, top, bottom] = [x(from), x(to), y(high), y(low)];
  return [svg("rect", {
    x: pixel(left), y: pixel(top), width: pixel(Math.max(2, right - left)), height: pixel(bottom - top), rx: 2,
    class: `fastattn-bar-mark fastattn-${series}`,
  })];
}

/** Discs whose area is in proportion to a size; `radius` in pixels is that of size 1. */
function discs({ points: places, radius, isRing, series }, { x, y }) {
  return places.filter((place) => place.every(Number.isFinite)).map(([px, py, size]) => svg("circle", {
    cx: pixel(x(px)), cy: pixel(y(py)), r: pixel(radius * Math.sqrt(size)),
    class: isRing ? `fastattn-line fastattn-${series}` : `fastattn-disc fastattn-${series}`,
    "stroke-width": isRing ? 2 : undefined, "stroke-dasharray": isRing ? palette.lines[series].dash.join(" ") || undefined : undefined,
  }));
}

/** The squares of a table of shades from 0 to 1, row by row from the top; one path for each shade. */
function cells({ rows, series, size = 1 }, { x, y }) {
  const inset = (1 - size) / 2;
  const edges = (scale) => (_, i) => [pixel(scale(i + inset)), pixel(scale(i + 1 - inset))];
  const [across, down] = [rows[0].map(edges(x)), rows.map(edges(y))];
  const paths = new Map();
  rows.forEach((row, i) => row.forEach((value, j) => {
    const shade = Math.round(SHADES * Math.min(1, value));
    if (!(shade > 0)) return;
    const [[left, right], [top, bottom]] = [across[j], down[i]];
    paths.set(shade, `${paths.get(shade) ?? ""}M${left} ${top}H${right}V${bottom}H${left}Z`);
  }));
  return [...paths].map(([shade, d]) => svg("path", { d, class: `fastattn-cells fastattn-${series}`, "fill-opacity": shade / SHADES }));
}

function text() {
  return [];
}

/** How each kind of mark is drawn. */
export const MARKS = { line, points, band, rule, bracket, bar, discs, cells, text };

/** Where a mark's label stands, in pixels; undefined where it has none. */
export function labelOf(mark, { x, y, box }) {
  const label = mark.label ?? mark.text;
  if (!label) return undefined;
  if (mark.at) return { px: x(mark.at[0]), py: y(mark.at[1]), label, mark, anchor: mark.anchor ?? "start" };
  if (mark.kind === "band") return { px: (Math.max(box.left, x(mark.from)) + Math.min(box.right, x(mark.to))) / 2, py: box.top + 14, label, mark, anchor: "middle" };
  if (mark.kind === "bracket") return { px: x(mark.x) + 6, py: Math.min(y(mark.from), y(mark.to)) - 7, label, mark, anchor: "end" };
  if (mark.kind === "rule" && mark.x === undefined) return { px: box.right, py: y(mark.y) - 6, label, mark, anchor: "end" };
  if (mark.kind === "rule") return { px: x(mark.x) + (mark.anchor === "end" ? -6 : 6), py: box.top + 12, label, mark, anchor: mark.anchor ?? "start" };
  const visible = (mark.points ?? []).filter(([px, py]) => Number.isFinite(py)
    && x(px) >= box.left && x(px) <= box.right && y(py) >= box.top && y(py) <= box.bottom);
  if (!visible.length) return undefined;
  const path = visible.map(([px, py]) => [x(px), y(py)]);
  const [px, py] = path[path.length - 1];
  return { px: px - 4, py: py - 9, label, mark, anchor: "end", path };
}

/** How far left the rising end of a curve reaches at the height of a label. */
function endOf(path, py) {
  let place = path.length - 1;
  while (place > 0 && path[place][1] <= py + 6 && path[place - 1][1] >= path[place][1]) place -= 1;
  return path[place][0];
}

/** The left edge of a label; one that stands below its place keeps left of the curves that rise past it. */
function leftOf({ px, py, path, anchor, mark }, placed, width, labels, box) {
  const shift = { start: 0, middle: width / 2, end: width }[anchor];
  if (mark.kind === "text") return px - shift;
  const right = path && placed > py + 1
    ? Math.min(px, ...labels.filter((other) => other.path).map((other) => endOf(other.path, placed) - 6))
    : px;
  return Math.max(box.left, Math.min(box.right - width, right - shift));
}

/** Text nodes for the labels, moved apart where they would cover each other. */
export function labelNodes(labels, box) {
  const placed = [];
  const shown = labels.filter(Boolean);
  for (const label of [...shown].sort((a, b) => a.py - b.py)) {
    const width = label.label.length * CHARACTER_WIDTH;
    let py = Math.max(box.top + 12, Math.min(box.bottom - 5, label.py));
    let left = leftOf(label, py, width, shown, box);
    for (const other of placed) {
      const isBeside = left > other.left + other.width || other.left > left + width;
      if (!isBeside && Math.abs(py - other.py) < LABEL_HEIGHT) py = other.py + LABEL_HEIGHT;
    }
    left = leftOf(label, py, width, shown, box);
    placed.push({ left, width, py });
    label.place = { x: pixel(left + { start: 0, middle: width / 2, end: width }[label.anchor]), y: pixel(py) };
  }
  return shown.map(({ label, mark, anchor, place }) => svg("text", {
    ...place, "text-anchor": anchor, class: `fastattn-label fastattn-${mark.series ?? mark.tone ?? "quiet"}`,
  }, [label]));
}
