// One plot: quiet axes, marks with direct labels, handles that can be dragged.
import { element, svg, uniqueId } from "./dom.js";
import { labelNodes, labelOf, MARKS } from "./marks.js";
import { makeScale, ticks } from "./scale.js";

const MARGIN = { top: 36, right: 14, bottom: 42, left: 58 };
const PIXELS_PER_TICK = { x: 80, y: 48 };
const PIXELS_PER_NAME = 10;
const WIDTH_BEFORE_LAYOUT = 560;

/** An empty plot; `draw(spec)` fills it, anew each time. */
export function makePlot({ height, label, onDrag, onResize }) {
  const picture = svg("svg", { class: "fastattn-picture", role: "img", "aria-label": label, height });
  const node = element("div", { class: "fastattn-plot", style: `height: ${height}px` }, [picture]);
  const plot = { node, picture, height, hatch: uniqueId("hatch"), clip: uniqueId("clip"), spec: null, isDragged: false };
  const observer = new ResizeObserver(() => {
    if (node.clientWidth === plot.width) return;
    plot.width = node.clientWidth;
    onResize();
  });
  observer.observe(node);
  if (onDrag) follow(plot, onDrag, onResize);
  plot.draw = (spec) => draw(plot, spec);
  plot.stop = () => observer.disconnect();
  return plot;
}

/** Drag: the pointer's place in the plot's own coordinates, from press to release. */
function follow(plot, onDrag, onResize) {
  const { picture } = plot;
  picture.classList.add("fastattn-draggable");
  const move = (event) => {
    const box = picture.getBoundingClientRect();
    onDrag(plot.x.invert(event.clientX - box.left), plot.y.invert(event.clientY - box.top));
  };
  const release = () => {
    if (!plot.isDragged) return;
    plot.isDragged = false;
    onResize();
  };
  picture.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || isScroll(plot, event)) return;
    plot.isDragged = true;
    picture.setPointerCapture(event.pointerId);
    move(event);
  });
  // Browsers do not ask parts of a picture for their touch-action, so a knob refuses to scroll here.
  picture.addEventListener("touchstart", (event) => {
    if (event.target.closest(".fastattn-knob")) event.preventDefault();
  }, { passive: false });
  picture.addEventListener("click", (event) => plot.spec?.isTapped && move(event));
  picture.addEventListener("pointermove", (event) => plot.isDragged && move(event));
  picture.addEventListener("pointerup", release);
  picture.addEventListener("pointercancel", release);
}

/** Where a knob moves both ways, a finger beside it scrolls the page; so does one on what is tapped. */
function isScroll({ spec }, { pointerType, target }) {
  if (spec?.isTapped && pointerType === "touch") return true;
  const hasKnob = [spec?.handle ?? []].flat().some(({ y }) => y !== undefined);
  return hasKnob && pointerType === "touch" && !target.closest(".fastattn-knob");
}

function draw(plot, spec) {
  // An axis that moved under the pointer could not be dragged along.
  const frozen = plot.isDragged && plot.spec ? { x: plot.spec.x } : {};
  plot.spec = { ...spec, ...frozen };
  // Asking for the width makes the browser lay out what was drawn before: ask only once.
  plot.width ||= plot.node.clientWidth;
  const width = plot.width || WIDTH_BEFORE_LAYOUT;
  const margin = { ...MARGIN, ...spec.margin };
  const box = { left: margin.left, top: margin.top, right: width - margin.right, bottom: plot.height - margin.bottom };
  if (spec.hasEqualUnits) Object.assign(plot.spec, equalUnits(plot.spec, box));
  plot.x = makeScale(plot.spec.x, box.left, box.right);
  plot.y = makeScale(plot.spec.y, box.bottom, box.top);
  const place = { x: plot.x, y: plot.y, box, hatch: plot.hatch };
  const marks = spec.marks.flatMap((mark) => MARKS[mark.kind](mark, place));
  plot.picture.setAttribute("width", width);
  plot.picture.setAttribute("viewBox", `0 0 ${width} ${plot.height}`);
  plot.picture.replaceChildren(
    definitions(plot, box),
    svg("g", {}, axes(plot, box)),
    svg("g", { "clip-path": `url(#${plot.clip})` }, marks),
    svg("g", {}, handles([spec.handle ?? []].flat(), place)),
    svg("g", {}, labelNodes(spec.marks.map((mark) => labelOf(mark, place)), box)),
  );
}

/** The axes, the one with room to spare made longer, so that a unit has one length on both. */
function equalUnits({ x, y }, box) {
  const unit = Math.max(Math.abs(x.max - x.min) / (box.right - box.left), Math.abs(y.max - y.min) / (box.bottom - box.top));
  const widened = (axis, pixels) => {
    const [middle, half] = [(axis.min + axis.max) / 2, (Math.sign(axis.max - axis.min) * unit * pixels) / 2];
    return { ...axis, min: middle - half, max: middle + half };
  };
  return { x: widened(x, box.right - box.left), y: widened(y, box.bottom - box.top) };
}

