// The page of `minran live`: pictures and masks are painted here. Numbers come from minran's server,
// or, on the site, from onnxruntime (`minranSource`, docs/_ext/live.js).
"use strict";

const $ = (id) => document.getElementById(id);
const MOST_BYTES = 64 << 20; // of a file that is dropped; larger ones are refused with a sentence
const state = {
  setup: null, // what the server said at the start
  name: "", words: "", // of the picture chosen, and what must be said about it
  first: null, pixels: null, object: null, // the picture chosen, as it is painted on, its object
  history: [], // pictures before each stroke, for undo
  own: {}, // painted masks by module and size (`keyOf`): {rows, columns, values}
  masked: {}, // the masks of each network that has answered: key by module
  answer: null, untrained: null, // the second of the same network with random weights
};

// ---- numbers and bytes

function bytesOf(text) { return Uint8Array.from(atob(text), (c) => c.charCodeAt(0)); }
function textOf(bytes) {
  let text = "";
  for (let k = 0; k < bytes.length; k += 8192) text += String.fromCharCode(...bytes.subarray(k, k + 8192));
  return btoa(text);
}
function mapOf(sent) {
  const values = typeof sent.values === "string" ? new Float32Array(bytesOf(sent.values).buffer) : sent.values;
  return { rows: sent.rows, columns: sent.columns, values };
}
function range(values) {
  let low = Infinity, high = -Infinity;
  for (const v of values) { if (v < low) low = v; if (v > high) high = v; }
  return [low, high];
}

// ---- drawing

function problem(words) {
  $("problem").textContent = words;
  $("problem").hidden = !words;
}
// Dark blue over violet and red to light yellow: lighter is larger, also without colours.
const ANCHORS = [[8, 8, 40], [66, 20, 108], [140, 40, 100], [205, 75, 60], [245, 145, 40], [252, 245, 180]];
function colourAt(share) {
  const at = Math.min(Math.max(share, 0), 1) * (ANCHORS.length - 1), k = Math.min(Math.floor(at), ANCHORS.length - 2);
  return ANCHORS[k].map((low, c) => low + (at - k) * (ANCHORS[k + 1][c] - low));
}
function drawMap(canvas, map, low, high) {
  canvas.width = map.columns; canvas.height = map.rows;
  const image = new ImageData(map.columns, map.rows), span = high - low;
  map.values.forEach((v, k) => image.data.set([...colourAt(span > 0 ? (v - low) / span : 0), 255], 4 * k));
  canvas.getContext("2d").putImageData(image, 0, 0);
}
function drawGrey(canvas, map) {
  canvas.width = map.columns; canvas.height = map.rows;
  const image = new ImageData(map.columns, map.rows);
  map.values.forEach((v, k) => image.data.set([255 * v, 255 * v, 255 * v, 255], 4 * k));
  canvas.getContext("2d").putImageData(image, 0, 0);
}
function drawPixels(canvas, pixels, size) {
  canvas.width = canvas.height = size;
  const image = new ImageData(size, size);
  for (let k = 0; k < size * size; k++) image.data.set([pixels[3 * k], pixels[3 * k + 1], pixels[3 * k + 2], 255], 4 * k);
  canvas.getContext("2d").putImageData(image, 0, 0);
}
function element(kind, className, text) {
  const made = document.createElement(kind);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}
