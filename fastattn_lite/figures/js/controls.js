// Native controls with labels: arrow keys, Home, End and page keys work as everywhere.
import { element, uniqueId } from "./dom.js";
import { gridOf, nearest } from "./parameters.js";
import { formatNumber } from "./format.js";

/** A slider over the grid of a parameter. `show(value)` moves it, `onChange(value)` hears it. */
export function slider(spec, label, onChange) {
  const grid = gridOf(spec);
  const id = uniqueId("slider");
  // Not live: a screen reader hears the value from the slider itself.
  const output = element("output", { for: id, class: "fastattn-value", "aria-live": "off" });
  const input = element("input", {
    id, type: "range", min: 0, max: grid.length - 1, step: 1,
    oninput: () => onChange(grid[Number(input.value)]),
  });
  const name = element("label", { for: id }, [label]);
  const node = element("div", { class: "fastattn-slider" }, [name, output, input]);
  return {
    node,
    show(value) {
      const text = spec.kind === "integer" || value >= 1000 ? formatNumber(value) : String(value);
      input.value = nearest(grid, value);
      input.setAttribute("aria-valuetext", text);
      input.style.setProperty("--fastattn-filled", `${(100 * input.value) / (grid.length - 1)}%`);
      output.textContent = text;
    },
  };
}

/** One of several: a group of radio buttons, drawn as one bar. */
export function choice(options, legend, nameOf, onChange) {
  const group = uniqueId("choice");
  const inputs = options.map((option) =>
    element("input", { type: "radio", name: group, value: option, onchange: () => onChange(option) }));
  const labels = options.map((option, i) => element("label", {}, [
    inputs[i], element("span", {}, [nameOf(option)]),
  ]));
  const bar = element("div", { class: "fastattn-bar" }, labels);
  const node = element("fieldset", { class: "fastattn-choice" }, [element("legend", {}, [legend]), bar]);
  return {
    node,
    show(value) {
      inputs.forEach((input) => { input.checked = input.value === value; });
    },
  };
}

/** On or off. */
export function toggle(label, onChange) {
  const input = element("input", { type: "checkbox", onchange: () => onChange(input.checked) });
  const node = element("label", { class: "fastattn-toggle" }, [input, element("span", {}, [label])]);
  return { node, show(value) { input.checked = value; } };
}

/** A push button. */
export function button(text, onclick, label = text) {
  return element("button", { type: "button", "aria-label": label === text ? undefined : label, onclick }, [text]);
}

/** Named numbers beside the plot. */
export function readouts(entries) {
  const values = {};
  const rows = Object.entries(entries).map(([key, label]) => {
    values[key] = element("dd");
    return element("div", {}, [element("dt", {}, [label]), values[key]]);
  });
  return {
    node: element("dl", { class: "fastattn-readouts" }, rows),
    show(texts) {
      for (const [key, text] of Object.entries(texts)) {
        if (values[key].textContent !== text) values[key].textContent = text;
      }
    },
  };
}
