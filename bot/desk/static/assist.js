// The reply assistant: suggestions for the customer's last message, and warnings about what is being
// written. It never sends anything, and nothing of it is needed to work.

import { $, current, onShown, post, words } from "./page.js";
import { insert, kind } from "./composer.js";

let asked = ""; // for which message suggestions were fetched last

async function suggest() {
  const box = $("assist");
  const about = `${current()}/${$("thread").dataset.said}`;
  if (!box || (asked === about && box.childElementCount)) return;
  asked = about;
  try {
    const response = await fetch(`/desk/conversations/${current()}/suggestions`);
    const html = response.ok ? await response.text() : "";
    if (asked === about && $("assist")) $("assist").innerHTML = html; // our own server's, escaped there
  } catch {
    asked = "";
  }
}

/** Inserts a suggestion by its number. */
export function use(number) {
  const found = document.querySelectorAll("#assist [data-text]")[number];
  if (found) insert(found.dataset.text);
}

document.addEventListener("click", ({ target }) => {
  const button = target.closest("#assist [data-text]");
  if (button) insert(button.dataset.text);
});

// --- Warnings ---

let pause = null;
let checked = "";

document.addEventListener("input", ({ target }) => {
  if (target.id !== "text" && target.name !== "kind") return;
  clearTimeout(pause);
  pause = setTimeout(check, 600);
});

async function check() {
  const [id, text] = [current(), $("text")?.value ?? ""];
  if (!$("assist") || kind() !== "answer" || text.length < 12) return $("warnings")?.replaceChildren();
  if (text === checked) return;
  checked = text;
  try {
    const response = await post(`/desk/conversations/${id}/check`, { text });
    const html = response.ok ? await response.text() : "";
    if (id === current() && $("text")?.value === text) $("warnings").innerHTML = html;
  } catch {
    checked = "";
  }
}

// --- The voice guide ---

document.addEventListener("click", async ({ target }) => {
  if (target.id !== "voice-open") return;
  if (!$("voice")) {
    const dialog = Object.assign(document.createElement("dialog"), { id: "voice", className: "wide" });
    dialog.setAttribute("aria-label", target.textContent);
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
    document.body.append(dialog);
  }
  const response = await fetch("/desk/voice").catch(() => null);
  $("voice").innerHTML = response?.ok ? await response.text() : "";
  if (!$("voice").childElementCount) $("voice").textContent = words.away;
  $("voice").showModal();
});

onShown(suggest);
suggest();
