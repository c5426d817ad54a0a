/* A page that grows: the server sends parts as [[id, HTML], …], each in place of the element that has its id. */
const connection = document.getElementById("connection");
const team = document.title.replace(/: [^:]*$/, "");
const FIELDS = "input:not([type=hidden]), textarea, select";
const FOCUSABLE = "a[href], button, summary, [tabindex], " + FIELDS;
const SCROLLABLE = ".scroll, details[open] pre, .ask pre";
const within = (root, selector) => [...root.querySelectorAll(selector)];

/* What a person has done to a part outlasts its replacement: unfolding, typing, scrolling, the focus. */
function keep(old, fresh) {
  for (const details of within(old, "details[id]")) {
    const same = fresh.querySelector(`#${CSS.escape(details.id)}`);
    if (same) same.open = details.open;
  }
  const fields = within(fresh, FIELDS);
  for (const [index, field] of within(old, FIELDS).entries()) {
    const same = fields[index];
    if (same?.name !== field.name || same.id !== field.id) continue;
    if (["radio", "checkbox"].includes(field.type)) same.checked = field.checked;
    else if (field.value !== field.defaultValue) same.value = field.value;
  }
  const readout = old.querySelector("#readout"), stream = old.querySelector("#stream");
  if (readout && !readout.firstElementChild) fresh.querySelector("#readout")?.replaceChildren(readout.textContent);
  if (stream) fresh.querySelector("#stream").replaceWith(stream);
}

/* All is read before anything is changed: each change of the page would make the browser lay it out anew. */
function replaceParts(parts) {
  const changes = parts.map(([id, html]) => {
    const old = document.getElementById(id), template = document.createElement("template");
    template.innerHTML = html;
    const focused = old?.contains(document.activeElement) ? within(old, FOCUSABLE).indexOf(document.activeElement) : -1;
    const scrolled = old ? within(old, SCROLLABLE).map((box) => [box.scrollLeft, box.scrollTop]) : [];
    return { id, old, fresh: template.content.firstElementChild, focused, scrolled };
  });
  for (const change of changes) replacePart(change);
  for (const { fresh, focused, scrolled } of changes) {
    for (const [index, place] of scrolled.entries())
      if (place.some(Boolean) && fresh) {
        const box = within(fresh, SCROLLABLE)[index];
        if (box) [box.scrollLeft, box.scrollTop] = place;
      }
    if (focused >= 0 && fresh) within(fresh, FOCUSABLE)[focused]?.focus({ preventScroll: true });
    else if (focused >= 0) document.querySelector(".ask button, #controls button")?.focus();
  }
  if (globalThis.search?.value && changes.some(({ id }) => id.startsWith("round-"))) filter();
}

function replacePart({ id, old, fresh }) {
  if (!fresh) old?.remove();
  else if (old) {
    keep(old, fresh);
    old.replaceWith(fresh);
  } else {
    const list = document.getElementById(id.startsWith("ask-") ? "asks" : "round-list");
    const number = (element) => Number(element.id.split("-")[1]);
    const next = [...(list?.children ?? [])].find((other) => number(other) > number(fresh));
    list?.insertBefore(fresh, next ?? null);
  }
}

/* The title says what waits for a person; the colour of the page how the run stands. */
function update() {
  const now = document.getElementById("now"), runs = document.getElementById("runs");
  const asks = document.querySelectorAll(".ask").length, head = document.getElementById("head");
  if (now) document.title = `${asks ? "● " : ""}${team}: ${now.dataset.title}`;
  if (head) document.body.className = head.dataset.outcome;
  if (runs) document.title = `magentic-kit: ${runs.dataset.title}`;
  if (globalThis.search?.form) search.form.hidden = !document.querySelector(".round");
}

/* Text that is being written is added to, and shown only while it grows. */
function write(key, title, begin, text) {
  const box = document.getElementById("stream");
  if (!box) return;
  const follows = box.scrollTop + box.clientHeight >= box.scrollHeight - 8;
  if (begin === 0 || box.dataset.key !== key) box.textContent = "";
  box.dataset.key = key;
  box.append(text);
  box.normalize();
  box.hidden = !key || !box.textContent;
  box.setAttribute("aria-label", title || "What is being written");
  if (follows) box.scrollTop = box.scrollHeight;
}

/* A browser hands over at once what came together: each batch gets a turn of its own, and the page stays quick. */
const batches = [];

function replaceNext() {
  replaceParts(JSON.parse(batches.shift()));
  update();
  if (batches.length) setTimeout(replaceNext);
}

if (document.body.dataset.events) {
  const source = new EventSource(document.body.dataset.events);
  source.addEventListener("parts", (event) => {
    if (batches.push(event.data) === 1) setTimeout(replaceNext);
  });
  source.addEventListener("text", (event) => write(...JSON.parse(event.data)));
  source.addEventListener("open", () => (connection.textContent = ""));
  source.addEventListener("error", () => {
    const closed = source.readyState === EventSource.CLOSED;
    connection.textContent = closed ? "The server has ended: start it again, and open its new address." : "Connecting again …";
  });
  addEventListener("pagehide", () => source.close());
  addEventListener("pageshow", (event) => event.persisted && location.reload());
  update();
}

/* Decisions are sent without leaving the page, whose parts then change; without a script they are plain forms. */
document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (form.method !== "post" || "leaves" in form.dataset || !form.closest(".ask, #controls")) return;
  event.preventDefault();
  const body = new URLSearchParams(new FormData(form, event.submitter)), buttons = within(form, "button");
  for (const button of buttons) button.disabled = true;
  let problem = "The server did not answer: is it still there?";
  try {
    const answer = await fetch(form.action, { method: "POST", body, redirect: "manual" });
    if (answer.type === "opaqueredirect") problem = "";
    else {
      const text = await answer.text(), page = new DOMParser().parseFromString(text, "text/html");
      problem = (page.querySelector(".problems") ?? page.body).textContent.trim();
    }
  } catch {}
  let alert = form.querySelector("[role=alert]");
  if (!problem) return alert?.remove();
  if (!alert) {
    alert = document.createElement("p");
    alert.className = "problem";
    alert.setAttribute("role", "alert");
    form.append(alert);
  }
  alert.textContent = problem;
  for (const button of buttons) button.disabled = false;
});