/** The figure of one map, made once and drawn again: its name, equation, shape and range. */
function figure(parent, key, className) {
  let made = parent.querySelector(`[data-key="${CSS.escape(key)}"]`);
  if (!made) {
    made = element("figure", className);
    made.dataset.key = key;
    const words = element("figcaption");
    words.append(element("b"), element("span", "equation"), element("span", "shape"), element("span", "range"), element("span", "drawn"));
    made.append(element("canvas"), words);
    made.firstChild.setAttribute("role", "img");
    parent.append(made);
  }
  return made;
}
/** step: equation, shape, map; least: where a fixed scale, which ends at 1, begins, or null. */
function fillFigure(made, name, step, least) {
  const map = mapOf(step.map), [low, high] = range(map.values);
  const fixed = least !== null && $("scale").value === "fixed";
  drawMap(made.firstChild, map, fixed ? least : low, fixed ? 1 : high);
  const numbers = `${low.toPrecision(3)} to ${high.toPrecision(3)}`;
  made.firstChild.setAttribute("aria-label", `${name}: values from ${numbers}`);
  // Each on a line of its own: what is below must not move while somebody paints.
  const [title, equation, shape, said, drawn] = made.lastChild.children;
  title.textContent = name;
  showEquation(equation, step.equation);
  shape.textContent = step.shape.join(" × ") + (step.channel === undefined ? "" : `, channel ${step.channel}`);
  said.textContent = numbers;
  drawn.textContent = fixed ? `drawn on ${least} to 1` : "drawn on this range";
}
const KINDS = { M: "mask", logits: "mask", T: "trunk", trunk: "trunk", H: "gate" };
/** Text whose symbols have the colours of their maps. */
function showEquation(parent, text) {
  parent.replaceChildren(...text.split(/\b(M|T|H|logits|trunk)\b/).map((part) => element("span", KINDS[part] || "", part)));
}
function keepOnly(parent, keys) {
  for (const child of [...parent.children]) if (!keys.includes(child.dataset.key)) child.remove();
}

// ---- the network

const server = {
  async setup() { return this.read(await fetch("setup.json")); },
  /** pixels: bytes; network: a name; random: its weights; channel: a number or null; masks: maps by module. */
  async ask({ pixels, network, random, channel, masks }) {
    const rowsOf = (map) => Array.from({ length: map.rows }, (_, r) => [...map.values.subarray(r * map.columns, (r + 1) * map.columns)]);
    const rows = Object.fromEntries(Object.entries(masks).map(([name, map]) => [name, rowsOf(map)]));
    const body = JSON.stringify({ pixels: textOf(pixels), network, random, channel, masks: rows });
    return this.read(await fetch("look", { method: "POST", headers: { "Content-Type": "application/json" }, body }));
  },
  async read(response) {
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.error);
    return answer;
  },
  gone: "minran live does not answer: was it ended in the terminal?",
};
const source = globalThis.minranSource || server;

let asked = 0, running = false, waiting = false;
/** Ask for the picture as it is now. While an answer is on its way, the newest question waits. */
async function ask() {
  if (running) { waiting = true; return; }
  running = true;
  const number = ++asked, start = performance.now();
  const channel = $("all").value === "one" ? Math.max(0, Math.trunc(Number($("channel").value)) || 0) : null;
  const network = $("network").value, random = $("random").checked, known = state.masked[network];
  const masks = {}; // those painted that fit
  for (const name in known) if (state.own[known[name]]) masks[name] = state.own[known[name]];
  try {
    const answer = await source.ask({ pixels: state.pixels, network, random, channel, masks });
    problem(state.words);
    // A part with fewer channels shows its last.
    if (channel !== null) for (const { steps } of answer.modules) for (const step of steps) step.channel = Math.min(channel, step.shape[2] - 1);
    Object.assign(state, { answer, network, untrained: null });
    $("timing").textContent = `${Math.round(performance.now() - start)} ms from question to answer${known ? "" : ", the first time"}`;
    const masked = answer.modules.filter(maskStep);
    state.masked[network] = Object.fromEntries(masked.map((m) => [m.name, keyOf(m)]));
    if (!known && masked.some((m) => keyOf(m) in state.own)) waiting = true; // its masks were not known to fit
    show();
    document.body.dataset.answered = number;
    if (!waiting && state.object && masked.length) {
      state.untrained = random ? answer : await source.ask({ pixels: state.pixels, network, random: true, channel, masks: {} });
      showScores();
    }
  } catch (error) {
    problem(error instanceof TypeError && source.gone ? source.gone : error.message);
  }
  running = false;
  if (waiting) { waiting = false; ask(); }
}

