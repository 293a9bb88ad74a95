// Follows background tasks: every element with data-task polls that address until the task has finished.
"use strict";
(() => {
  const POLL_MS = 1000;
  const labels = { queued: "Queued", running: "Running", completed: "Completed", failed: "Failed", cancelled: "Cancelled" };

  function show(element, task) {
    element.dataset.status = task.status;
    const status = element.querySelector("[data-task-status]");
    if (status) status.textContent = labels[task.status] || task.status;
    const text = element.querySelector("[data-task-text]");
    if (text) {
      const done = task.progress.toLocaleString("en-US");
      text.textContent = task.total ? `${done} of ${task.total.toLocaleString("en-US")}` : `${done} so far`;
    }
    const bar = element.querySelector("[data-task-bar]");
    if (bar) {
      if (task.status === "completed") bar.value = 100;
      else if (task.percent !== null && task.percent !== undefined) bar.value = task.percent;
      bar.hidden = task.status === "failed" || task.status === "cancelled";
    }
    const error = element.querySelector("[data-task-error]");
    if (error) { error.hidden = !task.error; error.textContent = task.error || ""; }
    for (const [name, value] of Object.entries(task.result || {})) {
      const figure = element.querySelector(`[data-task-result="${name}"]`);
      if (figure) figure.textContent = value.toLocaleString("en-US");
    }
  }

  async function follow(element) {
    let delay = POLL_MS;
    for (;;) {
      try {
        const response = await fetch(element.dataset.task, { headers: { Accept: "application/json" } });
        if (response.ok) {
          const task = await response.json();
          show(element, task);
          delay = POLL_MS;
          if (task.status === "completed" && "taskReload" in element.dataset) { window.location.reload(); return; }
          if (task.status !== "queued" && task.status !== "running") return;
        } else delay = Math.min(delay * 2, 30000);
      } catch { delay = Math.min(delay * 2, 30000); }
      await new Promise((done) => setTimeout(done, delay));
    }
  }

  document.querySelectorAll("[data-task]").forEach(follow);
})();
