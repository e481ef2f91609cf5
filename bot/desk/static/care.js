// Counts promises down between two refreshes, by the server's clock.

const skew = Date.now() - Date.parse(document.body.dataset.now);

/** Like the `span` of care_row.html. */
const span = (minutes, { min, h }) => (minutes < 120 ? `${minutes} ${min}` : `${Math.floor(minutes / 60)} ${h}`);

function tick() {
  const now = Date.now() - skew;
  for (const time of document.querySelectorAll("time[data-due]")) {
    const left = Date.parse(time.dateTime) - now;
    const words = left < 0 ? time.dataset.over : time.dataset.left;
    const text = words.replace("%s", span(Math.floor(Math.abs(left) / 60_000), time.dataset));
    if (time.textContent !== text) time.textContent = text;
    const mark = time.parentElement.classList;
    mark.toggle("breached", left < 0);
    mark.toggle("soon", left >= 0 && now >= Date.parse(time.dataset.soon));
  }
}

setInterval(tick, 5_000);