function show() {
  const { logits, modules } = state.answer, { classes, words } = state.setup.networks[state.network];
  const most = Math.max(...logits), powers = logits.map((v) => Math.exp(v - most));
  const sum = powers.reduce((s, v) => s + v, 0), probabilities = powers.map((v) => v / sum);
  const order = probabilities.map((_, k) => k).sort((a, b) => probabilities[b] - probabilities[a]);
  const shown = classes.length > 12 ? order.slice(0, 10) : classes.map((_, k) => k);
  const rows = $("classes");
  rows.replaceChildren(...shown.flatMap((k) => {
    const track = element("div", "track"), bar = element("div", "bar");
    bar.style.width = `${100 * probabilities[k]}%`;
    track.append(bar);
    const share = element("span", "share", `${(100 * probabilities[k]).toFixed(1)}%`);
    share.dataset.share = probabilities[k];
    return [element("span", "", classes[k]), track, share, element("span", "logit", logits[k].toFixed(2))];
  }));
  rows.prepend(element("span", "head", "class"), element("span"), element("span", "head share", "share"), element("span", "head logit", "logit"));
  // Built-in pictures are named by their class, and only of them the object is known.
  $("none").textContent = state.firstObject && !classes.includes(state.name) ? `The image shows: ${state.name}. This network knows no such class.` : "";
  $("said").textContent = `${classes[order[0]]}, ${(100 * probabilities[order[0]]).toFixed(0)}%`;

  showEquation($("words"), `${state.network}${$("random").checked ? " before any training" : ""}: ${words}`);
  const names = modules.map((m) => m.name), before = $("module").value;
  if ([...$("module").options].map((o) => o.value).join() !== names.join()) {
    $("module").replaceChildren(...modules.map((m) => new Option(m.title, m.name)));
    if (names.includes(before)) $("module").value = before;
  }
  showMaps();
  $("channel").max = Math.max(...modules.map((m) => m.channels)) - 1;
  showWalk();
  showScores();
}
/** What is known of the object, then mask and output of each module. */
function showMaps() {
  const { modules } = state.answer, { least } = state.setup.networks[state.network], keys = [];
  const put = (key, kind, name, step, fixed) => {
    const made = figure($("modules"), key, kind);
    $("modules").append(made); // in this order
    fillFigure(made, name, step, fixed);
    keys.push(key);
    return made;
  };
  const size = state.setup.size, whole = { equation: "", shape: [size, size] };
  if (state.object) put("object", "", "The object, as it is", { ...whole, map: { rows: size, columns: size, values: state.object } }, 0);
  if (state.object && least !== null) put("centre", "", "A spot in the middle (baseline)", { ...whole, map: state.setup.centre }, 0);
  for (const module of modules) {
    const mask = maskStep(module), mine = mask && keyOf(module) in state.own;
    if (mask) put(`${module.name} M`, "mask", `${module.title}: M${mine ? " (yours)" : ""}`, mask, least).classList.toggle("mine", mine);
    put(`${module.name} H`, "gate", `${module.title}: H`, stepOf(module, "H"), null);
  }
  keepOnly($("modules"), keys);
  $("maskless").hidden = least !== null;
}
function chosen() { return state.answer.modules.find((m) => m.name === $("module").value) || state.answer.modules[0]; }
function showWalk() {
  const module = chosen(), mask = maskStep(module), { least } = state.setup.networks[state.network];
  const kindOf = (key) => KINDS[key] || (key === "u" ? "" : "mask"); // pools and interpolations are of the mask
  keepOnly($("steps"), module.steps.map((s) => s.key));
  for (const step of module.steps) {
    const made = figure($("steps"), step.key, kindOf(step.key));
    $("steps").append(made);
    fillFigure(made, step.key, step, step.key === "M" ? least : null);
  }
  const ways = mask ? "u goes two ways: through the trunk, which gives T, and through the mask, which gives M" : "u goes through the trunk, which gives T";
  showEquation($("ways"), `${ways}. ${stepOf(module, "H").equation} is what goes on.`);
  $("own-part").hidden = !mask;
  if (!mask) { $("own-said").textContent = "This network has no mask that could be replaced."; return; }
  const own = state.own[keyOf(module)];
  $("own-off").disabled = !own;
  drawGrey($("own"), own || emptyMask(module, 0.5));
  $("own-said").textContent = own ? `${module.title} has your mask.` : `${module.title} has the network's own mask.`;
}
function stepOf(module, key) { return module.steps.find((s) => s.key === key); }
function maskStep(module) { return stepOf(module, "M"); }
/** A painted mask is for a module of this name and size, in whichever network. */
function keyOf(module) {
  const { rows, columns } = maskStep(module).map;
  return `${module.name} ${rows} x ${columns}`;
}
function emptyMask(module, value) {
  const { rows, columns } = maskStep(module).map;
  return { rows, columns, values: new Float32Array(rows * columns).fill(value) };
}

