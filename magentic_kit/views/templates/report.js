"use strict";
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const search = document.getElementById("search"), found = document.getElementById("found");
const fold = document.getElementById("fold"), readout = document.getElementById("readout");
const rounds = all(".round"), turns = all("details.turn"), bars = all(".bar");
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

if (rounds.length) search.form.hidden = false;
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
    const open = turns.some((turn) => !turn.open);
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
let read = null; // the bar that a finger tapped last

for (const [index, bar] of bars.entries()) {
  const tell = () => (readout.textContent = bar.firstElementChild.textContent);
  const go = () => {
    if (!bar.dataset.turn) return;
    history.replaceState(null, "", `#turn-${bar.dataset.turn}`);
    show();
  };
  bar.addEventListener("pointerenter", tell);
  bar.addEventListener("focus", tell);
  bar.addEventListener("click", (event) => {
    const again = read === bar;
    read = bar;
    if (event.pointerType !== "touch" || again) go();
    else tell();
  });
  bar.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (event.key === "Enter") go();
    else if (step) bars[Math.min(Math.max(index + step, 0), bars.length - 1)].focus();
    else return;
    event.preventDefault();
  });
}
