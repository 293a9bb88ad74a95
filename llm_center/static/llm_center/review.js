// Keyboard shortcuts of the review queue, and decisions in a dialog. Without this script the links open pages.
"use strict";
(() => {
  const dialog = document.getElementById("decide-dialog");
  const help = document.getElementById("help-dialog");
  const rows = [...document.querySelectorAll(".review-row")];
  let current = -1;

  // Live totals.
  const live = document.querySelector("[data-live-from]");
  if (live && window.EventSource) {
    const events = new EventSource(live.dataset.liveFrom);
    events.addEventListener("message", (event) => {
      for (const [name, value] of Object.entries(JSON.parse(event.data))) {
        const element = live.querySelector(`[data-live="${name}"]`);
        if (element && element.textContent !== value) element.textContent = value;
      }
    });
    window.addEventListener("pagehide", () => events.close());
  }

  function select(index) {
    if (!rows.length) return;
    rows[current]?.classList.remove("is-current");
    current = Math.max(0, Math.min(rows.length - 1, index));
    rows[current].classList.add("is-current");
    rows[current].focus({ preventScroll: true });
    rows[current].scrollIntoView({ block: "nearest" });
  }

  function suggest(input) {
    const list = input.parentElement.querySelector("datalist");
    let latest = 0;
    input.addEventListener("input", async () => {
      const term = input.value.trim();
      const request = ++latest;
      if (!term) return;
      const response = await fetch(`${input.dataset.companies}?q=${encodeURIComponent(term)}`);
      if (!response.ok || request !== latest) return;
      const { companies } = await response.json();
      list.replaceChildren(...companies.map((company) => {
        const option = document.createElement("option");
        option.value = company.ticker;
        option.label = `${company.name} (${company.exchange})`;
        return option;
      }));
    });
  }

  function prepare(form, address) {
    form.querySelectorAll("input[data-companies]").forEach(suggest);
    if (!dialog || !dialog.contains(form)) return;
    form.querySelector("#ticker-form")?.addEventListener("submit", (event) => {
      event.preventDefault();
      const ticker = new FormData(event.target).get("ticker");
      open(`${address.split("?")[0]}?ticker=${encodeURIComponent(ticker)}`);
    });
    form.querySelectorAll(".kamioi-cancel").forEach((link) => link.addEventListener("click", (event) => {
      event.preventDefault();
      dialog.close();
    }));
    form.querySelector("[autofocus]")?.focus();
  }

  async function open(address) {
    const response = await fetch(address);
    // Only the form is used. The CSP would reject the page's own styles, because their nonce belongs to another request.
    const text = (await response.text()).replace(/<style[^]*?<\/style>/g, "");
    const page = new DOMParser().parseFromString(text, "text/html");
    const form = page.getElementById("decide");
    if (!response.ok || !form) { window.location.assign(address); return; }
    form.classList.remove("kamioi-card");
    dialog.replaceChildren(document.adoptNode(form));
    if (!dialog.open) dialog.showModal();
    prepare(form, address);
  }

  const page = document.getElementById("decide");
  if (page) prepare(page, window.location.href);
  if (!dialog) return;

  dialog.addEventListener("close", () => { if (current >= 0) rows[current].focus(); });
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-dialog]");
    if (!link || event.metaKey || event.ctrlKey || event.shiftKey || event.button) return;
    event.preventDefault();
    const row = rows.indexOf(link.closest(".review-row"));
    if (row >= 0) select(row);
    open(link.href);
  });
  document.addEventListener("keydown", (event) => {
    if (dialog.open || help.open || event.metaKey || event.ctrlKey || event.altKey) return;
    if (event.target.closest("input, textarea, select, [contenteditable]")) return;
    if (event.key === "j" || event.key === "k") {
      event.preventDefault();
      select(current + (event.key === "j" ? 1 : -1));
    } else if (event.key === "?") {
      event.preventDefault();
      help.showModal();
    } else if (event.key === "u") {
      const undo = document.querySelector("a[data-undo]");
      if (undo) { event.preventDefault(); open(undo.href); }
    } else if (current >= 0 && "aenx".includes(event.key)) {
      const link = rows[current].querySelector(`a[data-key="${event.key}"]`);
      if (link) { event.preventDefault(); open(link.href); }
    }
  });
})();
