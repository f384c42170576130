// Elements without a framework.

const SVG = "http://www.w3.org/2000/svg";

/** An HTML element with properties and attributes, and children (elements or text). */
export function element(tag, properties = {}, children = []) {
  return filled(document.createElement(tag), properties, children);
}

/** The same for SVG. */
export function svg(tag, attributes = {}, children = []) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...[children].flat());
  return node;
}

let count = 0;

/** An id that no other element of the page has. */
export function uniqueId(stem) {
  count += 1;
  return `fastattn-${stem}-${count}`;
}
