// Axes, marks and keys of the plots, as SVG that the page's style colours.

// Pixels; `width` follows the page, so that letters keep their size on a phone.
const PLOT = { width: 760, height: 400, left: 52, right: 16, top: 12, bottom: 46 };

// Matplotlib's letters, so that a system has the same mark here and in plots/*.svg.
const MARKS = {
  o: "M5,0A5,5,0,1,1,-5,0A5,5,0,1,1,5,0Z",
  s: "M-4.5,-4.5H4.5V4.5H-4.5Z",
  "^": "M0,-5.5L5.2,4.5H-5.2Z",
  v: "M0,5.5L5.2,-4.5H-5.2Z",
  "<": "M-5.5,0L4.5,5.2V-5.2Z",
  ">": "M5.5,0L-4.5,5.2V-5.2Z",
  D: "M0,-6L5,0L0,6L-5,0Z",
  P: "M-1.8,-5.2H1.8V-1.8H5.2V1.8H1.8V5.2H-1.8V1.8H-5.2V-1.8H-1.8Z",
  X: "M-5,-3L-3,-5L0,-2L3,-5L5,-3L2,0L5,3L3,5L0,2L-3,5L-5,3L-2,0Z",
  "*": "M0,-6.5L1.7,-2.2L6.2,-2L2.7,0.9L3.9,5.3L0,2.8L-3.9,5.3L-2.7,0.9L-6.2,-2L-1.7,-2.2Z",
  h: "M0,-5.6L4.9,-2.8V2.8L0,5.6L-4.9,2.8V-2.8Z",
};

function colourOf(system) {
  return `var(--system-${data.systems[system].colour})`;
}

/** A scale from data to pixels: linear, or logarithmic. */
function scale([low, high], [start, end], log = false) {
  const of = log ? Math.log : (value) => value;
  const span = of(high) - of(low) || 1;
  return (value) => start + ((of(value) - of(low)) / span) * (end - start);
}

/** Round numbers that cover 0 to `high`, about `count` of them. */
function linearTicks(high, count = 6) {
  const raw = (high || 1) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= raw);
  return times(Math.floor((high || 1) / step + 1e-9) + 2, (index) => index * step);
}

/** 1, 2, 5, 10, ... within the bounds; of a narrow range finer steps. */
function logTicks([low, high]) {
  const factors = high / low > 8 ? [1, 2, 5] : high / low > 2.5 ? [1, 1.5, 2, 3, 4, 5, 7] : null;
  if (!factors) {
    const step = linearTicks(high - low, 5)[1];
    const first = Math.ceil(low / step);
    return times(Math.floor(high / step) - first + 1, (index) => (first + index) * step);
  }
  const powers = times(16, (index) => 10 ** (index - 6));
  return powers.flatMap((power) => factors.map((f) => f * power)).filter((v) => v >= low && v <= high);
}

function tickText(value) {
  return value.toLocaleString(document.documentElement.lang, { maximumSignificantDigits: 4 });
}

/** An SVG with axes; `x` and `y` are {scale, ticks, label}. */
function axes(title, x, y) {
  const { width, height, left, right, top, bottom } = PLOT;
  const floor = height - bottom;
  const label = (at, text) => el("text", { "text-anchor": "middle", ...at }, text);
  return el("svg", { viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": title },
    y.ticks.map((tick) => el("g", {},
      el("line", { class: "grid", x1: left, x2: width - right, y1: y.scale(tick), y2: y.scale(tick) }),
      el("text", { x: left - 8, y: y.scale(tick) + 4, "text-anchor": "end" }, tickText(tick)))),
    x.ticks.map((tick) => el("g", { class: "axis" },
      el("line", { x1: x.scale(tick), x2: x.scale(tick), y1: floor, y2: floor + 5 }),
      label({ x: x.scale(tick), y: floor + 20 }, tickText(tick)))),
    el("g", { class: "axis" }, el("line", { x1: left, x2: width - right, y1: floor, y2: floor })),
    label({ x: (left + width - right) / 2, y: height - 6 }, x.label),
    label({ x: 14, y: (top + floor) / 2, transform: `rotate(-90 14 ${(top + floor) / 2})` }, y.label));
}

/** A mark that speaks: by pointer, by focus, and to a screen reader; pressing it acts. */
function mark(system, x, y, words, hear, press) {
  const { name, marker } = data.systems[system];
  const text = `${name} · ${words}`;
  const pressed = (event) => {
    if (event.type === "click" || event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      press();
    }
  };
  return el("path", {
    class: "point", d: MARKS[marker], fill: colourOf(system), transform: `translate(${x} ${y})`,
    tabindex: 0, role: "button", "aria-label": text,
    mouseenter: () => hear(text), focus: () => hear(text), click: pressed, keydown: pressed,
  });
}

/** Buttons that name the systems of a plot and hide them. */
function keys(systems, hidden, changed) {
  return el("div", { class: "keys", role: "group", "aria-label": say("Systems") },
    systems.map((system) => {
      const { name, marker, dash } = data.systems[system];
      const toggle = () => {
        if (!hidden.delete(system)) hidden.add(system);
        changed();
      };
      return el("button", { type: "button", "aria-pressed": String(!hidden.has(system)), click: toggle },
        el("svg", { viewBox: "0 0 36 16", "aria-hidden": "true" },
          el("line", { x1: 0, x2: 36, y1: 8, y2: 8, stroke: colourOf(system), "stroke-width": 2, "stroke-dasharray": dash || null }),
          el("path", { d: MARKS[marker], fill: colourOf(system), transform: "translate(18 8)" })),
        name);
    }));
}

/** A plot with a choice of what it shows. `draw(chosen, hidden, hear)` gives its SVG. */
function choosablePlot(place, heading, choices, systemsOf, draw) {
  if (!choices.length) return;
  const hidden = new Set();
  const live = el("p", { class: "live", role: "status" });
  const hear = (text) => live.replaceChildren(text);
  const drawn = el("div");
  const select = el("select", { change: redraw },
    choices.map((choice, index) => el("option", { value: index }, choice.title)));
  function redraw() {
    PLOT.width = Math.min(760, Math.max(300, place.clientWidth));
    const chosen = choices[select.value];
    const focused = [...drawn.querySelectorAll("button")].indexOf(document.activeElement);
    drawn.replaceChildren(keys(systemsOf(chosen), hidden, redraw), draw(chosen, hidden, hear));
    drawn.querySelectorAll("button")[focused]?.focus();
    hear("");
  }
  place.append(el("h3", {}, heading), el("label", {}, `${say("Show")} `, select), drawn, live);
  let width = place.clientWidth;
  new ResizeObserver(() => {
    if (place.clientWidth !== width) redraw();
    width = place.clientWidth;
  }).observe(place);
  redraw();
}
