// Which system reads which lines better than which other.

/** Whether one system reads a line with fewer edits than another. */
function readsBetter(readings, better, worse, line) {
  const [one, other] = [readings.get(better), readings.get(worse)];
  if (lineCer(one, line) === null || lineCer(other, line) === null) return false;
  return one.edits[line] < other.edits[line];
}

/** Lines of the condition for which `holds`. */
function countLines(holds) {
  const count = data.sets[state.set].lines.length;
  let found = 0;
  for (let line = 0; line < count; line += 1) found += Number(holds(line));
  return found;
}

/** Whether a system alone reads a line without an error. */
function rightAlone(readings, system, line) {
  for (const [other, reading] of readings) {
    if (lineCer(reading, line) === null) continue;
    if ((reading.edits[line] === 0) !== (other === system)) return false;
  }
  return true;
}

function showPairs() {
  const readings = readingsHere();
  const systems = [...readings.keys()];
  const name = (system) => data.systems[system].name;
  const heads = [say("fewer edits than →"), say("without an error"), say("right alone"), ...systems.map(name)];
  const rows = systems.map((system) => {
    const right = countLines((line) => lineCer(readings.get(system), line) === 0);
    const alone = countLines((line) => lineCer(readings.get(system), line) === 0 && rightAlone(readings, system, line));
    return el("tr", {}, el("th", { scope: "row" }, name(system)),
      el("td", { "data-value": right }, number(right)), el("td", { "data-value": alone }, number(alone)),
      systems.map((other) => pairCell(readings, system, other)));
  });
  const table = el("table", { class: "sortable" },
    el("thead", {}, el("tr", {}, heads.map((head, place) => el("th", { scope: "col", class: place ? null : "key" }, head)))),
    el("tbody", {}, rows));
  makeSortable(table);
  const [set, damage] = [data.sets[state.set].name, state.severity ? `${state.damage} ${state.severity}` : say("clean")];
  document.getElementById("pairs").replaceChildren(
    el("p", { class: "conditions" }, `${set}, ${damage}, ${number(data.sets[state.set].lines.length)} ${say("lines")}`),
    el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": say("Disagreement") }, table));
}

function pairCell(readings, better, worse) {
  if (better === worse) return el("td", { class: "own" }, "·");
  const count = countLines((line) => readsBetter(readings, better, worse, line));
  const press = () => {
    choosePair([better, worse]);
    document.getElementById("lines").scrollIntoView();
  };
  const label = `${data.systems[better].name} < ${data.systems[worse].name}: ${number(count)} ${say("lines")}`;
  const button = el("button", { type: "button", "aria-label": label, click: press }, number(count));
  return el("td", { "data-value": count }, count ? button : number(count));
}

/** Show only the lines that one system reads better than another, or all again. */
function choosePair(pair) {
  state.pair = pair;
  if (pair) showAllKinds();
  showPair();
  showLines();
}

function showPair() {
  controls.pair.hidden = !state.pair;
  if (!state.pair) return;
  const [better, worse] = state.pair.map((system) => data.systems[system].name);
  controls.pair.textContent = `✕ ${better}: ${say("fewer edits than")} ${worse}`;
}