function definitions({ clip, hatch }, box) {
  const size = { x: box.left, y: box.top, width: Math.max(0, box.right - box.left), height: box.bottom - box.top };
  return svg("defs", {}, [
    svg("clipPath", { id: clip }, [svg("rect", size)]),
    svg("pattern", { id: hatch, width: 8, height: 8, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" }, [
      svg("line", { x1: 0, y1: 0, x2: 0, y2: 8, class: "fastattn-hatch" }),
    ]),
  ]);
}

function axes({ spec, x, y }, box) {
  const nodes = [...rowNames(spec, x, y), ...columnNames(spec, x, y, box)];
  if (spec.y.label !== undefined) {
    for (const [value, text] of ticks(spec.y, (box.bottom - box.top) / PIXELS_PER_TICK.y)) {
      const py = y(value).toFixed(1);
      nodes.push(svg("line", { x1: box.left, x2: box.right, y1: py, y2: py, class: "fastattn-grid" }));
      nodes.push(svg("text", { x: box.left - 8, y: Number(py) + 4, "text-anchor": "end", class: "fastattn-tick" }, [text]));
    }
    nodes.push(svg("text", { x: 4, y: 14, class: "fastattn-axis-label" }, [spec.y.label]));
  }
  if (spec.x.label !== undefined) {
    for (const [value, text] of ticks(spec.x, (box.right - box.left) / PIXELS_PER_TICK.x)) {
      const px = x(value).toFixed(1);
      nodes.push(svg("line", { x1: px, x2: px, y1: box.bottom, y2: box.bottom + 5, class: "fastattn-axis" }));
      nodes.push(svg("text", { x: px, y: box.bottom + 19, "text-anchor": "middle", class: "fastattn-tick" }, [text]));
    }
    nodes.push(svg("line", { x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom, class: "fastattn-axis" }));
    nodes.push(svg("text", { x: box.right, y: box.bottom + 37, "text-anchor": "end", class: "fastattn-axis-label" }, [spec.x.label]));
  }
  return nodes;
}

/** The names of the rows of a table, left of it, and its title. */
function rowNames({ y: { names = [], title } }, x, y) {
  const every = nameStep(names, y);
  const px = Number((x(0) - 5).toFixed(1));
  const nodes = names.flatMap((name, i) => (i % every ? [] : svg("text", {
    x: px, y: Number((y(i + 0.5) + 4).toFixed(1)), "text-anchor": "end", class: "fastattn-name",
  }, [name])));
  if (title !== undefined) nodes.push(svg("text", { x: 4, y: 14, class: "fastattn-axis-label" }, [title]));
  return nodes;
}

/** The names of columns, upright, above the table or the plot. */
function columnNames({ x: { names = [] }, y: { names: hasRows } }, x, y, box) {
  const every = nameStep(names, x);
  const py = Number(((hasRows ? y(0) : box.top) - 5).toFixed(1));
  return names.flatMap((name, j) => (j % every ? [] : svg("text", {
    transform: `translate(${(x(j + 0.5) + 4).toFixed(1)} ${py}) rotate(-90)`, class: "fastattn-name",
  }, [name])));
}

/** Every how many names there is room for one. */
function nameStep(names, place) {
  return names.length ? Math.ceil(PIXELS_PER_NAME / Math.abs(place(1) - place(0))) : 1;
}

/** What the pointer takes hold of; sliders do the same by keys. A handle with x and y is a knob. */
function handles(list, place) {
  return list.flatMap((handle) => (handle.y === undefined ? grip(handle, place) : knob(handle, place)));
}

/** A round handle that moves both ways, with room around it for a finger. */
function knob({ x: valueX, y: valueY, label }, { x, y }) {
  const [cx, cy] = [x(valueX), y(valueY)].map((pixel) => Number(pixel.toFixed(1)));
  return [svg("g", { class: "fastattn-knob" }, [
    svg("circle", { cx, cy, r: 22, class: "fastattn-knob-room" }),
    svg("circle", { cx, cy, r: 9, class: "fastattn-handle" }),
    svg("circle", { cx, cy, r: 3, class: "fastattn-grip" }),
    svg("text", { x: cx + 13, y: cy - 9, class: "fastattn-label fastattn-accent" }, [label]),
  ])];
}

/** A vertical line with a grip, which moves sideways. */
function grip({ x: value, label }, { x, box }) {
  const px = Number(x(value).toFixed(1));
  if (px < box.left - 1 || px > box.right + 1) return [];
  const middle = box.bottom - 24;
  const isFarRight = px > (box.left + box.right) / 2;
  const nodes = [
    svg("line", { x1: px, x2: px, y1: box.top, y2: box.bottom, class: "fastattn-handle-line" }),
    svg("rect", { x: px - 6, y: middle - 14, width: 12, height: 28, rx: 6, class: "fastattn-handle" }),
    svg("path", { d: `M${px - 2} ${middle - 5}v10M${px + 2} ${middle - 5}v10`, class: "fastattn-grip" }),
  ];
  if (label) nodes.push(svg("text", { x: px + (isFarRight ? -8 : 8), y: box.top - 6, "text-anchor": isFarRight ? "end" : "start", class: "fastattn-label fastattn-accent" }, [label]));
  return nodes;
}
