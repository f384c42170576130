// The frame of every figure: title, controls, plots, readouts, a sentence, tools.
import { button, choice, readouts, slider, toggle } from "./controls.js";
import { downloadPng, downloadSvg } from "./download.js";
import { element, uniqueId } from "./dom.js";
import { parametersOf } from "./parameters.js";
import { makePlot } from "./plot.js";
import { pythonLine, writeHash } from "./permalink.js";
import { say } from "./words.js";

/** A pause after which the sentence is read out, so that a drag is not read value by value. */
const QUIET_MILLISECONDS = 350;

/**
 * A figure in anywidget's form. `build(frame)` makes the parts once and returns
 * `{ draw(state), summary(state), stop() }`; draw runs after every change, at most once a frame,
 * and stop, where there is one, when the figure leaves the page.
 */
export function defineFigure(name, build, { toolbar = true } = {}) {
  return {
    render({ model, el, page }) {
      const frame = new Frame(name, model, page);
      const parts = build(frame);
      frame.finish(parts, toolbar);
      el.append(frame.node);
      frame.start(parts);
      return () => frame.stop();
    },
  };
}

class Frame {
  constructor(name, model, page) {
    this.name = name;
    this.model = model;
    this.page = page;
    this.specs = parametersOf(name);
    this.initial = page?.initial ?? this.state();
    this.watched = Object.keys(this.specs);
    this.shown = [];
    this.plots = [];
    this.controls = element("div", { class: "fastattn-controls", role: "group", "aria-label": say("common", "controls") });
    this.body = element("div", { class: "fastattn-body" });
    this.sentence = element("p", { class: "fastattn-sentence" });
    this.live = element("p", { class: "fastattn-live", role: "status", "aria-live": "polite" });
    const id = uniqueId("title");
    this.title = element("div", { class: "fastattn-title", id }, [this.say("title")]);
    this.node = element("section", { class: "fastattn", "data-figure": name, "aria-labelledby": id });
    // JupyterLab would take the keys for its own shortcuts.
    this.node.addEventListener("keydown", (event) => event.stopPropagation());
  }

  say(key, values) {
    return say(this.name, key, values);
  }

  state() {
    return Object.fromEntries(Object.keys(this.specs).map((key) => [key, this.model.get(key)]));
  }

  /** Redraw also when this trait, which is no parameter, changes. */
  watch(name) {
    this.watched.push(name);
  }

  /** Change parameters: here, in the kernel if there is one, and in what is drawn. */
  set(values) {
    for (const [key, value] of Object.entries(values)) this.model.set(key, value);
    this.model.save_changes();
  }

  element(tag, attributes, children) {
    return element(tag, attributes, children);
  }

  slider(key) {
    this.control(key, slider(this.specs[key], this.say(key), (value) => this.set({ [key]: value })));
  }

  choice(key) {
    const nameOf = (option) => this.say(`${key}.${option}`);
    const onChange = (value) => this.set({ [key]: value });
    this.control(key, choice(this.specs[key].options, this.say(key), nameOf, onChange));
  }

  toggle(key) {
    this.control(key, toggle(this.say(key), (value) => this.set({ [key]: value })));
  }

  control(key, made) {
    made.node.dataset.parameter = key;
    this.controls.append(made.node);
    this.shown.push((state) => made.show(state[key]));
  }

  /** A plot: `height` in pixels, `label` for screen readers, `onDrag(x, y)` in its coordinates. */
  plot(options) {
    const plot = makePlot({ ...options, onResize: () => this.changed() });
    this.plots.push(plot);
    this.body.append(plot.node);
    return plot;
  }

  /** Named numbers; the label of `key` is the text "readout_key". */
  readouts(keys) {
    const made = readouts(Object.fromEntries(keys.map((key) => [key, this.say(`readout_${key}`)])));
    this.node.append(made.node);
    return made;
  }

  finish(parts, hasToolbar) {
    const own = [...this.node.children];
    this.node.append(this.title, this.controls, this.body, ...own, this.sentence, this.live);
    if (hasToolbar) this.node.append(this.toolbar());
    this.parts = parts;
  }

  start() {
    this.listener = () => this.changed();
    for (const key of this.watched) this.model.on(`change:${key}`, this.listener);
    this.redraw();
  }

  stop() {
    for (const key of this.watched) this.model.off(`change:${key}`, this.listener);
    for (const plot of this.plots) plot.stop();
    this.parts?.stop?.();
    clearTimeout(this.timer);
  }

  /** Ask for a redraw in the next frame. */
  changed() {
    if (this.request || !this.parts) return;
    this.request = requestAnimationFrame(() => {
      this.request = 0;
      this.redraw();
    });
  }

  redraw() {
    const start = performance.now();
    const state = this.state();
    for (const show of this.shown) show(state);
    this.parts.draw?.(state);
    const sentence = this.parts.summary?.(state) ?? "";
    if (this.sentence.textContent !== sentence) this.tell(sentence);
    const milliseconds = performance.now() - start;
    this.node.dispatchEvent(new CustomEvent("fastattn-redraw", { bubbles: true, detail: { milliseconds } }));
  }

  /** Show the sentence at once, and have it read out when the reader pauses. */
  tell(sentence) {
    const isFirst = this.sentence.textContent === "";
    this.sentence.textContent = sentence;
    clearTimeout(this.timer);
    if (!isFirst) this.timer = setTimeout(() => { this.live.textContent = sentence; }, QUIET_MILLISECONDS);
  }

  toolbar() {
    const common = (key) => say("common", key);
    const background = () => getComputedStyle(this.node).backgroundColor;
    const pictures = () => this.plots.map((plot) => plot.picture);
    const tools = [
      button(common("reset"), () => this.set(this.initial)),
      button(common(this.page ? "copy_link" : "copy_python"), () => this.copy(bar)),
    ];
    if (this.plots.length) {
      tools.push(
        button(common("download_png"), () => downloadPng(pictures(), background(), this.name), common("download_png_label")),
        button(common("download_svg"), () => downloadSvg(pictures(), background(), this.name), common("download_svg_label")),
      );
    }
    const bar = element("div", { class: "fastattn-tools", role: "group", "aria-label": common("tools") }, tools);
    return bar;
  }

  /** Copy the permalink (or, with a kernel, the line of Python), or show it where that fails. */
  async copy(bar) {
    const text = this.page ? this.address() : pythonLine(this.name, this.state(), this.specs);
    bar.querySelector(".fastattn-copied")?.remove();
    try {
      await navigator.clipboard.writeText(text);
      bar.append(element("span", { class: "fastattn-copied", role: "status" }, [say("common", "copied")]));
    } catch {
      const input = element("input", { type: "text", readonly: true, value: text, "aria-label": say("common", "copy_by_hand") });
      bar.append(element("span", { class: "fastattn-copied" }, [input]));
      input.select();
    }
  }

  /** Put the state into the address, and return the address. */
  address() {
    const hash = writeHash(location.hash, this.page.key, this.state());
    history.replaceState(history.state, "", hash);
    return location.href;
  }
}
