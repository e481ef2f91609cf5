// Single keys and the command palette. A command is what its button or link does, under its own name.

import { $, current, words } from "./page.js";
import { write } from "./composer.js";
import { step } from "./stream.js";
import { use } from "./assist.js";

const press = (id) => () => $(id)?.click();

/** Opens a menu and puts the focus into its first field. */
function open(id) {
  if (!$(id)) return;
  $(id).open = true;
  $(id).querySelector("input:not([type=hidden]), select, textarea, button")?.focus();
}

const keys = {
  j: () => step(1),
  k: () => step(-1),
  t: () => ($("do-take") ? $("do-take").click() : open("take-over")),
  a: () => write("answer"),
  r: () => write("answer"),
  n: () => write("note"),
  e: press("do-resolve"),
  s: () => ($("do-wake") ? $("do-wake").click() : open("snooze")),
  h: () => open("hand"),
  z: press("do-reopen"),
  1: () => use(0),
  2: () => use(1),
  3: () => use(2),
  "/": () => $("q").focus(),
  "?": () => $("help").showModal(),
};

$("help-open").addEventListener("click", keys["?"]);
$("keys-on").checked = localStorage.getItem("reply-twice:keys") !== "off";
$("keys-on").addEventListener("change", () => localStorage.setItem("reply-twice:keys", $("keys-on").checked ? "on" : "off"));

const touch = matchMedia("(pointer: coarse)"); // no Shift there: Enter starts a new line

document.addEventListener("keydown", (event) => {
  if (event.isComposing || event.keyCode === 229) return; // an input method is choosing characters
  const { key, target } = event;
  const bare = !event.ctrlKey && !event.metaKey && !event.altKey;
  const sends = key === "Enter" && !event.shiftKey && !event.altKey && (event.ctrlKey || event.metaKey || !touch.matches);
  if ((event.ctrlKey || event.metaKey) && key.toLowerCase() === "k") {
    event.preventDefault();
    palette();
  } else if (event.altKey && /^Digit[1-3]$/.test(event.code)) {
    event.preventDefault();
    use(Number(event.code.at(-1)) - 1);
  } else if (target.id === "text" && sends) {
    event.preventDefault();
    if ($("text").value.trim() && !event.repeat) target.form.requestSubmit($("send"));
  } else if (key === "Escape" && target.closest("details.menu")) {
    const menu = target.closest("details.menu");
    menu.open = false;
    menu.querySelector("summary").focus();
  } else if ((target.id === "text" || target.id === "q") && key === "Escape") {
    ($(`open-${current()}`) ?? document.querySelector("#rows a") ?? $("thread")).focus();
  } else if (bare && !target.closest("input, textarea, select, dialog")) {
    const act = keys[key];
    if (!act || !$("keys-on").checked) return;
    event.preventDefault();
    act();
  }
});

/** One menu at a time; a click beside it closes it. */
document.addEventListener("click", ({ target }) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(target)) menu.open = false;
});

// --- The palette ---

const label = (element) => element.querySelector(".away") && !element.textContent.trim() ? element.title : element.textContent.trim().replace(/\s+/g, " ");

/** What can be done here and now: every button and view in sight, by its name. */
function commands() {
  const found = [];
  const shortcut = { "do-take": "t", "open-take-over": "t", "do-resolve": "e", "open-snooze": "s", "do-wake": "s", "open-hand": "h", "do-reopen": "z" };
  for (const button of document.querySelectorAll("#actions > form > button, #actions > details > summary, #locked button, #locked summary")) {
    if (button.closest(".pop")) continue;
    const menu = button.tagName === "SUMMARY" ? button.parentElement.id : null;
    found.push({ name: label(button), key: shortcut[button.id], act: menu ? () => open(menu) : () => button.click() });
  }
  const texts = JSON.parse(words.commands);
  if (document.querySelector("#composer [name=kind][value=answer]")) found.push({ name: texts["write-answer"], key: "a", act: keys.a });
  if ($("composer")) found.push({ name: texts["write-note"], key: "n", act: keys.n });
  found.push({ name: texts.search, key: "/", act: keys["/"] });
  for (const link of document.querySelectorAll("#tabs a, #chips a.pill, nav.pages a")) {
    const name = [...link.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE).map((node) => node.data).join("").trim();
    found.push({ name: $("palette").dataset.go.replace("%s", name), act: () => link.click() });
  }
  if ($("voice-open")) found.push({ name: label($("voice-open")), act: press("voice-open") });
  found.push({ name: words.help, key: "?", act: keys["?"] });
  found.push({ name: label($("do-logout")), act: press("do-logout") });
  return found;
}

let offered = [];
let chosen = 0;

function palette() {
  if ($("palette").open) return $("palette").close();
  $("palette-text").value = "";
  list();
  $("palette").showModal();
  $("palette-text").focus();
}

function list() {
  const wanted = $("palette-text").value.toLowerCase().split(/\s+/).filter(Boolean);
  offered = commands().filter(({ name }) => wanted.every((word) => name.toLowerCase().includes(word)));
  chosen = 0;
  const items = offered.map(({ name, key }, i) => {
    const item = Object.assign(document.createElement("li"), { id: `command-${i}`, textContent: name });
    item.setAttribute("role", "option");
    if (key) item.append(Object.assign(document.createElement("kbd"), { textContent: key }));
    item.addEventListener("click", () => run(i));
    return item;
  });
  const none = Object.assign(document.createElement("li"), { textContent: $("palette").dataset.none });
  none.setAttribute("role", "option");
  none.setAttribute("aria-disabled", "true");
  $("palette-list").replaceChildren(...(items.length ? items : [none]));
  mark();
}

function mark() {
  for (const [i, item] of [...$("palette-list").children].entries()) item.setAttribute("aria-selected", String(i === chosen));
  $("palette-text").setAttribute("aria-activedescendant", `command-${chosen}`);
  $(`command-${chosen}`)?.scrollIntoView({ block: "nearest" });
}

function run(i) {
  $("palette").close();
  offered[i]?.act();
}

$("palette-open").addEventListener("click", palette);
$("palette-text").addEventListener("input", list);
$("palette-text").addEventListener("keydown", (event) => {
  if (event.isComposing) return;
  const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (by && offered.length) {
    event.preventDefault();
    chosen = (chosen + by + offered.length) % offered.length;
    mark();
  } else if (event.key === "Enter") {
    event.preventDefault();
    run(chosen);
  }
});