// ---- how well do masks mark the object?

/** A map at every pixel of the picture, bilinear; a value stands at the middle of its patch. */
function resized(map, size) {
  const out = new Float32Array(size * size);
  const at = (k, n) => Math.min(Math.max(((k + 0.5) * n) / size - 0.5, 0), n - 1);
  for (let r = 0; r < size; r++) for (let c = 0; c < size; c++) {
    const y = at(r, map.rows), x = at(c, map.columns);
    const y0 = Math.floor(y), x0 = Math.floor(x), y1 = Math.min(y0 + 1, map.rows - 1), x1 = Math.min(x0 + 1, map.columns - 1);
    const value = (i, j) => map.values[i * map.columns + j], fy = y - y0, fx = x - x0;
    out[r * size + c] = (1 - fy) * ((1 - fx) * value(y0, x0) + fx * value(y0, x1)) + fy * ((1 - fx) * value(y1, x0) + fx * value(y1, x1));
  }
  return out;
}
function correlation(a, b) {
  const n = a.length, mean = (x) => x.reduce((s, v) => s + v, 0) / n, ma = mean(a), mb = mean(b);
  let ab = 0, aa = 0, bb = 0;
  for (let k = 0; k < n; k++) { const x = a[k] - ma, y = b[k] - mb; ab += x * y; aa += x * x; bb += y * y; }
  return aa > 1e-12 * n && bb > 0 ? ab / Math.sqrt(aa * bb) : NaN;
}
/** IoU of the object with as many of the highest pixels as it has: nothing is chosen to fit. */
function overlap(values, object) {
  const size = object.reduce((s, v) => s + v, 0);
  const highest = [...values.keys()].sort((a, b) => values[b] - values[a]).slice(0, size);
  const both = highest.reduce((s, k) => s + object[k], 0);
  return both / (2 * size - both);
}
function showScores() {
  const object = state.object, size = state.setup.size, masked = (answer) => answer.modules.filter(maskStep);
  if (!masked(state.answer).length) { $("scores").replaceChildren(); return; }
  if (!object || !object.some((v) => v)) { $("scores").replaceChildren(element("p", "hint", "Where the object of this image is, is not known: no scores.")); return; }
  const lines = masked(state.answer).map((m) => [`mask of ${m.title}`, mapOf(maskStep(m).map)]);
  lines.push(["a spot in the middle (baseline)", mapOf(state.setup.centre)]);
  if (state.untrained) for (const m of masked(state.untrained)) lines.push([`mask of ${m.title}, random weights (baseline)`, mapOf(maskStep(m).map)]);
  const table = element("table"), head = element("tr");
  table.append(element("caption", "", "How well do the maps mark the object of this image? One image is no evidence: minran masks --score does many."));
  for (const word of ["map", "correlation with the object", "IoU of its highest pixels"]) head.append(element("th", "", word));
  table.append(head);
  for (const [name, map] of lines) {
    const values = resized(map, size), row = element("tr"), r = correlation(values, object);
    const cells = [name, Number.isNaN(r) ? "flat" : r.toFixed(2), Number.isNaN(r) ? "flat" : overlap(values, object).toFixed(2)];
    for (const cell of cells) row.append(element("td", "", cell));
    table.append(row);
  }
  $("scores").replaceChildren(table);
}

// ---- the picture

