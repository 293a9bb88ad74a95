// Draws the charts of the dashboards, refreshes panels, and saves charts as images.
"use strict";
(() => {
  const grid = document.querySelector("[data-dashboard]");
  if (!grid) return;
  const charts = new Map(); // panel → its chart

  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const colour = (text) => (text.startsWith("var(") ? style(text.slice(4, -1)) : text);
  const isDark = () => document.documentElement.classList.contains("dark");

  function formatValue(value, unit) {
    if (value === null || value === undefined) return "–";
    const digits = unit === "$" ? (Math.abs(value) < 1 && value !== 0 ? 4 : 2) : unit === "%" ? 1 : 0;
    const text = Math.abs(value).toLocaleString("en-US", { minimumFractionDigits: unit ? Math.min(digits, 2) : 0, maximumFractionDigits: digits });
    return `${value < 0 ? "−" : ""}${unit === "$" ? "$" : ""}${text}${unit === "%" ? "%" : ""}`;
  }

  function formatTick(value, unit) {
    const text = Math.abs(value).toLocaleString("en-US", { notation: "compact", maximumFractionDigits: Math.abs(value) < 1 ? 4 : 1 });
    return `${value < 0 ? "−" : ""}${unit === "$" ? "$" : ""}${text}${unit === "%" ? "%" : ""}`;
  }

  function chartConfig(data) {
    const horizontal = data.kind === "hbar", round = data.kind === "doughnut";
    const text = isDark() ? style("--color-base-300") : style("--color-base-600");
    const lines = isDark() ? style("--color-base-700") : style("--color-base-200");
    const hasLine = data.series.some((series) => series.line);
    const datasets = data.series.map((series) => {
      const own = series.colour.split(",").map(colour), one = own.length === 1 ? own[0] : own;
      return {
        label: series.label, data: series.values, backgroundColor: one, borderColor: round ? (isDark() ? style("--color-base-900") : "#fff") : one,
        type: series.line ? "line" : undefined, yAxisID: series.line ? "right" : undefined, order: series.line ? 0 : 1, spanGaps: true,
        stack: data.stacked && !series.line ? "all" : undefined, borderWidth: round ? 2 : series.line || data.kind === "line" ? 2 : 0,
        pointRadius: data.labels.length > 45 ? 0 : 2.5, pointHoverRadius: 5, tension: 0.25, maxBarThickness: 44, borderRadius: data.stacked ? 0 : 3,
        fill: data.kind === "line" && !series.line ? { target: "origin", above: `${own[0]}22` } : false,
      };
    });
    const values = { beginAtZero: true, stacked: data.stacked, border: { display: false }, grid: { color: lines },
      ticks: { color: text, maxTicksLimit: 6, precision: data.unit ? undefined : 0, callback: (value) => formatTick(value, data.unit) } };
    const names = { stacked: data.stacked, grid: { display: false }, border: { color: lines }, ticks: { color: text, maxRotation: 0, autoSkip: true, autoSkipPadding: 12 } };
    if (horizontal || data.labels.length <= 8) Object.assign(names.ticks, { autoSkip: false, maxRotation: 40 });
    const scales = round ? {} : horizontal ? { x: values, y: names } : { x: names, y: values };
    if (hasLine) scales.right = { position: "right", beginAtZero: true, suggestedMax: data.line_unit === "%" ? 100 : undefined, grid: { display: false }, border: { display: false },
      ticks: { color: text, maxTicksLimit: 6, callback: (value) => formatTick(value, data.line_unit) } };
    return {
      type: horizontal ? "bar" : data.kind,
      data: { labels: data.labels, datasets },
      options: {
        animation: false, responsive: true, maintainAspectRatio: false, indexAxis: horizontal ? "y" : "x", scales, cutout: round ? "62%" : undefined,
        interaction: round ? undefined : { mode: "index", intersect: false, axis: horizontal ? "y" : "x" },
        plugins: {
          legend: { display: round || data.series.length > 1, position: round ? "right" : "bottom", align: round ? "center" : "start",
            labels: { color: text, usePointStyle: true, pointStyle: "circle", boxWidth: 7, boxHeight: 7, padding: 12 } },
          tooltip: { callbacks: { label: (item) => {
            const series = data.series[item.datasetIndex], value = series.values[item.dataIndex];
            const label = round ? item.label : series.label;
            return ` ${label}: ${formatValue(value, series.line ? data.line_unit : data.unit)}`;
          } } },
        },
        onClick: (event, items, chart) => {
          const hits = items.length ? items : chart.getElementsAtEventForMode(event.native, "index", { intersect: false, axis: horizontal ? "y" : "x" }, false);
          const link = hits.length && data.links[hits[0].index];
          if (link) window.location.assign(link);
        },
      },
    };
  }

  function draw(panel) {
    charts.get(panel)?.destroy();
    charts.delete(panel);
    const source = panel.querySelector("[data-chart] script"), canvas = panel.querySelector("canvas");
    if (!source || !canvas) return;
    const data = JSON.parse(source.textContent);
    canvas.classList.toggle("is-clickable", data.links.some(Boolean));
    Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
    Chart.defaults.font.size = 12;
    charts.set(panel, new Chart(canvas, chartConfig(data)));
    panel.querySelector("[data-png]")?.removeAttribute("hidden");
  }

  function savePng(panel) {
    const canvas = panel.querySelector("canvas"), ratio = canvas.width / canvas.clientWidth, edge = 16 * ratio, head = 40 * ratio;
    const image = document.createElement("canvas");
    image.width = canvas.width + 2 * edge;
    image.height = canvas.height + head + edge;
    const context = image.getContext("2d");
    context.fillStyle = isDark() ? style("--color-base-900") : "#fff";
    context.fillRect(0, 0, image.width, image.height);
    context.fillStyle = isDark() ? "#fff" : "#111";
    context.font = `600 ${15 * ratio}px ${getComputedStyle(document.body).fontFamily}`;
    context.fillText(panel.querySelector("h2").textContent, edge, 26 * ratio);
    context.drawImage(canvas, edge, head);
    image.toBlob((blob) => {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(blob);
      link.download = `${panel.dataset.name}.png`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    }, "image/png");
  }

  function fail(panel, message) {
    const head = panel.querySelector(".dash-head");
    charts.get(panel)?.destroy();
    charts.delete(panel);
    panel.replaceChildren(head);
    panel.querySelector(".dash-tools")?.remove();
    panel.removeAttribute("data-deferred");
    const state = document.createElement("div"), text = document.createElement("p"), again = document.createElement("button");
    state.className = "dash-state dash-failed";
    state.setAttribute("role", "alert");
    text.textContent = message;
    again.className = "dash-button";
    again.type = "button";
    again.dataset.again = "";
    again.textContent = "Try again";
    state.append(text, again);
    panel.append(state);
  }

  const requests = new Map(); // panel URL → number of its latest request; late responses of earlier ones are dropped

  async function load(panel) {
    const address = panel.dataset.panel, number = (requests.get(address) || 0) + 1;
    requests.set(address, number);
    panel.setAttribute("aria-busy", "true");
    const isOpen = panel.querySelector("details")?.open;
    try {
      const response = await fetch(address + window.location.search, { headers: { "X-Requested-With": "fetch" }, signal: AbortSignal.timeout(20_000) });
      if (requests.get(address) !== number) return;
      if (!response.ok || response.redirected) throw new Error(response.redirected ? "You are logged out." : `The server responded with ${response.status}.`);
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      const fresh = page.querySelector("[data-panel]");
      if (!fresh) throw new Error("Unexpected response from the server.");
      charts.get(panel)?.destroy();
      charts.delete(panel);
      panel.replaceWith(fresh);
      if (isOpen && fresh.querySelector("details")) fresh.querySelector("details").open = true;
      prepare(fresh);
    } catch (error) {
      if (requests.get(address) !== number) return;
      panel.removeAttribute("aria-busy");
      fail(panel, error.name === "TimeoutError" ? "No response within 20 seconds." : error.name === "TypeError" ? "The server cannot be reached." : error.message);
    }
  }

  function prepare(panel) {
    panel.querySelector("[data-again]")?.removeAttribute("hidden");
    draw(panel);
  }

  const panels = () => [...grid.querySelectorAll("[data-panel]")];

  // A different period: update the URL and reload every panel.
  function go(address) {
    history.pushState(null, "", address);
    updateRange();
    panels().forEach(load);
  }

  function updateRange() {
    const query = new URLSearchParams(window.location.search), range = document.querySelector("[data-range]");
    if (!range) return;
    const days = query.has("from") || query.has("to") ? null : query.get("days") || "30";
    for (const link of range.querySelectorAll(".dash-tabs a")) {
      if (new URL(link.href).searchParams.get("days") === days) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
    const to = new Date(), from = new Date(to);
    if (days) {
      from.setUTCDate(to.getUTCDate() - Number(days) + 1);
      range.elements.from.value = from.toISOString().slice(0, 10);
      range.elements.to.value = to.toISOString().slice(0, 10);
    }
    for (const link of document.querySelectorAll("nav.dash-tabs a")) link.search = window.location.search;
  }

  document.addEventListener("click", (event) => {
    const again = event.target.closest("[data-again]"), png = event.target.closest("[data-png]"), tab = event.target.closest("[data-range] .dash-tabs a");
    if (again) load(again.closest("[data-panel]"));
    if (png) savePng(png.closest("[data-panel]"));
    if (tab && !event.metaKey && !event.ctrlKey && !event.shiftKey) { event.preventDefault(); go(tab.href); }
  });
  document.querySelector("[data-range]")?.addEventListener("submit", (event) => {
    const { from, to } = event.target.elements;
    if (!from.value || !to.value || from.value > to.value) return; // the server reports the error
    event.preventDefault();
    go(`${event.target.getAttribute("action")}?${new URLSearchParams({ from: from.value, to: to.value })}`);
  });
  window.addEventListener("popstate", () => { updateRange(); panels().forEach(load); });

  panels().forEach(prepare);
  panels().filter((panel) => panel.hasAttribute("data-deferred")).forEach(load);
  new MutationObserver(() => panels().forEach(draw)).observe(document.documentElement, { attributes: true, attributeFilter: ["class"] });

  // Refresh live panels, except while one has the focus or the page is hidden.
  const refreshMs = Number(grid.dataset.refresh) * 1000;
  if (refreshMs) setInterval(() => {
    if (document.hidden) return;
    panels().filter((panel) => panel.hasAttribute("data-live") && !panel.contains(document.activeElement)).forEach(load);
  }, refreshMs);
})();
