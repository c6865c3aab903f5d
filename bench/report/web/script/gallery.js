// The gallery: which lines are looked at, in which condition, and what each system read.

const PAGE_LINES = 25;
const CLEAN = "";

/** What the filters say; `pair` is [the better system, the worse one] or null. */
const state = {
  set: 0, damage: CLEAN, severity: 0, writer: "", of: "worst", low: 0, high: Infinity,
  sort: "place", text: "", pictured: false, pair: null, hidden: new Set(), page: 0,
};

/** The readings of the condition that is chosen, by system. */
function readingsHere() {
  const found = new Map();
  for (const reading of data.readings) {
    const same = state.severity === 0 ? reading.severity === 0
      : reading.severity === state.severity && reading.damage === state.damage;
    if (reading.set === state.set && same) found.set(reading.system, reading);
  }
  return found;
}

function damagesOf(set) {
  const damages = data.readings.filter((one) => one.set === set && one.damage !== CLEAN);
  return unique(damages.map((one) => one.damage));
}

/** The severities that were run, 0 (clean) among them when it was. */
function severitiesOf(set, damage) {
  const read = data.readings.filter((one) => one.set === set && (one.severity === 0 || one.damage === damage));
  return unique(read.map((one) => one.severity)).sort((a, b) => a - b);
}

/** Code points of each reference of a set, counted once. */
function lengthsOf(set) {
  const found = data.sets[set];
  found.lengths ??= found.lines.map(([, , reference]) => Array.from(reference).length);
  return found.lengths;
}

/** CER of a line, a fraction; of an empty reference 0 or infinite. Null where it was not read. */
function lineCer(reading, line) {
  if (!reading || (reading.texts[line] ?? -1) < 0) return null;
  const edits = reading.edits[line];
  return edits === 0 ? 0 : edits / lengthsOf(reading.set)[line];
}

/** The CER by which lines are filtered and sorted. */
function judgedCer(readings, line) {
  if (typeof state.of === "number") return lineCer(readings.get(state.of), line);
  const rates = [...readings.values()].map((one) => lineCer(one, line)).filter((rate) => rate !== null);
  if (!rates.length) return null;
  if (state.of === "worst") return Math.max(...rates);
  if (state.of === "best") return Math.min(...rates);
  return Math.max(...rates) - Math.min(...rates);
}

/** The lines that pass all filters, sorted: their places in the set. */
function linesFound(readings) {
  const { lines } = data.sets[state.set];
  const pictured = state.pictured ? picturesHere() : null;
  const wanted = state.text.normalize("NFC").toLowerCase();
  const kept = [];
  for (let line = 0; line < lines.length; line += 1) {
    const cer = judgedCer(readings, line);
    if (cer === null || cer < state.low || cer > state.high) continue;
    if (state.writer && lines[line][1] !== state.writer) continue;
    if (pictured && !pictured[line]) continue;
    if (state.pair && !readsBetter(readings, ...state.pair, line)) continue;
    if (wanted && !hasText(readings, line, wanted)) continue;
    kept.push([cer, line]);
  }
  if (state.sort === "high") kept.sort((a, b) => b[0] - a[0] || a[1] - b[1]);
  if (state.sort === "low") kept.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  return kept.map(([, line]) => line);
}

function hasText(readings, line, wanted) {
  const { lines, texts } = data.sets[state.set];
  const [id, , reference] = lines[line];
  if (`${id}\n${reference}`.toLowerCase().includes(wanted)) return true;
  return [...readings.values()].some((one) => (texts[line][one.texts[line]] ?? "").toLowerCase().includes(wanted));
}

/** Pictures of the condition by line; see bench/report/web/images.py. */
function picturesHere() {
  const damage = state.severity === 0 ? CLEAN : state.damage;
  return pictures[`${state.set}|${damage}|${state.severity}`] ?? {};
}

/** Draw the lines anew; the page of them stays unless `first`. */
function showLines(first = true) {
  const readings = readingsHere();
  const found = linesFound(readings);
  const last = Math.max(0, Math.ceil(found.length / PAGE_LINES) - 1);
  state.page = first ? 0 : Math.min(state.page, last);
  const begin = state.page * PAGE_LINES;
  const place = document.getElementById("cards");
  const shots = picturesHere();
  place.replaceChildren(...found.slice(begin, begin + PAGE_LINES).map((line) => card(line, readings, shots[line])));
  const all = data.sets[state.set].lines.length;
  document.getElementById("found").textContent = `${number(found.length)} / ${number(all)} ${say("lines")}`;
  showPages(last);
  remember();
}

function card(line, readings, shot) {
  const { lines, texts } = data.sets[state.set];
  const [id, writer, reference] = lines[line];
  const rows = sameTexts(line, readings).map(([text, systems]) => {
    const names = systems.map((system) => data.systems[system].name).join(", ");
    return row(names, diffed(reference, texts[line][text]), editsOf(readings.get(systems[0]), line));
  });
  return el("article", { "aria-label": `${say("line")} ${id}` },
    el("header", {}, el("span", {}, id), writer === id ? null : el("span", {}, `${say("writer or block")} ${writer}`)),
    shot ? el("img", { src: `data:image/webp;base64,${shot.webp}`, width: shot.width, height: shot.height, alt: `${say("line")} ${id}` }) : null,
    el("div", { class: "texts" }, row(say("reference"), hiddenMarked(reference, shot), null), rows));
}

/** The systems that are shown, by the text that they read on a line; the best text first. */
function sameTexts(line, readings) {
  const systems = new Map();
  for (const [system, reading] of readings) {
    const text = reading.texts[line] ?? -1;
    if (text < 0 || state.hidden.has(system)) continue;
    systems.set(text, [...(systems.get(text) ?? []), system]);
  }
  const edits = ([, [system]]) => readings.get(system).edits[line];
  return [...systems].sort((a, b) => edits(a) - edits(b));
}

/** What systems made of a line: their names, their text, its edits and CER. */
function row(who, read, edits) {
  return el("div", { class: edits ? "row" : "row reference" },
    el("span", { class: "who" }, who), el("span", { class: "read" }, read), edits);
}

function editsOf(reading, line) {
  const edits = reading.edits[line];
  const cer = lineCer(reading, line);
  const percent = Number.isFinite(cer) ? ` · ${number(100 * cer, 1)} %` : "";
  return el("span", { class: edits ? "edits" : "edits right" }, edits ? `${number(edits)}${percent}` : "✓");
}

/** The reference with the characters marked that the damage hides, where that is known. */
function hiddenMarked(reference, shot) {
  if (!shot?.hidden) return reference;
  const hidden = new Set(shot.hidden);
  return Array.from(reference).map((character, place) =>
    hidden.has(place) ? el("span", { class: "hidden", title: say("hidden by the damage") }, character) : character);
}

function showPages(last) {
  const turn = (by) => () => {
    state.page += by;
    showLines(false);
    const found = document.getElementById("found"); // the button that was pressed is gone
    found.focus();
    found.scrollIntoView();
  };
  const button = (by, label, off) => el("button", { type: "button", disabled: off, click: turn(by) }, label);
  document.getElementById("pages").replaceChildren(
    button(-1, `← ${say("previous")}`, state.page === 0),
    el("span", {}, `${number(state.page + 1)} / ${number(last + 1)}`),
    button(1, `${say("next")} →`, state.page === last));
}
