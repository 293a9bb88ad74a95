// Follows background tasks: every element with data-task polls that address until the task is done.
"use strict";
(() => {
  const PAUSE = 1000;
  const words = { queued: "Queued", running: "Running", completed: "Completed", failed: "Failed" };

  function show(place, task) {
    place.dataset.status = task.status;
    const status = place.querySelector("[data-task-status]");
    if (status) status.textContent = words[task.status] || task.status;
    const text = place.querySelector("[data-task-text]");
    if (text) {
      const done = task.progress.toLocaleString("en-US");
      text.textContent = task.total ? `${done} of ${task.total.toLocaleString("en-US")}` : `${done} so far`;
    }
    const bar = place.querySelector("[data-task-bar]");
    if (bar) {
      if (task.status === "completed") bar.value = 100;
      else if (task.percent !== null && task.percent !== undefined) bar.value = task.percent;
      bar.hidden = task.status === "failed";
    }
    const error = place.querySelector("[data-task-error]");
    if (error) { error.hidden = !task.error; error.textContent = task.error || ""; }
    for (const [name, value] of Object.entries(task.result || {})) {
      const figure = place.querySelector(`[data-task-result="${name}"]`);
      if (figure) figure.textContent = value.toLocaleString("en-US");
    }
  }

  async function follow(place) {
    let pause = PAUSE;
    for (;;) {
      try {
        const reply = await fetch(place.dataset.task, { headers: { Accept: "application/json" } });
        if (reply.ok) {
          const task = await reply.json();
          show(place, task);
          pause = PAUSE;
          if (task.status === "completed" && "taskReload" in place.dataset) { window.location.reload(); return; }
          if (task.status === "completed" || task.status === "failed") return;
        } else pause = Math.min(pause * 2, 30000);
      } catch { pause = Math.min(pause * 2, 30000); }
      await new Promise((done) => setTimeout(done, pause));
    }
  }

  document.querySelectorAll("[data-task]").forEach(follow);
})();