function drawPicture() { drawPixels($("picture"), state.pixels, state.setup.size); }
function begin(name, pixels, object, button) {
  state.name = name; state.words = "";
  state.first = pixels.slice(); state.pixels = pixels.slice(); state.object = object ? object.slice() : null;
  state.firstObject = object; state.history = [];
  for (const each of $("gallery").children) each.setAttribute("aria-pressed", String(each === button));
  $("tool").querySelector("[value=object]").disabled = !object;
  $("fill-object").disabled = !object;
  if (!object && $("tool").value === "object") $("tool").value = "paint";
  drawPicture();
  ask();
}
function remember() {
  state.history.push([state.pixels.slice(), state.object && state.object.slice()]);
  if (state.history.length > 50) state.history.shift();
}
function disc(x, y, radius, rows, columns, act) {
  const reach = Math.ceil(radius);
  for (let r = Math.max(0, y - reach); r <= Math.min(rows - 1, y + reach); r++)
    for (let c = Math.max(0, x - reach); c <= Math.min(columns - 1, x + reach); c++)
      if ((r - y) ** 2 + (c - x) ** 2 < (radius + 0.3) ** 2) act(r * columns + c);
}
/** A picture moved by (dx, dy); what comes in at the edge repeats the edge. */
function moved(values, size, parts, dx, dy) {
  const out = values.slice(), within = (k) => Math.min(Math.max(k, 0), size - 1);
  for (let r = 0; r < size; r++) for (let c = 0; c < size; c++)
    for (let p = 0; p < parts; p++) out[(r * size + c) * parts + p] = values[(within(r - dy) * size + within(c - dx)) * parts + p];
  return out;
}
/** The object moved alone; where it was, the mean colour of everything else. */
function moveObject(dx, dy) {
  const size = state.setup.size, { from, object } = drag, pixels = from.slice(), now = new Uint8Array(size * size);
  const mean = [0, 0, 0];
  let count = 0;
  object.forEach((inside, k) => { if (!inside) { count++; for (let p = 0; p < 3; p++) mean[p] += from[3 * k + p]; } });
  object.forEach((inside, k) => { if (inside) for (let p = 0; p < 3; p++) pixels[3 * k + p] = mean[p] / Math.max(count, 1); });
  for (let r = 0; r < size; r++) for (let c = 0; c < size; c++) {
    const y = r - dy, x = c - dx;
    if (y < 0 || x < 0 || y >= size || x >= size || !object[y * size + x]) continue;
    now[r * size + c] = 1;
    for (let p = 0; p < 3; p++) pixels[3 * (r * size + c) + p] = from[3 * (y * size + x) + p];
  }
  state.pixels = pixels; state.object = now;
}
/** A distractor: the object of the next picture to begin with, its middle at (x, y). */
function addObject(x, y) {
  const size = state.setup.size, all = state.setup.pictures, next = all[(all.findIndex((p) => p.name === state.name) + 1) % all.length];
  const pixels = bytesOf(next.pixels), cells = [...bytesOf(next.object).entries()].filter(([, inside]) => inside).map(([k]) => k);
  const mean = (of) => Math.round(cells.reduce((s, k) => s + of(k), 0) / cells.length), row = (k) => Math.floor(k / size);
  const dy = y - mean(row), dx = x - mean((k) => k % size);
  state.pixels = drag.from.slice();
  for (const k of cells) {
    const r = row(k) + dy, c = (k % size) + dx;
    if (r >= 0 && c >= 0 && r < size && c < size) state.pixels.set(pixels.subarray(3 * k, 3 * k + 3), 3 * (r * size + c));
  }
}
let drag = null;
function startStroke(x, y) {
  remember();
  drag = { x, y, from: state.pixels.slice(), object: state.object && state.object.slice() };
  stroke(x, y);
}
function stroke(x, y) {
  const size = state.setup.size, tool = $("tool").value;
  if (tool === "object") moveObject(x - drag.x, y - drag.y);
  else if (tool === "other") addObject(x, y);
  else if (tool === "shift") {
    state.pixels = moved(drag.from, size, 3, x - drag.x, y - drag.y);
    if (drag.object) state.object = moved(drag.object, size, 1, x - drag.x, y - drag.y);
  } else {
    const code = $("colour").value, colour = [1, 3, 5].map((k) => parseInt(code.slice(k, k + 2), 16));
    disc(x, y, (Number($("brush").value) * size) / 64, size, size, (k) => {
      for (let p = 0; p < 3; p++) state.pixels[3 * k + p] = tool === "restore" ? state.first[3 * k + p] : colour[p];
    });
  }
  drawPicture();
  ask();
}
function strokeOwn(x, y) {
  const module = chosen(), key = keyOf(module);
  if (!state.own[key]) state.own[key] = emptyMask(module, 0);
  const map = state.own[key], value = Number($("value").value);
  disc(x, y, map.columns / 16, map.rows, map.columns, (k) => { map.values[k] = value; });
  drawGrey($("own"), map);
  ask();
}
/** Let a canvas be painted by pointer, touch and keyboard: begin(x, y), then go(x, y). */
function paintable(canvas, begin, go) {
  let down = false, held = false, place = null;
  const mark = element("div", "ring"); // where the keyboard paints
  mark.hidden = true;
  canvas.after(mark);
  const showRing = () => {
    mark.hidden = false;
    mark.style.left = `${canvas.offsetLeft + ((place[0] + 0.5) / canvas.width) * canvas.offsetWidth}px`;
    mark.style.top = `${canvas.offsetTop + ((place[1] + 0.5) / canvas.height) * canvas.offsetHeight}px`;
  };
  canvas.addEventListener("blur", () => { mark.hidden = true; held = false; });
  const under = (event) => {
    const box = canvas.getBoundingClientRect();
    return [Math.floor(((event.clientX - box.left) / box.width) * canvas.width), Math.floor(((event.clientY - box.top) / box.height) * canvas.height)];
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (!state.answer) return;
    try { canvas.setPointerCapture(event.pointerId); } catch { /* a pointer that is gone already */ }
    down = true; place = under(event); begin(...place); event.preventDefault();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!down) return;
    const from = place, by = under(event).map((to, k) => to - from[k]), steps = Math.max(...by.map(Math.abs)); // no gaps
    for (let k = 1; k <= steps; k++) { place = from.map((at, d) => Math.round(at + (by[d] * k) / steps)); go(...place); }
  });
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { down = false; });
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    place = place || [canvas.width >> 1, canvas.height >> 1];
    if (!state.answer) return;
    if (step) {
      if (event.shiftKey && !held) begin(...place);
      held = event.shiftKey;
      place = [0, 1].map((k) => Math.min(Math.max(place[k] + step[k], 0), (k ? canvas.height : canvas.width) - 1));
      showRing();
      if (held) go(...place);
      $("said").textContent = `column ${place[0]}, row ${place[1]}`;
    } else if (event.key === " ") { showRing(); begin(...place); }
    else return;
    event.preventDefault();
  });
}

