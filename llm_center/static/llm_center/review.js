// Keyboard shortcuts of the review queue, and decisions in a dialog. Without this script the links open pages.
"use strict";
(() => {
  const dialog = document.getElementById("decide-dialog");
  const help = document.getElementById("help-dialog");
  const rows = [...document.querySelectorAll(".review-row")];
  const TOP = 80; // height of the bar above the page, in pixels
  let current = -1, next = [];

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

  // The merchants on which to go on after this decision, the next one first; the page that follows selects it.
  function remember(keys) {
    sessionStorage.setItem("review-next", JSON.stringify(keys));
  }

  function takeRemembered() {
    const keys = JSON.parse(sessionStorage.getItem("review-next") || "[]");
    sessionStorage.removeItem("review-next");
    const found = keys.map((key) => rows.findIndex((row) => row.dataset.merchant === key)).find((index) => index >= 0);
    return found ?? 0;
  }

  // A field that suggests companies while one types (the combobox pattern of WAI-ARIA).
  function suggest(input) {
    const list = document.getElementById(input.getAttribute("aria-controls"));
    const hint = document.getElementById(input.getAttribute("aria-describedby"));
    let options = [], active = -1, latest = 0, timer = 0, waiting = false, steps = 0, take = false;

    function activate(index) {
      options[active]?.setAttribute("aria-selected", "false");
      input.removeAttribute("aria-activedescendant");
      active = index;
      if (!options[active]) return;
      options[active].setAttribute("aria-selected", "true");
      options[active].scrollIntoView({ block: "nearest" });
      input.setAttribute("aria-activedescendant", options[active].id);
    }

    // After the last one comes the first one.
    function move(step) {
      const from = active < 0 && step < 0 ? 0 : active;
      if (options.length) activate((from + step + options.length) % options.length);
    }

    function show(companies) {
      options = companies.map((company, index) => {
        const option = document.createElement("li"), ticker = document.createElement("strong");
        const exchange = document.createElement("span");
        option.id = `company-${index}`;
        option.setAttribute("role", "option");
        option.setAttribute("aria-selected", "false");
        option.dataset.ticker = ticker.textContent = company.ticker;
        exchange.textContent = company.exchange;
        option.append(ticker, company.name, exchange);
        return option;
      });
      list.replaceChildren(...options);
      list.hidden = !options.length;
      input.setAttribute("aria-expanded", String(!list.hidden));
      activate(-1);
    }

    function close() {
      clearTimeout(timer);
      latest++;
      waiting = take = false;
      steps = 0;
      show([]);
      hint.textContent = "";
    }

    function choose(option) {
      input.value = option.dataset.ticker;
      close();
      input.form.requestSubmit();
    }

    async function load(term, request) {
      let companies = [];
      try {
        const response = await fetch(`${input.dataset.companies}?q=${encodeURIComponent(term)}`);
        if (response.ok) ({ companies } = await response.json());
      } catch { /* offline: the ticker can still be typed */ }
      if (request !== latest) return;
      waiting = false;
      show(companies);
      hint.textContent = options.length ? "Use ↓ and ↑ to choose, Enter to select." : "No listed company matches.";
      // Keys pressed before the answer came.
      const chosen = take;
      for (; steps > 0; steps--) move(1);
      for (; steps < 0; steps++) move(-1);
      take = false;
      if (chosen && options[active]) choose(options[active]);
    }

    input.addEventListener("input", () => {
      const term = input.value.trim(), request = ++latest;
      clearTimeout(timer);
      if (term.length < 2) { close(); return; }
      activate(-1);
      waiting = true;
      timer = setTimeout(load, 80, term, request);
    });
    input.addEventListener("keydown", (event) => {
      if (event.key === "ArrowDown" || event.key === "ArrowUp") {
        event.preventDefault();
        if (waiting) steps += event.key === "ArrowDown" ? 1 : -1;
        else move(event.key === "ArrowDown" ? 1 : -1);
      } else if (event.key === "Enter" && waiting && steps) {
        event.preventDefault();
        take = true;
      } else if (event.key === "Enter" && active >= 0) {
        event.preventDefault();
        choose(options[active]);
      } else if (event.key === "Escape" && (options.length || waiting)) {
        event.preventDefault(); // the dialog stays open
        close();
      }
    });
    // Within the form the list stays: closing it would move the button that is being clicked.
    input.addEventListener("blur", (event) => {
      if (event.relatedTarget && !input.form.contains(event.relatedTarget)) close();
    });
    list.addEventListener("mousedown", (event) => event.preventDefault()); // the field keeps the focus
    list.addEventListener("click", (event) => {
      const option = event.target.closest("[role=option]");
      if (option) choose(option);
    });
  }

  // Similar merchants that one decision settles as well.
  function chooseSimilar(fieldset) {
    const boxes = [...fieldset.querySelectorAll("[name=similar]:not(:disabled)")];
    const all = fieldset.querySelector("[data-all]"), box = all.querySelector("input"), sum = fieldset.querySelector("[data-sum]");
    function show() {
      const checked = boxes.filter((one) => one.checked), parts = [fieldset, ...checked];
      const count = parts.reduce((total, part) => total + Number(part.dataset.count), 0);
      const amount = parts.reduce((total, part) => total + Number(part.dataset.amount), 0);
      const dollars = amount.toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
      const transactions = `${count.toLocaleString("en-US")} ${count === 1 ? "transaction" : "transactions"}`;
      sum.textContent = checked.length
        ? `${checked.length + 1} merchants in total: ${transactions}, $${dollars} of round-ups.`
        : "Only this merchant is decided.";
      box.checked = checked.length === boxes.length;
      box.indeterminate = checked.length > 0 && !box.checked;
    }
    box.addEventListener("change", () => { boxes.forEach((one) => { one.checked = box.checked; }); show(); });
    boxes.forEach((one) => one.addEventListener("change", show));
    all.hidden = boxes.length < 2;
    sum.hidden = false;
    show();
  }

  function prepare(form, address) {
    form.querySelectorAll("input[data-companies]").forEach(suggest);
    form.querySelectorAll(".review-choices").forEach(chooseSimilar);
    form.querySelectorAll("form[method=post]").forEach((post) => post.addEventListener("submit", (event) => {
      if (post.dataset.sent) { event.preventDefault(); return; } // a second Enter
      post.dataset.sent = "true";
      if (next.length) remember(next);
    }));
    if (!dialog || !dialog.contains(form)) return;
    form.querySelector("#ticker-form")?.addEventListener("submit", (event) => {
      event.preventDefault();
      const preview = new URL(address, window.location.href);
      preview.searchParams.set("ticker", new FormData(event.target).get("ticker"));
      open(preview.href);
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
    // The evidence stays in sight above the dialog.
    const row = rows[current]?.getBoundingClientRect();
    const covered = row ? row.bottom + 8 - dialog.getBoundingClientRect().top : 0;
    if (covered > 0) window.scrollBy(0, Math.min(covered, Math.max(0, row.top - TOP)));
  }

  // Open the dialog of a link, of a row or to undo a decision.
  function decide(link) {
    const keys = rows.map((row) => row.dataset.merchant);
    next = link.dataset.undoes
      ? [link.dataset.undoes]
      : [...keys.slice(current + 1), ...keys.slice(0, Math.max(current, 0)).reverse()];
    open(link.href);
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
    decide(link);
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
      if (undo) { event.preventDefault(); decide(undo); }
    } else if (current >= 0 && "aenx".includes(event.key)) {
      const link = rows[current].querySelector(`a[data-key="${event.key}"]`);
      if (link) { event.preventDefault(); decide(link); }
    }
  });

  // The keys work at once. Where somebody has begun to type meanwhile, or follows a link into the page, the focus stays.
  const start = takeRemembered(), busy = document.activeElement && document.activeElement !== document.body;
  if (!busy && !window.location.hash) select(start);
})();
