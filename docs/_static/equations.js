// Equations that are wider than their column break: at a gap, else before a relation, else before
// a term, a factor or within brackets. MathJax 3 breaks none, so each becomes pieces within pieces,
// which the browser lays out like words.
const RELATIONS = /^[=<>≤≥≈≠∼∝∈←→⟹⟺⇒⇔]/u, ARROWS = /^[⟹⟺⇒⇔]/u, SUMS = /^[+−]/u;
const OPEN = /^[([{⟨⌊⌈]/u, CLOSE = /^[)\]}⟩⌋⌉]/u;

/** The letter of an operator, or of one with words above it; "" for all else. */
function sign(node) {
  const under = ["", "> mjx-base", "> mjx-row > mjx-base"].map((path) => `:scope ${path} > mjx-mo:first-child`);
  const mo = node.localName === "mjx-mo" ? node : node.querySelector(under.join());
  const code = mo?.querySelector("mjx-c")?.className.match(/^mjx-c([0-9A-F]+)/);
  return code ? String.fromCodePoint(parseInt(code[1], 16)) : "";
}

function isGap(node) {
  const space = node.localName === "mjx-mstyle" ? node.firstElementChild : node;
  return space?.localName === "mjx-mspace" && parseFloat(space.style.width) >= 1;
}

const isWord = (node) => !isGap(node) && !ARROWS.test(sign(node));
const rules = [
  // An arrow stays with what follows it.
  (node, before) => isGap(node) !== isGap(before.at(-1)) && (before.every(isGap) || before.some(isWord)),
  // What stands before the first relation stays with it.
  (node, before) => RELATIONS.test(sign(node)) && before.some((n) => RELATIONS.test(sign(n))),
  (node, before) => before.at(-1).localName === "mjx-mtext" || (SUMS.test(sign(node)) && node.hasAttribute("space")),
  (node, before) => CLOSE.test(sign(before.at(-1))) && !/^[)\]⟩,.:;]/u.test(sign(node)),
];
const inBrackets = [
  (_, before) => sign(before.at(-1)) === ",",
  (_, before) => OPEN.test(sign(before.at(-1))),
];

/** Lists of nodes: a new one begins where the rule says so of a node and the list before it. */
function split(nodes, rule) {
  const parts = [[]];
  let depth = 0;
  for (const node of nodes) {
    const may = parts.at(-1).length && (!depth || inBrackets.includes(rule));
    if (may && rule(node, parts.at(-1))) parts.push([]);
    parts.at(-1).push(node);
    depth += OPEN.test(sign(node)) - CLOSE.test(sign(node));
  }
  return parts;
}

function piece(nodes, kind = "piece") {
  const made = document.createElement("span");
  made.className = kind;
  made.append(...nodes);
  return made;
}

/** The nodes as pieces of a rule, each made of pieces of the rules after it. */
function pieces(nodes, [rule, ...further] = [...rules, ...inBrackets]) {
  if (!rule) return nodes;
  const parts = split(nodes, rule);
  return parts.length === 1 ? pieces(nodes, further) : parts.map((part) => piece(pieces(part, further)));
}

/** The rows of a table that is too wide, below each other, each broken for itself. */
function rows(table) {
  return [...table.querySelectorAll("mjx-mtr, mjx-mlabeledtr")].map((row) => {
    const cells = [...row.children].map((cell) => [...cell.children].filter((n) => n.localName !== "mjx-tstrut"));
    const [left, right = [], ...others] = cells;
    const columns = others.filter((cell) => cell.length).map((cell) => piece(pieces(cell), "piece column"));
    return piece([...pieces([...left, ...right]), ...columns], left.length ? "piece row" : "piece row further");
  });
}

window.MathJax?.startup.promise.then(() => {
  for (const text of document.querySelectorAll('mjx-container[display="true"] mjx-mtext')) {
    const words = split([...text.children], (_, before) => /mjx-c(A0|20)\b/.test(before.at(-1).className));
    if (words.length > 3) text.replaceChildren(...words.map((word) => piece(word)));
  }
  const tables = new Map();
  for (const math of document.querySelectorAll('mjx-container[display="true"] > mjx-math')) {
    const [first, ...others] = math.children;
    if (first.localName !== "mjx-mtable") math.replaceChildren(...pieces([...math.children]));
    else if (!others.length) tables.set(math, first);
  }
  function fit() {
    for (const [math, table] of tables) {
      math.replaceChildren(table);
      if (math.parentNode.scrollWidth > math.parentNode.clientWidth) math.replaceChildren(...rows(table.cloneNode(true)));
    }
    for (const math of document.querySelectorAll(":is(p, li) > .math > mjx-container > mjx-math:not(:has(> .piece))"))
      if (math.offsetWidth > math.closest("p, li").offsetWidth) math.replaceChildren(...pieces([...math.children]));
  }
  fit();
  for (const event of ["resize", "toggle"]) addEventListener(event, fit, true);
  document.body.dataset.equations = "fit";
});