// ---- files

/** Begin with a picture file, or say why not; words: what else is to be said. */
async function readFile(file, words = "") {
  const size = state.setup.size;
  if (file.size > MOST_BYTES) { problem(`${file.name} has ${Math.round(file.size / 1e6)} MB; an image may have ${MOST_BYTES >> 20} MB`); return; }
  let picture;
  try { picture = await createImageBitmap(file); } catch {
    problem(`${file.name} is no image that this browser can read`);
    return;
  }
  // A square as the run's data.fit makes it: cut out, whole between black borders, or bent.
  const { width, height } = picture, fit = state.setup.fit, canvas = element("canvas");
  const scale = fit === "cut" ? size / Math.min(width, height) : size / Math.max(width, height);
  const [wide, high] = fit === "stretch" ? [size, size] : [width * scale, height * scale];
  canvas.width = canvas.height = size;
  const drawing = canvas.getContext("2d");
  drawing.imageSmoothingQuality = "high";
  drawing.fillRect(0, 0, size, size);
  drawing.drawImage(picture, (size - wide) / 2, (size - high) / 2, wide, high);
  picture.close();
  const data = drawing.getImageData(0, 0, size, size).data, pixels = new Uint8Array(3 * size * size);
  for (let k = 0; k < size * size; k++) for (let p = 0; p < 3; p++) pixels[3 * k + p] = data[4 * k + p];
  begin(file.name, pixels, null, null);
  state.words = words;
}
function listenForFiles() {
  document.addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("dropping"); });
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) document.body.classList.remove("dropping"); });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dropping");
    const { files } = event.dataTransfer;
    if (!files.length) { problem("what was dropped is no file"); return; }
    readFile(files[0], files.length > 1 ? `${files.length} files were dropped: this is the first, ${files[0].name}` : "");
  });
  $("file").addEventListener("change", () => { if ($("file").files[0]) readFile($("file").files[0]); $("file").value = ""; });
}

