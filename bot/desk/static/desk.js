// Makes the desk's pages live. Every link and form here works without it; with it, the server's HTML
// is fetched and morphed into the page, so that focus, scroll, selection and drafts stay.

const $ = (id) => document.getElementById(id);
const words = $("words").dataset;
const skew = Date.now() - Date.parse(document.body.dataset.now);
const current = () => Number($("thread").dataset.conversation) || null;
const view = () => $("queue").dataset.view;

document.documentElement.classList.add("scripted-page");

// --- Swapping in what the server renders ---

/** Makes `from` look like `to`, keeping every node that both have. An element with `data-keep` is
 *  left alone, with all its state, as long as the server gives it the same value. */
function morph(from, to) {
  if (from.nodeType === Node.TEXT_NODE) {
    if (from.data !== to.data) from.data = to.data;
    return;
  }
  if (from.nodeType !== Node.ELEMENT_NODE || (from.dataset.keep && from.dataset.keep === to.dataset.keep)) return;
  for (const { name } of [...from.attributes]) if (!to.hasAttribute(name)) from.removeAttribute(name);
  for (const { name, value } of to.attributes) if (from.getAttribute(name) !== value) from.setAttribute(name, value);
  const wanted = new Set([...to.children].map((child) => child.id).filter(Boolean));
  for (const child of [...from.children]) if (child.id && !wanted.has(child.id)) child.remove();
  const known = new Map([...from.children].filter((child) => child.id).map((child) => [child.id, child]));
  let at = from.firstChild;
  for (const child of [...to.childNodes]) {
    const twin = child.id ? known.get(child.id) : alike(at, child) ? at : null;
    if (!twin) {
      from.insertBefore(document.importNode(child, true), at);
      continue;
    }
    if (twin === at) at = at.nextSibling;
    else from.insertBefore(twin, at);
    if (twin.dataset?.keep && twin.dataset.keep !== child.dataset.keep) twin.replaceWith(document.importNode(child, true));
    else morph(twin, child);
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

const alike = (one, other) => one && one.nodeName === other.nodeName && !one.id && !other.id;

/** Takes over the regions that `html` holds. Returns false if it is no page of the desk. */
function show(html) {
  const page = new DOMParser().parseFromString(html, "text/html");
  const regions = ["queue", "thread", "card", "notice"].filter((id) => page.getElementById(id));
  if (!regions.length) return false;
  const before = { id: current(), focus: document.activeElement?.id, bottom: atBottom(), row: anchor() };
  if (regions.includes("notice")) $("app").className = page.getElementById("app").className;
  for (const id of regions) morph($(id), page.getElementById(id));
  const moved = current() !== before.id;
  if (moved || before.bottom) toBottom();
  if (regions.includes("queue")) restore(before.row);
  if (document.activeElement === document.body && before.focus) $(before.focus)?.focus({ preventScroll: true });
  const waiting = Number($("queue").dataset.waiting);
  document.title = (waiting ? `(${waiting}) ` : "") + document.title.replace(/^\(\d+\) /, "");
  if (moved || !$("text")?.dataset.ready) loadDraft();
  tick();
  return true;
}

const atBottom = () => !$("history") || $("history").scrollHeight - $("history").scrollTop - $("history").clientHeight < 40;
const toBottom = () => $("history")?.scrollTo(0, $("history").scrollHeight);

/** The first row in sight and where it stands; rows that come or go above it don't move it. */
function anchor() {
  const top = $("queue-scroller").getBoundingClientRect().top;
  if (!$("queue-scroller").scrollTop) return null;
  const row = [...document.querySelectorAll("#rows > li")].find((li) => li.getBoundingClientRect().bottom > top);
  return row && { id: row.id, top: row.getBoundingClientRect().top };
}

function restore(row) {
  const now = row && $(row.id);
  if (now) $("queue-scroller").scrollTop += now.getBoundingClientRect().top - row.top;
}

// --- Talking to the server ---

let latest = null; // what the reader asked for last: an older answer that comes late isn't shown

/** Fetches and shows a page. Throws if the server can't be reached; leaves for the log-in page if
 *  the session has ended. */
async function load(url, options = {}) {
  const response = await fetch(url, { headers: { Accept: "text/html" }, ...options });
  if (new URL(response.url).pathname === "/desk/login") {
    location.assign(response.url);
    await new Promise(() => {}); // the page is about to go; drafts are stored
  }
  if (response.status >= 500) throw new Error(String(response.status));
  return { html: await response.text(), ok: response.ok, url: response.url };
}

/** Opens a link of the desk without leaving the page. */
async function go(url, push = true) {
  const mine = (latest = new AbortController());
  saveDraft();
  try {
    const page = await load(url, { signal: mine.signal });
    if (mine !== latest || !show(page.html)) return mine === latest && location.assign(url);
    if (push) history.pushState(null, "", url);
    if (getComputedStyle($("queue")).display === "none") $("thread").focus({ preventScroll: true });
  } catch (error) {
    if (error.name !== "AbortError") say(words.away);
  }
}

/** Sends a form and shows the page that answers it; says whether it was done. */
async function send(form, submitter) {
  if (form.dataset.busy) return false;
  form.dataset.busy = "yes";
  const mine = (latest = new AbortController());
  const body = new URLSearchParams(new FormData(form, submitter));
  const key = draftKey();
  try {
    const page = await load(form.action, { method: "POST", body });
    if (page.ok && form.id === "composer") sent(form, body.get("text"), key);
    if (mine === latest ? !show(page.html) : !page.ok) say(words.notDone);
    return page.ok;
  } catch {
    say(form.id === "composer" ? words.notSent : words.away);
    return false;
  } finally {
    delete form.dataset.busy;
  }
}

function say(text) {
  $("notice").replaceChildren(Object.assign(document.createElement("p"), { textContent: text }));
}

// --- The text box: drafts, and ids that make a retry the same message ---

const kind = () => document.querySelector("#composer [name=kind]:checked")?.value;
const draftKey = () => `reply-twice:draft:${document.body.dataset.agent}:${current()}`;
const newId = () => [...crypto.getRandomValues(new Uint8Array(12))].map((n) => n.toString(16).padStart(2, "0")).join("");

function saveDraft() {
  const text = $("text");
  if (!text?.dataset.ready) return;
  if (text.value) localStorage.setItem(draftKey(), JSON.stringify({ kind: kind(), text: text.value }));
}

/** Fills the box with what was being written here. An answer is never offered as a note, nor a note
 *  as an answer. */
function loadDraft() {
  const text = $("text");
  if (!text) return;
  text.dataset.ready = "yes";
  const draft = JSON.parse(localStorage.getItem(draftKey()) ?? "null");
  const choice = draft && document.querySelector(`#composer [name=kind][value=${draft.kind === "note" ? "note" : "answer"}]`);
  if (choice && !text.value) {
    choice.checked = true;
    text.value = draft.text;
    if ($("leave-note")) $("leave-note").open = true;
  }
  grow();
}

/** After a message has gone: a fresh id, and of the text only what was typed since. */
function sent(form, text, key) {
  const box = form.elements.text;
  form.elements.client_id.value = newId();
  if (box.value.startsWith(text)) box.value = box.value.slice(text.length).trimStart();
  localStorage.removeItem(key);
  if (form.isConnected) saveDraft();
  grow();
  toBottom();
}

function grow() {
  const text = $("text");
  if (!text || CSS.supports("field-sizing", "content")) return;
  text.rows = Math.min(10, Math.max(2, text.value.split("\n").length));
}

document.addEventListener("input", ({ target }) => {
  if (!target.closest("#composer")) return;
  const form = $("composer");
  // What was tried and then changed is another message: its id must be another, too.
  if (form.dataset.tried && form.dataset.tried !== $("text").value) {
    form.elements.client_id.value = newId();
    delete form.dataset.tried;
  }
  if (!$("text").value) localStorage.removeItem(draftKey());
  saveDraft();
  grow();
});

document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!form.action.includes("/desk/conversations/")) return;
  event.preventDefault();
  if (form.id === "composer") form.dataset.tried = $("text").value;
  const taking = form.id === "form-take";
  if ((await send(form, event.submitter)) && taking) $("text")?.focus();
});

