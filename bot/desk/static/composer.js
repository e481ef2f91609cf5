// The text box: drafts that are never lost, ids that make a retry the same message, and who else is here.

import { $, current, onLeave, onShown, post, send, toBottom } from "./page.js";

export const kind = () => document.querySelector("#composer [name=kind]:checked")?.value;
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
  $("warnings")?.replaceChildren();
  if (form.isConnected) saveDraft();
  grow();
  toBottom();
}

function grow() {
  const text = $("text");
  if (!text || CSS.supports("field-sizing", "content")) return;
  text.rows = Math.min(10, Math.max(2, text.value.split("\n").length));
}

/** Puts a text where the cursor is, as if it had been typed: it can be undone and changed. */
export function insert(text) {
  const box = $("text");
  if (!box) return;
  const answers = document.querySelector("#composer [name=kind][value=answer]");
  if (answers && !box.value) answers.checked = true;
  box.focus();
  if (!document.execCommand("insertText", false, text)) box.setRangeText(text, box.selectionStart, box.selectionEnd, "end");
  box.dispatchEvent(new Event("input", { bubbles: true }));
}

export function write(as) {
  const choice = document.querySelector(`#composer [name=kind][value=${as}]`);
  if (!choice) return ($("do-take") ?? $("open-take-over"))?.focus();
  if ($("leave-note")) $("leave-note").open = true;
  const going = $("composer").dataset.busy && $("text").value === $("composer").dataset.tried;
  if (!$("text").value || going) choice.checked = true; // what is on its way is as good as gone
  $("text").focus();
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
  types();
});

document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (form.method !== "post" || !form.action.includes("/desk/conversations/")) return;
  event.preventDefault();
  if (form.id === "composer") {
    form.dataset.tried = $("text").value;
    const key = draftKey();
    await send(form, event.submitter, (text) => sent(form, text, key));
    return;
  }
  const taking = form.id === "form-take" || form.id === "form-take-over";
  if ((await send(form, event.submitter)) && taking) $("text")?.focus();
});

// --- Who looks, and who writes ---

const BEAT = 20_000; // bot/desk/looking.py
const TYPING = 5_000; // told again that often while keys are pressed
let told = { conversation: null, types: false, at: 0 };

function look(types) {
  const conversation = document.visibilityState === "visible" ? current() : null;
  const [was, now] = [told, Date.now()];
  const since = now - was.at;
  if (conversation === was.conversation && types === was.types && since < (types ? TYPING : BEAT)) return;
  if (!conversation && !was.conversation) return;
  told = { conversation, types, at: now };
  post("/desk/looking", { ...(conversation && { conversation }), types }).catch(() => {});
}

let still = null;
function types() {
  look(Boolean($("text").value) && kind() === "answer");
  clearTimeout(still);
  still = setTimeout(() => look(false), TYPING);
}

setInterval(() => look(told.types), BEAT);
document.addEventListener("visibilitychange", () => look(false));

onLeave(saveDraft);
onShown((moved) => {
  if (moved || ($("text") && !$("text").dataset.ready)) loadDraft();
  if (moved) look(false);
});
loadDraft();
look(false);
