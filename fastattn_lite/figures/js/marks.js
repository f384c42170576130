// What a plot can show. Every function returns SVG nodes; colour comes with a dash or a shape.
import { svg } from "./dom.js";
import palette from "../palette.json";

const FAR = 1e5;
const LABEL_HEIGHT = 17;
const CHARACTER_WIDTH = 7.2;

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

function points({ points: places, series, shape }, { x, y }) {
  const path = SHAPES[shape ?? palette.lines[series]?.marker ?? "circle"];
  return places
    .filter(([px, py]) => Number.isFinite(px) && Number.isFinite(py))
    .map(([px, py]) => svg("path", {
      d: path, class: `fastattn-point fastattn-${series}`, transform: `translate(${pixel(x(px))} ${pixel(y(py))})`,
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

function text() {
  return [];
}

/** How each kind of mark is drawn. */
export const MARKS = { line, points, band, rule, bracket, bar, discs, text };

/** Where a mark's label stands, in pixels; undefined where it has none. */
export function labelOf(mark, { x, y, box }) {
  const label = mark.label ?? mark.text;
  if (!label) return undefined;
  if (mark.at) return { px: x(mark.at[0]), py: y(mark.at[1]), label, mark, anchor: mark.anchor ?? "start" };
  if (mark.kind === "band") return { px: (Math.max(box.left, x(mark.from)) + Math.min(box.right, x(mark.to))) / 2, py: box.top + 14, label, mark, anchor: "middle" };
  if (mark.kind === "bracket") return { px: x(mark.x) + 6, py: Math.min(y(mark.from), y(mark.to)) - 7, label, mark, anchor: "end" };
  if (mark.kind === "rule") return { px: mark.x === undefined ? box.right : x(mark.x) + 6, py: mark.x === undefined ? y(mark.y) - 6 : box.top + 12, label, mark, anchor: mark.x === undefined ? "end" : "start" };
  const visible = (mark.points ?? []).filter(([px, py]) => Number.isFinite(py)
    && x(px) >= box.left && x(px) <= box.right && y(py) >= box.top && y(py) <= box.bottom);
  if (!visible.length) return undefined;
  const [px, py] = visible[visible.length - 1];
  return { px: x(px) - 4, py: y(py) - 9, label, mark, anchor: "end" };
}

/** Text nodes for the labels, moved apart where they would cover each other. */
export function labelNodes(labels, box) {
  const placed = [];
  for (const label of labels.filter(Boolean).sort((a, b) => a.py - b.py)) {
    const width = label.label.length * CHARACTER_WIDTH;
    const shift = { start: 0, middle: width / 2, end: width }[label.anchor];
    const isFree = label.mark.kind === "text";
    const left = isFree ? label.px - shift : Math.max(box.left, Math.min(box.right - width, label.px - shift));
    let py = Math.max(box.top + 12, Math.min(box.bottom - 5, label.py));
    for (const other of placed) {
      const isBeside = left > other.left + other.width || other.left > left + width;
      if (!isBeside && Math.abs(py - other.py) < LABEL_HEIGHT) py = other.py + LABEL_HEIGHT;
    }
    placed.push({ left, width, py });
    label.place = { x: pixel(left + shift), y: pixel(py) };
  }
  return labels.filter(Boolean).map(({ label, mark, anchor, place }) => svg("text", {
    ...place, "text-anchor": anchor, class: `fastattn-label fastattn-${mark.series ?? mark.tone ?? "quiet"}`,
  }, [label]));
}