document.addEventListener("click", (event) => {
  const link = event.target.closest("a");
  const plain = !event.defaultPrevented && event.button === 0 && !(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey);
  if (!link || !plain || link.target || link.origin !== location.origin || link.getAttribute("href").startsWith("#")) return;
  if (!/^\/desk($|\/conversations\/)/.test(link.pathname)) return;
  event.preventDefault();
  go(link.href);
});

addEventListener("popstate", () => go(location.href, false));

// --- Keys ---

$("help-open").addEventListener("click", () => $("help").showModal());
$("keys-on").checked = localStorage.getItem("reply-twice:keys") !== "off";
$("keys-on").addEventListener("change", () => localStorage.setItem("reply-twice:keys", $("keys-on").checked ? "on" : "off"));

function step(by) {
  const rows = [...document.querySelectorAll("#rows a")];
  const at = rows.indexOf(document.activeElement.closest("#rows a") ?? document.querySelector("#rows [aria-current]"));
  rows[at < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(rows.length - 1, Math.max(0, at + by))]?.focus();
}

function write(as) {
  const choice = document.querySelector(`#composer [name=kind][value=${as}]`);
  if (!choice) return $("do-take")?.focus();
  if ($("leave-note")) $("leave-note").open = true;
  if (!$("text").value) choice.checked = true;
  $("text").focus();
}

