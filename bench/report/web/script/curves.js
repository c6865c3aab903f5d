// The two plots: CER against severity with bands, CER against speed with the Pareto front.

function showCurves() {
  choosablePlot(document.getElementById("curves"), say("CER by severity of damage"), data.curves,
    (curve) => curve.series.map((one) => one.system), drawCurve);
}

function drawCurve(curve, hidden, hear) {
  const shown = curve.series.filter((one) => !hidden.has(one.system));
  const points = shown.flatMap((one) => one.points);
  const severities = unique(curve.series.flatMap((one) => one.points.map((point) => point.x)));
  const x = {
    scale: scale([Math.min(...severities), Math.max(...severities)], [PLOT.left + 14, PLOT.width - PLOT.right - 14]),
    ticks: severities.sort((a, b) => a - b),
    label: say("severity (0: clean)"),
  };
  const y = cerAxis(points);
  const svg = axes(`${say("CER by severity of damage")}: ${curve.title}`, x, y);
  const at = (point, value) => `${x.scale(point.x)},${y.scale(value)}`;
  for (const { system, points: own } of shown) {
    const edge = [...own.map((p) => at(p, p.high)), ...[...own].reverse().map((p) => at(p, p.low))];
    svg.append(el("path", { class: "band", d: `M${edge.join("L")}Z`, fill: colourOf(system) }));
  }
  for (const { system, points: own } of shown) {
    svg.append(el("path", {
      class: "line", d: `M${own.map((p) => at(p, p.y)).join("L")}`, stroke: colourOf(system),
      "stroke-dasharray": data.systems[system].dash || null,
    }));
    for (const point of own) {
      const lead = () => goTo(point.reading);
      svg.append(mark(system, x.scale(point.x), y.scale(point.y), point.say, hear, lead));
    }
  }
  return svg;
}

function showSpeeds() {
  choosablePlot(document.getElementById("speeds"), say("CER against speed, clean lines"), data.speeds,
    (plot) => plot.points.map((point) => point.system), drawSpeeds);
}

function drawSpeeds(plot, hidden, hear) {
  const shown = plot.points.filter((point) => !hidden.has(point.system));
  const bounds = [
    Math.min(...plot.points.map((point) => point.left)) / 1.1,
    Math.max(...plot.points.map((point) => point.right)) * 1.1,
  ];
  const x = {
    scale: scale(bounds, [PLOT.left, PLOT.width - PLOT.right], true),
    ticks: logTicks(bounds),
    label: say("lines/s of encoder + decoder (log scale; bar: range of the rounds)"),
  };
  const y = cerAxis(shown);
  const svg = axes(`${say("CER against speed, clean lines")}: ${plot.title}`, x, y);
  const front = shown.filter((point) => point.front).sort((a, b) => a.x - b.x);
  if (front.length > 1) {
    const path = front.map((point) => `${x.scale(point.x)},${y.scale(point.y)}`).join("L");
    svg.append(el("path", { class: "front", d: `M${path}` }));
  }
  for (const point of shown) {
    const [cx, cy, stroke] = [x.scale(point.x), y.scale(point.y), colourOf(point.system)];
    const bar = { class: "bar", stroke };
    svg.append(
      el("line", { ...bar, x1: x.scale(point.left), x2: x.scale(point.right), y1: cy, y2: cy }),
      el("line", { ...bar, x1: cx, x2: cx, y1: y.scale(point.low), y2: y.scale(point.high) }));
  }
  for (const point of shown) {
    const words = point.front ? `${point.say} · ${say("on the Pareto front")}` : point.say;
    svg.append(mark(point.system, x.scale(point.x), y.scale(point.y), words, hear, () => goTo(point.reading)));
  }
  return svg;
}

function cerAxis(points) {
  const ticks = linearTicks(Math.max(0, ...points.map((point) => point.high)));
  return {
    ticks,
    scale: scale([0, ticks.at(-1)], [PLOT.height - PLOT.bottom, PLOT.top]),
    label: say("CER (%; 95 % interval)"),
  };
}
