// Simulates past decisions at another threshold.
"use strict";
(() => {
  const slider = document.getElementById("what-if-slider");
  const data = document.getElementById("what-if-data");
  if (!slider || !data) return;
  const rows = JSON.parse(data.textContent);
  function show() {
    const threshold = Number(slider.value);
    const row = rows.reduce((best, other) => (Math.abs(other.threshold - threshold) < Math.abs(best.threshold - threshold) ? other : best));
    document.getElementById("what-if-value").textContent = threshold.toFixed(2);
    document.querySelectorAll("[data-what-if]").forEach((element) => {
      element.textContent = row[element.dataset.whatIf].toLocaleString("en-US");
    });
  }
  slider.addEventListener("input", show);
  show();
})();