const touch = matchMedia("(pointer: coarse)"); // no Shift there: Enter starts a new line
const keys = {
  j: () => step(1),
  k: () => step(-1),
  t: () => $("do-take")?.click(),
  a: () => write("answer"),
  r: () => write("answer"),
  n: () => write("note"),
  "?": () => $("help").showModal(),
};

document.addEventListener("keydown", (event) => {
  if (event.isComposing || event.keyCode === 229) return; // an input method is choosing characters
  const { key, target } = event;
  const sends = key === "Enter" && !event.shiftKey && !event.altKey && (event.ctrlKey || event.metaKey || !touch.matches);
  if (target.id === "text" && sends) {
    event.preventDefault();
    if ($("text").value.trim() && !event.repeat) target.form.requestSubmit($("send"));
  } else if (target.id === "text" && key === "Escape") {
    ($(`open-${current()}`) ?? $("thread")).focus();
  } else if (!target.closest("input, textarea, select, dialog") && !event.ctrlKey && !event.metaKey && !event.altKey) {
    const act = keys[key];
    if (!act || !$("keys-on").checked) return;
    event.preventDefault();
    act();
  }
});

// --- Live ---

const changes = new Map(); // conversation → who wrote last, until the page has caught up
let due = null; // the timer of the next refresh: a burst of events makes one
let stale = false; // whether the open conversation may have missed something
let busy = false;
let lost = null;

function later(ms = 80) {
  if (!busy) due ??= setTimeout(refresh, ms);
}

/** Fetches the queue, and the open conversation if it changed. One at a time, so that an older answer
 *  never replaces a newer one. */
async function refresh() {
  const [id, shown, asked, news] = [current(), view(), latest, new Map(changes)];
  const urls = [`/desk/queue?view=${shown}${id ? `&open=${id}` : ""}`];
  if (id && (stale || news.has(id))) urls.push(`/desk/conversations/${id}/thread?view=${shown}`);
  changes.clear();
  [due, busy, stale] = [null, true, false];
  let pause = 250;
  try {
    const pages = await Promise.all(urls.map((url) => load(url)));
    connected(true);
    if (latest !== asked) stale = true; // the reader has moved on meanwhile
    else for (const page of pages) if (page.ok) show(page.html);
    announce(news);
  } catch {
    connected(false);
    for (const change of news) if (!changes.has(change[0])) changes.set(...change);
    [stale, pause] = [true, 2000];
  }
  busy = false;
  if (stale || changes.size) later(pause);
}

function announce(news) {
  const wrote = [...news].filter(([, author]) => author === "customer").map(([id]) => id);
  if (!wrote.length) return;
  const name = (id) => (id === current() ? $("thread").dataset.name : $(`open-${id}`)?.dataset.name) ?? words.somebody;
  $("said").textContent = words.message.replace("{name}", wrote.map(name).join(", "));
}

function connected(yes) {
  clearTimeout(lost);
  lost = null;
  $("lost").hidden = yes;
}

function catchUp() {
  stale = true;
  later();
}

function follow(cursor) {
  const stream = new EventSource(`/desk/events?after=${cursor}`);
  let opened = false;
  stream.addEventListener("changed", ({ data, lastEventId }) => {
    cursor = lastEventId;
    const { conversation, author } = JSON.parse(data);
    changes.set(conversation, author ?? changes.get(conversation));
    later();
  });
  stream.addEventListener("logged-out", () => location.reload());
  stream.addEventListener("open", () => {
    if (opened || lost || !$("lost").hidden) catchUp();
    opened = true;
  });
  stream.addEventListener("error", () => {
    lost ??= setTimeout(() => connected(false), 1500); // a blink isn't worth a strip
    if (stream.readyState !== EventSource.CLOSED) return;
    setTimeout(() => follow(cursor), 3000); // refused: the server restarts, or the session has ended
    catchUp();
  });
}

/** Relative times grow by themselves, by the server's clock. */
function tick() {
  for (const time of document.querySelectorAll("time[data-since]")) {
    const minutes = Math.max(0, Math.floor((Date.now() - skew - Date.parse(time.dateTime)) / 60_000));
    const text =
      minutes < 1 ? words.now : minutes < 60 ? minutes + words.min : minutes < 2880 ? Math.floor(minutes / 60) + words.h : Math.floor(minutes / 1440) + words.d;
    if (time.textContent !== text) time.textContent = text;
  }
}

loadDraft();
toBottom();
tick();
setInterval(tick, 10_000);
follow(document.body.dataset.cursor);
