// The list of conversations: filters that apply at once, steps by key, rows that don't move under the
// pointer, and marks on those with a draft.

import { $, go, onShown, show, steadyWith, words } from "./page.js";

/** While somebody points at the rows, or steps through them, they keep their places: what is new waits
 *  behind a button, what has gone is faded. */
let held = null; // the queue as the server has it, not shown yet

const busy = () => $("rows")?.matches(":hover") || $("rows")?.contains(document.activeElement);

steadyWith((page, live) => {
  const here = $("rows");
  const there = page.getElementById("rows");
  const same = page.getElementById("queue").dataset.place === $("queue").dataset.place;
  held = null;
  if (!live || !here || !same || !busy()) return;
  const list = there ?? Object.assign(page.createElement("ul"), { id: "rows" });
  const fresh = new Map([...list.children].map((row) => [row.id, row]));
  const shown = [...here.children].map((row) => row.id);
  const kept = shown.map((id, i) => fresh.get(id) ?? faded(page.importNode(here.children[i], true)));
  const order = [...fresh.keys()];
  const moved = order.filter((id, i) => id !== shown[i]).length + shown.filter((id) => !fresh.has(id)).length;
  if (!moved) return;
  held = page.getElementById("queue").outerHTML;
  list.replaceChildren(...kept);
  if (!there) page.getElementById("rows-empty").replaceWith(list);
  const button = page.getElementById("held");
  button.hidden = false;
  button.textContent = words.changed.replace("%d", moved);
});

function faded(row) {
  row.classList.add("gone");
  return row;
}

function settle() {
  if (held && !busy()) show(held);
}

$("queue").addEventListener("pointerleave", settle);
$("queue").addEventListener("focusout", () => setTimeout(settle));
$("queue").addEventListener("click", (event) => {
  if (event.target.id !== "held" || !held) return;
  const html = held;
  held = null;
  show(html);
  $("queue-scroller").scrollTop = 0;
});

const isFind = (form) => form?.id === "find";

/** A filter applies as soon as it is chosen; the open conversation stays. */
document.addEventListener("change", ({ target }) => isFind(target.form) && target.form.requestSubmit());

let typing = null;
document.addEventListener("input", ({ target }) => {
  if (target.id !== "q") return;
  clearTimeout(typing);
  typing = setTimeout(() => isFind(target.form) && target.form.requestSubmit(), 350);
});

document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!isFind(form)) return;
  event.preventDefault();
  clearTimeout(typing);
  const fields = [...new FormData(form)].filter(([, value]) => value);
  const at = [document.activeElement?.id, $("q").selectionStart];
  await go(`${form.getAttribute("action")}?${new URLSearchParams(fields)}`);
  if (at[0] !== "q") return;
  $("q").focus();
  $("q").setSelectionRange(at[1], at[1]);
});

/** Moves the focus to the next row, or the one before. */
export function step(by) {
  const rows = [...document.querySelectorAll("#rows a")];
  const at = rows.indexOf(document.activeElement.closest("#rows a") ?? document.querySelector("#rows [aria-current]"));
  rows[at < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(rows.length - 1, Math.max(0, at + by))]?.focus();
}

/** Marks the rows in which something was begun and not sent. */
function markDrafts() {
  const prefix = `reply-twice:draft:${document.body.dataset.agent}:`;
  for (const row of document.querySelectorAll("#rows a")) {
    const has = localStorage.getItem(prefix + row.id.replace("open-", "")) !== null;
    if (has === Boolean(row.querySelector(".draft"))) continue;
    if (!has) row.querySelector(".draft").remove();
    else row.querySelector(".who").append(Object.assign(document.createElement("span"), { className: "draft", textContent: words.draft }));
  }
}

onShown(markDrafts);
markDrafts();
