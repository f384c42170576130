// Repairs of the theme that need a script.
"use strict";

const SCROLLING = ".katex-display, pre, .pst-scrollable-table-container, .text_html";

/** A box that scrolls can be scrolled by keyboard. */
function makeScrollable(box) {
  if (box.scrollWidth <= box.clientWidth + 1 || box.hasAttribute("tabindex")) return;
  box.tabIndex = 0;
  box.setAttribute("role", "group");
  box.setAttribute("aria-label", "Scrolls sideways");
}

function repair() {
  document.querySelectorAll(SCROLLING).forEach(makeScrollable);
  const sidebar = document.querySelector(".bd-sidebar-primary");
  if (sidebar) {
    sidebar.setAttribute("role", "region");
    sidebar.setAttribute("aria-label", "Book");
  }
}

// The search page shows a piece of every page it finds; a browser may not read files for that.
if (location.protocol === "file:" && typeof DOCUMENTATION_OPTIONS !== "undefined") {
  DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
}

document.fonts.ready.then(repair);
window.addEventListener("resize", repair);
