// The form above the lines, and the address that remembers it.

/** The controls that depend on others and are filled again: by what they choose. */
const controls = {};

function showFilters() {
  const form = document.getElementById("filters");
  form.addEventListener("submit", (event) => event.preventDefault());
  controls.set = chooser("Set", (value) => {
    state.set = Number(value);
    Object.assign(state, { writer: "", pair: null });
    fillCondition();
  });
  controls.damage = chooser("Damage", (value) => {
    Object.assign(state, { damage: value, pair: null });
    fillCondition();
  });
  controls.severity = slider();
  controls.writer = chooser("Writer or block", (value) => Object.assign(state, { writer: value }));
  controls.of = chooser("CER of", (value) => {
    state.of = Number.isNaN(Number(value)) ? value : Number(value);
  });
  controls.low = bound("low", 0, "from");
  controls.high = bound("high", Infinity, "to");
  controls.sort = chooser("Order", (value) => Object.assign(state, { sort: value }));
  controls.text = el("input", { type: "search", input: changed((value) => Object.assign(state, { text: value })) });
  controls.pictured = el("input", { type: "checkbox", change: (event) => {
    state.pictured = event.target.checked;
    showLines();
  } });
  controls.shown = el("fieldset", {});
  controls.pair = el("button", { type: "button", class: "chip", hidden: true, click: () => choosePair(null) });
  form.append(
    labelled("Set", controls.set), labelled("Damage", controls.damage),
    el("label", {}, el("span", { class: "word" }, `${say("Severity")}: `, controls.severity.output), controls.severity.range),
    labelled("Writer or block", controls.writer), labelled("CER of", controls.of),
    labelled("CER in %", controls.low, "–", controls.high),
    labelled("Order", controls.sort), labelled("Text or id", controls.text),
    el("fieldset", {}, el("label", {}, controls.pictured, el("span", {}, say("only lines with a picture")))),
    controls.shown, controls.pair);
  fill(controls.set, data.sets.map((one, index) => [index, one.name]), state.set);
  fill(controls.sort, [["place", say("as in the set")], ["high", say("highest CER first")], ["low", say("lowest CER first")]], state.sort);
  for (const name of ["low", "high"]) controls[name].value = Number.isFinite(state[name]) && state[name] ? 100 * state[name] : "";
  controls.text.value = state.text;
  controls.pictured.checked = state.pictured;
  fillCondition();
}

function labelled(word, ...inputs) {
  return el("label", {}, el("span", { class: "word" }, say(word)), el("span", { class: "range" }, inputs));
}

function changed(set) {
  return (event) => {
    set(event.target.value);
    showLines();
  };
}

function chooser(word, set) {
  return el("select", { "aria-label": say(word), change: changed(set) });
}

/** A bound of the CER in percent; left empty it is none. */
function bound(name, none, word) {
  const set = (value) => {
    state[name] = value === "" || Number.isNaN(Number(value)) ? none : Number(value) / 100;
  };
  return el("input", { type: "number", min: 0, step: "any", "aria-label": `${say("CER in %")} ${say(word)}`, input: changed(set) });
}

/** The damage slider: it steps through the severities that were run. */
function slider() {
  const output = el("output", {});
  const range = el("input", { type: "range", min: 0, step: 1, "aria-label": say("Severity"), input: () => {
    state.severity = severitiesOf(state.set, state.damage)[range.value];
    state.pair = null;
    conditionChanged();
    showLines(false);
  } });
  return { range, output };
}

function fill(select, options, chosen) {
  select.replaceChildren(...options.map(([value, text]) => el("option", { value }, text)));
  select.value = String(chosen);
  select.disabled = options.length < 2;
}