// ---- the start

/** Within a page of the site: shorter, and in the colours that the reader chose there. */
function becomePart() {
  document.body.classList.add("within");
  let site;
  try { site = window.parent.document.body; } catch { return; } // opened as a file, pages do not know each other
  const follow = () => { document.documentElement.style.colorScheme = { light: "light", dark: "dark" }[site.dataset.theme] || ""; };
  follow();
  new MutationObserver(follow).observe(site, { attributes: true });
}

async function start() {
  $("loading").textContent = "The networks are on their way.";
  if (window.self !== window.top) becomePart();
  const setup = await source.setup();
  state.setup = setup;
  $("title").textContent = `Network: ${setup.title}.`;
  document.title = `${setup.title} · minran live`;
  $("network").replaceChildren(...Object.keys(setup.networks).map((name) => new Option(name, name)));
  $("compared").hidden = Object.keys(setup.networks).length < 2;
  for (const [name, { words }] of Object.entries(setup.networks)) {
    const row = element("tr"), cell = element("td", "equation");
    showEquation(cell, words);
    row.append(element("th", "", name), cell);
    $("compared").querySelector("tbody").append(row);
  }
  for (const picture of setup.pictures) {
    const button = element("button"), canvas = element("canvas"), pixels = bytesOf(picture.pixels);
    button.type = "button";
    button.setAttribute("aria-label", picture.name);
    button.title = picture.name;
    drawPixels(canvas, pixels, setup.size);
    button.append(canvas);
    button.addEventListener("click", () => begin(picture.name, pixels, picture.object && bytesOf(picture.object), button));
    $("gallery").append(button);
  }
  $("tool").querySelector("[value=other]").disabled = setup.pictures.some((p) => !p.object);
  paintable($("picture"), startStroke, stroke);
  paintable($("own"), strokeOwn, strokeOwn);
  listenForFiles();
  for (const id of ["network", "random", "all", "channel"]) $(id).addEventListener("change", ask);
  $("all").addEventListener("change", () => { $("channel").disabled = $("all").value !== "one"; });
  $("scale").addEventListener("change", show);
  $("module").addEventListener("change", showWalk);
  $("value").addEventListener("input", () => { $("valued").textContent = Number($("value").value).toFixed(2); });
  $("undo").addEventListener("click", () => {
    const before = state.history.pop();
    if (before) { [state.pixels, state.object] = before; drawPicture(); ask(); }
  });
  $("reset").addEventListener("click", () => {
    remember();
    state.pixels = state.first.slice(); state.object = state.firstObject && state.firstObject.slice();
    drawPicture(); ask();
  });
  for (const button of document.querySelectorAll("[data-fill]")) button.addEventListener("click", () => {
    const module = chosen(), key = keyOf(module), how = button.dataset.fill;
    if (how === "off") delete state.own[key];
    else if (how === "object") {
      const map = emptyMask(module, 0), size = state.setup.size;
      for (let r = 0; r < map.rows; r++) for (let c = 0; c < map.columns; c++) { // the share of each patch
        let sum = 0, count = 0;
        for (let y = Math.floor((r * size) / map.rows); y < Math.ceil(((r + 1) * size) / map.rows); y++)
          for (let x = Math.floor((c * size) / map.columns); x < Math.ceil(((c + 1) * size) / map.columns); x++) { sum += state.object[y * size + x]; count++; }
        map.values[r * map.columns + c] = sum / count;
      }
      state.own[key] = map;
    } else {
      const values = mapOf(maskStep(module).map).values;
      const mean = values.reduce((s, v) => s + v, 0) / values.length;
      state.own[key] = emptyMask(module, { zero: 0, one: 1, mean }[how]);
    }
    ask();
  });
  $("loading").textContent = "";
  $("main").hidden = false;
  $("gallery").firstChild.click();
}

start().catch((error) => {
  problem(`The page could not start: ${error.message}`);
  $("loading").textContent = "";
  if ($("still")) $("still").hidden = false;
});
