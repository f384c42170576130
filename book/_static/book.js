// Repairs of the theme that need a script: boxes that scroll can be scrolled by keyboard.
"use strict";

const SCROLLING = ".katex-display, pre, .pst-scrollable-table-container, .text_html";

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

document.fonts.ready.then(repair);
window.addEventListener("resize", repair);
