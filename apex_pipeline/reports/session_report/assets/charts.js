"use strict";
// Draws the traces of the page's two laps: one chart below the other, cursors and zoom in step, the place on the map.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const places = [...document.querySelectorAll("#charts .chart")];
  const track = document.getElementById("track");
  const here = document.getElementById("here");
  // A tenth of a second at 70 m/s: nearer there is nothing to see.
  const LEAST_RANGE_M = 7;
  // What A4 with its margins has.
  const PRINT_WIDTH = 680;
  let charts = [];
  let range = [0, data.length];
  let isFollowing = false;

  const values = (differences, digits) => {
    const unit = 10 ** digits;
    let value = 0;
    return differences.map((step) => (step === null ? null : (value += step) / unit));
  };
  const count = data.panels[0].series[0].length;
  const distance = Array.from({ length: count }, (_, at) => (at === count - 1 ? data.length : at * data.step));
  const curves = data.panels.map((panel) => panel.series.map((one) => values(one, panel.digits)));
  const errors = data.panels.map((panel) => panel.error && values(panel.error, panel.digits));
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  const setRange = (low, high) => {
    const span = Math.min(Math.max(high - low, LEAST_RANGE_M), data.length);
    const min = Math.min(Math.max(low, 0), data.length - span);
    range = [min, min + span];
    isFollowing = true;
    charts.forEach((chart) => chart.setScale("x", { min: range[0], max: range[1] }));
    isFollowing = false;
  };
  const setPlace = (place) => charts.forEach((chart) => chart.setCursor(place));
  const followZoom = (chart, scale) => {
    if (scale === "x" && !isFollowing && chart.status === 1) {
      setRange(chart.scales.x.min, chart.scales.x.max);
    }
  };
  const showPlace = (chart) => {
    const at = chart.cursor.idx;
    const isShown = track !== null && at !== null && at !== undefined;
    if (here === null) {
      return;
    }
    here.toggleAttribute("hidden", !isShown);
    if (isShown) {
      const point = track.getPointAtLength((distance[at] / data.length) * track.getTotalLength());
      here.setAttribute("cx", point.x);
      here.setAttribute("cy", point.y);
    }
  };

  const options = (panel, at, width) => {
    const axis = { stroke: colour("--m"), grid: { stroke: colour("--g"), width: 1 }, ticks: { stroke: colour("--g") } };
    const shown = (_, value) => (value === null || value === undefined ? "–" : value.toFixed(panel.digits));
    const curve = (label, name) => ({ label, stroke: colour(name), width: 1.6, value: shown, points: { show: false } });
    const isDelta = panel.error !== null;
    const series = isDelta
      ? [curve("delta, s", "--c0"), { ...curve("at least", "--q"), width: 0 }, { ...curve("at most", "--q"), width: 0 }]
      : panel.series.map((_, lap) => ({ ...curve(data.laps[lap], lap ? "--c1" : "--c0"), dash: lap ? [7, 3] : [] }));
    return {
      width,
      height: 210,
      cursor: { sync: { key: "laps" }, drag: { x: true, y: false }, points: { size: 7 } },
      scales: { x: { time: false, min: range[0], max: range[1] } },
      axes: [
        { ...axis, label: "distance, m", labelSize: 18, size: 34, space: 60 },
        { ...axis, label: panel.unit, labelSize: 18, size: 44 },
      ],
      series: [{ label: "at, m", value: (_, value) => (value === null ? "–" : value.toFixed(0)) }, ...series],
      bands: isDelta ? [{ series: [3, 2], fill: `${colour("--q")}55` }] : [],
      plugins: [touchZoom(setRange, setPlace)],
      hooks: { setScale: [followZoom], setCursor: at === 0 ? [showPlace] : [] },
    };
  };
  const rows = (at) => {
    const [first] = curves[at];
    if (errors[at] === null) {
      return [distance, ...curves[at]];
    }
    const shifted = (sign) => first.map((value, row) => (value === null ? null : value + sign * errors[at][row]));
    return [distance, first, shifted(-1), shifted(1)];
  };
  const isPrinting = () => document.documentElement.classList.contains("print");
  const widthOf = (place) => (isPrinting() ? PRINT_WIDTH : place.clientWidth);
  const draw = () => {
    charts.forEach((chart) => chart.destroy());
    charts = data.panels.map((panel, at) => new uPlot(options(panel, at, widthOf(places[at])), rows(at), places[at]));
  };
  const zoomBy = (factor) => {
    const middle = (range[0] + range[1]) / 2;
    const half = ((range[1] - range[0]) * factor) / 2;
    setRange(middle - half, middle + half);
  };

  draw();
  const buttons = document.querySelector(".buttons");
  buttons.hidden = false;
  buttons.addEventListener("click", (event) => {
    const factor = event.target.dataset.zoom;
    if (factor === "") {
      setRange(0, data.length);
    } else if (factor !== undefined) {
      zoomBy(Number(factor));
    }
  });
  new ResizeObserver(() => {
    charts.forEach((chart, at) => {
      const width = widthOf(places[at]);
      if (width > 0 && width !== chart.width) {
        chart.setSize({ width, height: chart.height });
      }
    });
  }).observe(document.getElementById("charts"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  addEventListener("beforeprint", () => {
    document.documentElement.classList.add("print");
    draw();
  });
  addEventListener("afterprint", () => {
    document.documentElement.classList.remove("print");
    draw();
  });
  // For whoever looks at them from the console, and for tests.
  window.reportCharts = () => charts;
})();
