// Follows what happens, keeps the page as new as the server, and tells of it: to a screen reader always,
// with a desktop notification and a sound if asked.

import { $, asked, current, load, onShown, place, show, skew, words } from "./page.js";

const changes = new Map(); // conversation → what is new in it, until the page has caught up
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
  const [id, shown, latest, news] = [current(), place(), asked(), new Map(changes)];
  const urls = [`/desk/queue?${shown}${id ? `&open=${id}` : ""}`];
  const seen = document.visibilityState === "visible" ? "&seen=true" : "";
  if (id && (stale || news.has(id))) urls.unshift(`/desk/conversations/${id}/thread?${shown}${seen}`);
  changes.clear();
  [due, busy, stale] = [null, true, false];
  let pause = 250;
  try {
    const pages = [];
    for (const url of urls) pages.push(await load(url)); // the conversation first: reading it unmarks its row
    connected(true);
    const moved = latest !== asked() || id !== current() || shown !== place(); // what was asked before came meanwhile
    if (moved) stale = true;
    else for (const page of pages) if (page.ok) show(page.html, true);
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
  const wrote = [...news].filter(([, what]) => what.wrote).map(([id]) => id);
  const mine = [...news].filter(([, what]) => what.mine || what.waits).map(([id]) => id);
  const name = (id) => (id === current() ? $("thread").dataset.name : $(`open-${id}`)?.dataset.name) ?? words.somebody;
  if (wrote.length) $("said").textContent = words.message.replace("{name}", wrote.map(name).join(", "));
  if (mine.length) notify(mine[0], words.message.replace("{name}", mine.map(name).join(", ")));
}

// --- Notifications and sound: on this device, if asked ---

const wants = (what) => localStorage.getItem(`reply-twice:${what}`) === "on";

for (const what of ["notify", "sound"]) {
  $(what).checked = wants(what);
  $(what).addEventListener("change", async () => {
    if (what === "notify" && $(what).checked) {
      const allowed = "Notification" in window && (await Notification.requestPermission()) === "granted";
      $("notify-denied").hidden = allowed;
      $(what).checked = allowed;
    }
    localStorage.setItem(`reply-twice:${what}`, $(what).checked ? "on" : "off");
    if (what === "sound" && $(what).checked) chime();
  });
}

function notify(id, text) {
  const looks = document.visibilityState === "visible" && document.hasFocus() && id === current();
  if (looks) return; // they see it
  if (wants("sound")) chime();
  if (!wants("notify") || !("Notification" in window) || Notification.permission !== "granted") return;
  const note = new Notification(text, { tag: `conversation-${id}` }); // never what the customer wrote
  note.onclick = () => {
    window.focus();
    $(`open-${id}`)?.click();
  };
}

/** Two short tones; made here, so that there is no file to fetch. */
function chime() {
  const audio = new AudioContext();
  for (const [tone, at] of [[660, 0], [880, 0.12]]) {
    const [voice, volume] = [audio.createOscillator(), audio.createGain()];
    voice.frequency.value = tone;
    volume.gain.setValueAtTime(0.08, audio.currentTime + at);
    volume.gain.exponentialRampToValueAtTime(0.001, audio.currentTime + at + 0.25);
    voice.connect(volume).connect(audio.destination);
    voice.start(audio.currentTime + at);
    voice.stop(audio.currentTime + at + 0.3);
  }
  setTimeout(() => audio.close(), 800);
}

// --- The stream of events ---

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
    const { conversation, author, state, mine } = JSON.parse(data);
    const was = changes.get(conversation) ?? {};
    changes.set(conversation, {
      wrote: was.wrote || author === "customer",
      mine: was.mine || mine,
      waits: state ? state === "waiting" : was.waits,
    });
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

document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible" && current()) catchUp(); // what came meanwhile is read now
});
onShown(tick);
tick();
setInterval(tick, 10_000);
follow(document.body.dataset.cursor);
