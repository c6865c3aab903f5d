// A text against its reference, by one shortest edit script on code points.

const MOST_CELLS = 4_000_000; // of the table of distances; beyond it the middle is one replacement

/**
 * The pieces of a shortest edit script, in order: {kind, from, to} with kind "same", "substituted",
 * "inserted" (from is "") or "deleted" (to is ""). Neighbours of one kind are one piece.
 */
function align(reference, text) {
  const from = Array.from(reference);
  const to = Array.from(text);
  let head = 0;
  while (head < from.length && head < to.length && from[head] === to[head]) head += 1;
  let tail = 0;
  const most = Math.min(from.length, to.length) - head;
  while (tail < most && from[from.length - 1 - tail] === to[to.length - 1 - tail]) tail += 1;
  const steps = from.slice(0, head).map((character) => ["same", character, character]);
  steps.push(...alignMiddle(from.slice(head, from.length - tail), to.slice(head, to.length - tail)));
  steps.push(...from.slice(from.length - tail).map((character) => ["same", character, character]));
  return merged(steps);
}

function alignMiddle(from, to) {
  if (from.length * to.length > MOST_CELLS) return replaced(from, to);
  const width = to.length + 1;
  const cost = distances(from, to, width);
  const steps = [];
  let i = from.length;
  let j = to.length;
  while (i || j) {
    const here = cost[i * width + j];
    const differs = i && j ? Number(from[i - 1] !== to[j - 1]) : 0;
    if (i && j && here === cost[(i - 1) * width + j - 1] + differs) {
      steps.push([differs ? "substituted" : "same", from[(i -= 1)], to[(j -= 1)]]);
    } else if (i && here === cost[(i - 1) * width + j] + 1) {
      steps.push(["deleted", from[(i -= 1)], ""]);
    } else {
      steps.push(["inserted", "", to[(j -= 1)]]);
    }
  }
  return steps.reverse();
}

/** Levenshtein's table: cost[i * width + j] turns the first i of `from` into the first j of `to`. */
function distances(from, to, width) {
  const cost = new Uint32Array((from.length + 1) * width);
  for (let j = 0; j < width; j += 1) cost[j] = j;
  for (let i = 1; i <= from.length; i += 1) {
    const row = i * width;
    cost[row] = i;
    for (let j = 1; j < width; j += 1) {
      const kept = cost[row - width + j - 1] + Number(from[i - 1] !== to[j - 1]);
      cost[row + j] = Math.min(kept, cost[row - width + j] + 1, cost[row + j - 1] + 1);
    }
  }
  return cost;
}

function replaced(from, to) {
  return [...from.map((c) => ["deleted", c, ""]), ...to.map((c) => ["inserted", "", c])];
}

function merged(steps) {
  const pieces = [];
  for (const [kind, from, to] of steps) {
    const last = pieces.at(-1);
    if (last?.kind === kind) {
      last.from += from;
      last.to += to;
    } else {
      pieces.push({ kind, from, to });
    }
  }
  return pieces;
}

/** The text with its differences as <mark>, <ins> and <del>. */
function diffed(reference, text) {
  return align(reference, text).map(({ kind, from, to }) => {
    if (kind === "same") return to;
    if (kind === "deleted") return el("del", { title: say("deleted") }, from);
    if (kind === "inserted") return el("ins", { title: say("inserted") }, to);
    return el("mark", { title: `${say("reference")}: ${from}` }, to);
  });
}
