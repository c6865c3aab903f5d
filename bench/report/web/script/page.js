// What all parts of the page share: the data, its words, and a safe way to make elements.

/** The data of the page, see bench/report/web/payload.py; set once by `unpack`. */
let data;

/** Pictures by "reading set, damage, severity, line"; see bench/report/web/images.py. */
let pictures = {};

/** Undo base64 and gzip. */
async function unpack(id) {
  const packed = atob(document.getElementById(id).textContent.trim());
  const bytes = Uint8Array.from(packed, (character) => character.charCodeAt(0));
  const plain = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(plain).text());
}

/** A word of the page in its language; English is the key. */
function say(word) {
  return data.words[word] ?? word;
}

const SVG = "http://www.w3.org/2000/svg";
const SVG_TAGS = new Set(["svg", "g", "path", "line", "text", "circle", "rect"]);

/**
 * An element with attributes and children. Strings become text, never markup, so that no text of a
 * run can do anything. An attribute that is null or false is left out; a function is a listener.
 */
function el(tag, attributes = {}, ...children) {
  const made = SVG_TAGS.has(tag) ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null));
  return made;
}

function times(count, make) {
  return Array.from({ length: count }, (_, index) => make(index));
}

function unique(values) {
  return [...new Set(values)];
}

/** A number with so many decimals, as the page's language writes it. */
function number(value, decimals = 0) {
  const digits = { minimumFractionDigits: decimals, maximumFractionDigits: decimals };
  return value.toLocaleString(document.documentElement.lang, digits);
}