/** Fill the controls that depend on the set, and put the state right where it names what is not there. */
function fillCondition() {
  const damages = damagesOf(state.set);
  if (!damages.includes(state.damage)) state.damage = mostRun(damages);
  fill(controls.damage, damages.length ? damages.map((name) => [name, name]) : [[CLEAN, say("none")]], state.damage);
  const severities = severitiesOf(state.set, state.damage);
  if (!severities.includes(state.severity)) state.severity = severities.at(-1);
  const writers = unique(data.sets[state.set].lines.map(([, writer]) => writer)).sort();
  if (!writers.includes(state.writer)) state.writer = "";
  fill(controls.writer, [["", say("all")], ...writers.map((name) => [name, name])], state.writer);
  conditionChanged();
}

/** The damage that was run at most severities: there the slider has most to show. */
function mostRun(damages) {
  const count = (damage) => severitiesOf(state.set, damage).length;
  return damages.reduce((most, one) => (count(one) > count(most) ? one : most), damages[0] ?? CLEAN);
}

/** What follows a change of the condition: the slider, the systems, the table of pairs. */
function conditionChanged() {
  const severities = severitiesOf(state.set, state.damage);
  const { range, output } = controls.severity;
  range.max = severities.length - 1;
  range.value = severities.indexOf(state.severity);
  range.disabled = severities.length < 2;
  const words = state.severity ? `${state.severity}` : `0 (${say("clean")})`;
  range.setAttribute("aria-valuetext", words);
  output.textContent = words;
  const systems = [...readingsHere().keys()];
  if (typeof state.of === "number" && !systems.includes(state.of)) state.of = "worst";
  const names = systems.map((system) => [system, data.systems[system].name]);
  const all = [["worst", say("the worst system")], ["best", say("the best system")], ["spread", say("worst less best")]];
  fill(controls.of, [...all, ...names], state.of);
  controls.shown.replaceChildren(el("legend", {}, say("Systems")), ...names.map(([system, name]) => shownBox(system, name)));
  showPair();
  showPairs();
}

function shownBox(system, name) {
  const box = el("input", { type: "checkbox", checked: !state.hidden.has(system), change: () => {
    if (box.checked) state.hidden.delete(system);
    else state.hidden.add(system);
    showLines(false);
  } });
  return el("label", {}, box, el("span", {}, name));
}

/** Look at the lines of a reading, those that it reads worst first. */
function goTo(reading) {
  if (reading === null || reading === undefined) return;
  const { set, damage, severity, system } = data.readings[reading];
  Object.assign(state, { set, severity, of: system, sort: "high", pair: null, damage: damage || state.damage });
  showAllKinds();
  controls.set.value = String(set);
  controls.sort.value = "high";
  fillCondition();
  showLines();
  document.getElementById("lines").scrollIntoView();
}

/** Take back what would hide some of the lines that are to be looked at. */
function showAllKinds() {
  Object.assign(state, { writer: "", low: 0, high: Infinity, text: "", pictured: false });
  for (const name of ["writer", "low", "high", "text"]) controls[name].value = "";
  controls.pictured.checked = false;
}

const REMEMBERED = ["set", "damage", "severity", "writer", "of", "low", "high", "sort", "text"];

/** Keep the choice in the address, so that it can be sent to someone or come back to. */
function remember() {
  const kept = new URLSearchParams(REMEMBERED.map((name) => [name, state[name]]));
  // Some browsers refuse addresses to files; the page works all the same.
  try { history.replaceState(null, "", `#lines?${kept}`); } catch { /* not remembered */ }
}

/** Take up what an address remembers, as far as this run has it. */
function recall() {
  const [anchor, query] = location.hash.split("?");
  if (anchor !== "#lines" || !query) return false;
  for (const [name, value] of new URLSearchParams(query)) {
    if (!REMEMBERED.includes(name)) continue;
    const count = Number(value);
    state[name] = value !== "" && !Number.isNaN(count) && !["damage", "writer", "text"].includes(name) ? count : value;
  }
  if (!data.sets[state.set]) state.set = 0;
  for (const name of ["low", "high"]) if (typeof state[name] !== "number") state[name] = name === "low" ? 0 : Infinity;
  if (!["place", "high", "low"].includes(state.sort)) state.sort = "place";
  return true;
}
