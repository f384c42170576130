// A picture of the plots, with the colours they have on the page now.
import { element, svg } from "./dom.js";

const STYLES = [
  "fill", "fill-opacity", "stroke", "stroke-opacity", "stroke-width", "stroke-dasharray", "stroke-linejoin",
  "font-family", "font-size", "font-weight", "text-anchor", "opacity", "display", "paint-order",
];
const MARGIN = 16;
const PIXELS_PER_UNIT = 2;

/** One SVG element with all plots of a figure, one below the other, styles written out. */
function picture(plots, background) {
  const boxes = plots.map((plot) => plot.getBoundingClientRect());
  const width = Math.max(...boxes.map((box) => box.width)) + 2 * MARGIN;
  const height = boxes.reduce((sum, box) => sum + box.height + MARGIN, MARGIN);
  const root = svg("svg", { xmlns: "http://www.w3.org/2000/svg", width, height, viewBox: `0 0 ${width} ${height}` });
  root.append(svg("rect", { width, height, fill: background }));
  let top = MARGIN;
  plots.forEach((plot, i) => {
    const group = svg("g", { transform: `translate(${MARGIN} ${top})` });
    for (const child of plot.children) group.append(withStyles(child));
    root.append(group);
    top += boxes[i].height + MARGIN;
  });
  return root;
}

function withStyles(source) {
  const copy = source.cloneNode(false);
  copy.removeAttribute("class");
  const style = getComputedStyle(source);
  for (const name of STYLES) {
    const value = style.getPropertyValue(name);
    if (value) copy.setAttribute(name, value.replaceAll('"', "'"));
  }
  for (const child of source.childNodes) {
    copy.append(child.nodeType === Node.ELEMENT_NODE ? withStyles(child) : child.cloneNode());
  }
  return copy;
}

function save(blob, name) {
  const address = URL.createObjectURL(blob);
  const link = element("a", { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}

function svgBlob(plots, background) {
  const text = new XMLSerializer().serializeToString(picture(plots, background));
  return new Blob([text], { type: "image/svg+xml" });
}

/** Save the plots as one SVG file. */
export function downloadSvg(plots, background, name) {
  save(svgBlob(plots, background), `${name}.svg`);
}

/** Save the plots as one PNG file, two pixels a unit. */
export async function downloadPng(plots, background, name) {
  const reader = new FileReader();
  reader.readAsDataURL(svgBlob(plots, background));
  await new Promise((resolve) => { reader.onload = resolve; });
  const image = new Image();
  image.src = reader.result;
  await image.decode();
  const canvas = element("canvas", {
    width: PIXELS_PER_UNIT * image.naturalWidth, height: PIXELS_PER_UNIT * image.naturalHeight,
  });
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  canvas.toBlob((blob) => save(blob, `${name}.png`), "image/png");
}
