// What past decisions would have come to at another threshold.
"use strict";
(() => {
  const slider = document.getElementById("what-if-slider");
  const data = document.getElementById("what-if-data");
  if (!slider || !data) return;
  const rows = JSON.parse(data.textContent);
  function show() {
    const wanted = Number(slider.value);
    const row = rows.reduce((best, one) => (Math.abs(one.threshold - wanted) < Math.abs(best.threshold - wanted) ? one : best));
    document.getElementById("what-if-value").textContent = wanted.toFixed(2);
    document.querySelectorAll("[data-what-if]").forEach((place) => {
      place.textContent = row[place.dataset.whatIf].toLocaleString("en-US");
    });
  }
  slider.addEventListener("input", show);
  show();
})();
