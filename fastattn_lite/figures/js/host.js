// The host on a page without a kernel: <fastattn-figure> with a model in memory.
import { parametersOf, valid } from "./parameters.js";
import { readHash } from "./permalink.js";
import { say } from "./words.js";

/** A model with the methods of anywidget's that figures use, and no kernel behind it. */
export function memoryModel(initial) {
  const state = { ...initial };
  const listeners = new Map();
  const heard = (event) => [...(listeners.get(event) ?? [])];
  return {
    get: (name) => state[name],
    set(name, value) {
      if (state[name] === value) return;
      state[name] = value;
      for (const listener of [...heard(`change:${name}`), ...heard("change")]) listener();
    },
    save_changes() {},
    on(event, listener) {
      listeners.set(event, [...heard(event), listener]);
    },
    off(event, listener) {
      listeners.set(event, heard(event).filter((other) => listener && other !== listener));
    },
  };
}

/** The parameters of a figure from its element; what is missing or wrong takes its default. */
function initialState(name, text) {
  let given = {};
  try {
    given = JSON.parse(text) ?? {};
  } catch {
    // The defaults are better than no figure.
  }
  const specs = parametersOf(name);
  const entries = Object.entries(specs).map(([key, spec]) => [key, valid(spec, given[key])]);
  return { ...given, ...Object.fromEntries(entries) };
}

/** The name of an element in permalinks: CostRace, and CostRace2 for the second on a page. */
function keyOf(node, name) {
  const alike = [...document.querySelectorAll(`fastattn-figure[name="${name}"]`)];
  const place = alike.indexOf(node);
  return place > 0 ? `${name}${place + 1}` : name;
}

/** Make every <fastattn-figure> of the page one of the `figures`. */
export function host(figures) {
  customElements.define("fastattn-figure", class extends HTMLElement {
    connectedCallback() {
      const name = this.getAttribute("name");
      if (this.model || !Object.hasOwn(figures, name)) return;
      const initial = initialState(name, this.getAttribute("state"));
      const key = keyOf(this, name);
      this.model = memoryModel(initial);
      this.replaceChildren();
      try {
        figures[name].render({ model: this.model, el: this, page: { key, initial } });
        this.followAddress(key, parametersOf(name));
      } catch (error) {
        this.textContent = say("common", "failed", { reason: error.message });
        throw error;
      }
    }

    /** Take the state from the address now and whenever it changes. */
    followAddress(key, specs) {
      const follow = (isFirst) => {
        const state = readHash(location.hash, key, specs);
        for (const [name, value] of Object.entries(state)) this.model.set(name, value);
        if (isFirst && Object.keys(state).length) requestAnimationFrame(() => this.scrollIntoView());
      };
      follow(true);
      addEventListener("hashchange", () => follow(false));
    }
  });
}
