// Swaps in what the server renders: its HTML is fetched and morphed into the page, so that focus, scroll,
// selection and drafts stay. Every link and form works without this.

export const $ = (id) => document.getElementById(id);
export const words = $("words").dataset;
export const skew = Date.now() - Date.parse(document.body.dataset.now);
export const current = () => Number($("thread").dataset.conversation) || null;
export const place = () => $("queue").dataset.place;
const listeners = [];
/** Calls `listener(moved)` after the page has changed; `moved` if another conversation is open. */
export const onShown = (listener) => listeners.push(listener);

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

let steady = null; // holds the rows where they are while somebody points at them: see stream.js
/** `hold(page)` may change a fetched page's queue before it is shown. */
export const steadyWith = (hold) => (steady = hold);

/** Takes over the regions that `html` holds. Returns false if it is no page of the desk. `live` says that
 *  nobody asked for it: rows then stay where they are under the pointer. */
export function show(html, live = false) {
  const page = new DOMParser().parseFromString(html, "text/html");
  const regions = ["queue", "thread", "card", "notice"].filter((id) => page.getElementById(id));
  if (!regions.length) return false;
  const before = { id: current(), focus: document.activeElement?.id, bottom: atBottom(), row: anchor() };
  if (regions.includes("notice")) $("app").className = page.getElementById("app").className;
  if (regions.includes("queue")) steady?.(page, live);
  for (const id of regions) morph($(id), page.getElementById(id));
  const moved = current() !== before.id;
  if (moved || before.bottom) toBottom();
  if (regions.includes("queue")) restore(before.row);
  if (document.activeElement === document.body && before.focus) $(before.focus)?.focus({ preventScroll: true });
  const waiting = Number($("queue").dataset.waiting);
  document.title = (waiting ? `(${waiting > 99 ? "99+" : waiting}) ` : "") + document.title.replace(/^\(\d+\+?\) /, "");
  for (const listener of listeners) listener(moved);
  return true;
}

const atBottom = () => !$("history") || $("history").scrollHeight - $("history").scrollTop - $("history").clientHeight < 40;
export const toBottom = () => $("history")?.scrollTo(0, $("history").scrollHeight);

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

let latest = null; // what the reader asked for last: an older answer that comes late isn't shown
export const asked = () => latest;

/** Fetches a page. Throws if the server can't be reached; leaves for the log-in page if the session has
 *  ended. */
export async function load(url, options = {}) {
  const response = await fetch(url, { headers: { Accept: "text/html" }, ...options });
  if (new URL(response.url).pathname === "/desk/login") {
    location.assign(response.url);
    await new Promise(() => {}); // the page is about to go; drafts are stored
  }
  if (response.status >= 500) throw new Error(String(response.status));
  return { html: await response.text(), ok: response.ok, url: response.url };
}

const leaving = [];
/** Calls `listener` before another conversation is opened. */
export const onLeave = (listener) => leaving.push(listener);

/** Opens a link of the desk without leaving the page. */
export async function go(url, push = true) {
  const mine = (latest = new AbortController());
  for (const listener of leaving) listener();
  try {
    const page = await load(url, { signal: mine.signal });
    if (mine !== latest || !show(page.html)) return mine === latest && location.assign(url);
    if (push) history.pushState(null, "", url);
    if (getComputedStyle($("queue")).display === "none") $("thread").focus({ preventScroll: true });
  } catch (error) {
    if (error.name !== "AbortError") say(words.away);
  }
}

/** Sends a form and shows the page that answers it; says whether it was done. `done(text)` runs before. */
export async function send(form, submitter, done) {
  if (form.dataset.busy) return false;
  form.dataset.busy = "yes";
  const mine = (latest = new AbortController());
  const body = new URLSearchParams(new FormData(form, submitter));
  try {
    const page = await load(form.action, { method: "POST", body });
    if (page.ok) done?.(body.get("text"));
    if (mine === latest ? !show(page.html) : !page.ok) say(words.notDone);
    return page.ok;
  } catch {
    say(form.id === "composer" ? words.notSent : words.away);
    return false;
  } finally {
    delete form.dataset.busy;
  }
}

/** Posts without showing an answer. */
export const post = (url, fields) =>
  fetch(url, { method: "POST", body: new URLSearchParams(fields), headers: { "X-CSRF-Token": document.body.dataset.csrf } });

export function say(text) {
  $("notice").replaceChildren(Object.assign(document.createElement("p"), { textContent: text }));
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a");
  const plain = !event.defaultPrevented && event.button === 0 && !(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey);
  if (!link || !plain || link.target || link.origin !== location.origin || link.getAttribute("href").startsWith("#")) return;
  if (!/^\/desk($|\/conversations\/)/.test(link.pathname)) return;
  event.preventDefault();
  go(link.href);
});

addEventListener("popstate", () => go(location.href, false));
