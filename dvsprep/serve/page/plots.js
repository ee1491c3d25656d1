// The few plots: events per frame, which scrubs; histograms of one value a sample; classes, which filter.

import uPlot from "./vendor/uPlot.esm.js";

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const drawn = new Set();
const FONT = "11px system-ui, sans-serif";

// Colours of canvases do not follow the style sheet by themselves.
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const plot of drawn) plot.redraw();
});

const axis = (more) => ({
  stroke: () => css("--muted"),
  grid: { stroke: () => css("--line"), width: 1 },
  ticks: { show: false },
  font: FONT,
  ...more,
});

function make(box, options, data) {
  box.replaceChildren();
  const size = () => ({ width: Math.max(120, box.clientWidth), height: Math.max(60, box.clientHeight) });
  const plot = new uPlot(
    { ...size(), legend: { show: false }, padding: [6, 8, 0, 0], ...options },
    data,
    box,
  );
  const watch = new ResizeObserver(() => plot.setSize(size()));
  watch.observe(box);
  drawn.add(plot);
  return {
    plot,
    destroy() {
      watch.disconnect();
      drawn.delete(plot);
      plot.destroy();
    },
  };
}

const short = (value) =>
  Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 }).format(value);

/** Draw [OFF, ON] events of every frame; `seek` is called with a frame where the plot is clicked or dragged. */
export function framesPlot(box, counts, planes, seek) {
  let now = 0;
  const line = (label, colour) => ({
    label,
    stroke: () => css(colour),
    width: 1.5,
    points: { show: counts.length < 2 },
  });
  const at = (plot, event) => {
    const k = Math.round(plot.posToVal(event.clientX - plot.over.getBoundingClientRect().left, "x"));
    seek(Math.max(0, Math.min(counts.length - 1, k)));
  };
  const mark = (plot) => {
    const x = Math.round(plot.valToPos(now, "x", true)),
      { top, height } = plot.bbox;
    plot.ctx.fillStyle = css("--text");
    plot.ctx.fillRect(x - 1, top, 2, height);
  };
  const made = make(
    box,
    {
      scales: {
        x: { time: false, range: [0, Math.max(1, counts.length - 1)] },
        y: { range: (_, __, most) => [0, most || 1] },
      },
      axes: [
        axis({ values: (_, marks) => marks.map((k) => (k % 1 ? "" : k + 1)), size: 24 }),
        axis({ values: (_, marks) => marks.map(short), size: 44 }),
      ],
      series: [
        {},
        ...(planes === 1 ? [line("events", "--text")] : [line("OFF", "--off"), line("ON", "--on")]),
      ],
      cursor: { drag: { x: false, y: false }, points: { show: false }, y: false },
      hooks: {
        draw: [mark],
        ready: [
          (plot) => {
            plot.over.addEventListener("pointerdown", (event) => {
              plot.over.setPointerCapture(event.pointerId);
              at(plot, event);
            });
            plot.over.addEventListener("pointermove", (event) => {
              if (event.buttons) at(plot, event);
            });
          },
        ],
      },
    },
    [counts.map((_, k) => k), ...[0, 1].slice(0, planes).map((c) => counts.map((sums) => sums[c]))],
  );
  return {
    destroy: made.destroy,
    set(k) {
      now = k;
      made.plot.redraw(false);
    },
  };
}

/** Return how many of the values lie in each of `bins` equal parts of their range: {edges, counts}. */
export function histogram(values, bins) {
  let least = Infinity,
    most = -Infinity;
  for (const value of values) {
    least = Math.min(least, value);
    most = Math.max(most, value);
  }
  if (least > most) return { edges: [0, 1], counts: [0] };
  if (least === most) return { edges: [least, least + 1], counts: [values.length] };
  const width = (most - least) / bins,
    counts = new Array(bins).fill(0);
  for (const value of values) counts[Math.min(bins - 1, Math.floor((value - least) / width))]++;
  return { edges: Array.from({ length: bins + 1 }, (_, k) => least + k * width), counts };
}

/** Draw a histogram of one value a sample. */
export function histogramPlot(box, values, what) {
  const { edges, counts } = histogram(values, Math.max(4, Math.min(30, Math.ceil(Math.sqrt(values.length)))));
  const middles = counts.map((_, k) => (edges[k] + edges[k + 1]) / 2),
    half = (edges[1] - edges[0]) / 2;
  box.setAttribute("role", "img");
  box.setAttribute(
    "aria-label",
    `${what}: ${short(edges[0])} to ${short(edges.at(-1))}, ${values.length} samples`,
  );
  return make(
    box,
    {
      scales: {
        x: { time: false, range: [edges[0] - half / 2, edges.at(-1) + half / 2] },
        y: { range: (_, __, most) => [0, most || 1] },
      },
      axes: [
        axis({ values: (_, marks) => marks.map(short), size: 24 }),
        axis({ values: (_, marks) => marks.map((n) => (n % 1 ? "" : short(n))), size: 36 }),
      ],
      series: [
        {},
        {
          fill: () => css("--accent"),
          paths: uPlot.paths.bars({ size: [0.95, 100], gap: 1 }),
          points: { show: false },
        },
      ],
      cursor: { show: false },
    },
    [middles, counts],
  );
}

/** List the classes with their counts as bars; each is a switch, `toggle` is called with its label. */
export function classBars(box, cache, chosen, toggle) {
  const sums = new Array(cache.classes.length).fill(0);
  for (const label of cache.labels) sums[label]++;
  const most = Math.max(1, ...sums);
  box.replaceChildren(
    ...cache.classes.map((name, label) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "bar";
      button.style.setProperty("--part", `${(100 * sums[label]) / most}%`);
      button.setAttribute("aria-pressed", chosen.has(label));
      button.setAttribute("aria-label", `${name}, ${sums[label]} samples`);
      const text = document.createElement("span"),
        count = document.createElement("span");
      text.textContent = name;
      count.textContent = sums[label].toLocaleString();
      button.append(text, count);
      button.addEventListener("click", () => {
        button.setAttribute("aria-pressed", button.getAttribute("aria-pressed") !== "true");
        toggle(label);
      });
      return button;
    }),
  );
}
