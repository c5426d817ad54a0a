"use strict";
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const search = document.getElementById("search"), found = document.getElementById("found");
const fold = document.getElementById("fold");
const MOST_MARKS = 200; // in one round

/* Search: rounds without the words are hidden, turns with them opened and every place marked. */
let before = null; // which details were open when the search began

function ranges(root, pattern) {
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT), nodes = [];
  let text = "";
  while (walker.nextNode()) {
    nodes.push([text.length, walker.currentNode]);
    text += walker.currentNode.data;
  }
  const result = [];
  let at = 0;
  for (const match of text.matchAll(pattern)) {
    const range = new Range(), end = match.index + match[0].length;
    while (at + 1 < nodes.length && nodes[at + 1][0] <= match.index) at++;
    range.setStart(nodes[at][1], match.index - nodes[at][0]);
    while (at + 1 < nodes.length && nodes[at + 1][0] < end) at++;
    range.setEnd(nodes[at][1], end - nodes[at][0]);
    if (result.push(range) === MOST_MARKS) break;
  }
  return result;
}

function filter() {
  const words = search.value.trim();
  const pattern = new RegExp(words.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&").replace(/\s+/g, "\\s+"), "giu");
  if (before) for (const [details, open] of before) details.open = open;
  before = words ? before ?? all("details").map((details) => [details, details.open]) : null;
  const marks = [];
  let hits = 0;
  const rounds = all(".round");
  for (const round of rounds) {
    const places = words ? ranges(round, pattern) : [];
    round.hidden = words !== "" && !places.length;
    hits += places.length > 0;
    for (const place of places) {
      marks.push(place);
      for (let node = place.startContainer.parentElement; node !== round; node = node.parentElement)
        if (node.localName === "details" && !place.startContainer.parentElement.closest("summary")) node.open = true;
    }
  }
  if (hits) document.getElementById("rounds").scrollIntoView();
  found.value = words ? `${hits} of ${rounds.length} rounds` : "";
  if (globalThis.Highlight) {
    const highlight = new Highlight();
    for (const mark of marks) highlight.add(mark);
    CSS.highlights.set("found", highlight);
  }
}

if (all(".round").length) search.form.hidden = false;
search.form.addEventListener("submit", (event) => event.preventDefault());
search.addEventListener("input", filter);
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && event.target !== search && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    search.focus();
    search.select();
  } else if (event.key === "Escape" && event.target === search) {
    search.value = "";
    filter();
    search.blur();
  }
});

/* Folding, and opening what a link or a bar of the timeline points at. */
if (fold) {
  fold.hidden = false;
  fold.addEventListener("click", () => {
    const turns = all("details.turn"), open = turns.some((turn) => !turn.open);
    for (const turn of turns) turn.open = open;
    fold.textContent = open ? "Fold all" : "Open all";
  });
}

function show() {
  const turn = document.getElementById(location.hash.slice(1));
  if (!turn?.matches(".turn")) return;
  turn.open = true;
  if (turn.closest(".round").hidden) {
    search.value = "";
    filter();
  }
  turn.scrollIntoView();
  turn.firstElementChild.focus({ preventScroll: true });
}
addEventListener("hashchange", show);
show();

/* The timeline: what a bar says is shown below; arrow keys go along, Enter and a click go to the turn.
   A finger cannot point first: its first tap on a bar reads it, the second goes. */
let read = null; // the title of the bar that a finger tapped last

const tell = (bar) => (document.getElementById("readout").textContent = bar.firstElementChild.textContent);
function go(bar) {
  if (!bar.dataset.turn) return;
  history.replaceState(null, "", `#turn-${bar.dataset.turn}`);
  show();
}
for (const type of ["pointerover", "focusin", "click", "keydown"])
  document.addEventListener(type, (event) => {
    const bar = event.target.closest?.(".bar");
    if (!bar) return;
    if (type === "click") {
      const again = read === bar.textContent;
      read = bar.textContent;
      if (event.pointerType !== "touch" || again) go(bar);
      else tell(bar);
    } else if (type === "keydown") {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key], bars = all(".bar");
      if (event.key === "Enter") go(bar);
      else if (step) bars[Math.min(Math.max(bars.indexOf(bar) + step, 0), bars.length - 1)].focus();
      else return;
      event.preventDefault();
    } else tell(bar);
  });
