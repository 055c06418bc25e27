// Makes pages live: everything works without it. A server-sent event means "this part is old";
// the part is then taken from the same page, rendered anew by the server.
"use strict";

const say = (words) => { document.getElementById("said").textContent = words; };

const units = [[86400, "day"], [3600, "hour"], [60, "minute"], [1, "second"]];
const ago = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

function tellTimes(root) {
  for (const time of root.querySelectorAll("time[data-ago]")) {
    const seconds = (Date.parse(time.dateTime) - Date.now()) / 1000;
    const [length, unit] = units.find(([length]) => Math.abs(seconds) >= length) || units[3];
    time.title = new Date(time.dateTime).toLocaleString();
    time.textContent = ago.format(Math.round(seconds / length), unit);
  }
}

function offerCopies(root) {
  for (const place of root.querySelectorAll("[data-origin]")) {
    const address = location.origin + place.dataset.origin;
    place.querySelector("code").textContent = address;
    place.querySelector(".copy").dataset.copy = address;
  }
  if (!navigator.clipboard) return;
  for (const button of root.querySelectorAll(".copy")) button.hidden = false;
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest(".copy");
  if (!button) return;
  const label = button.firstChild;
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    label.textContent = "Copied";
    say("Copied");
  } catch {
    label.textContent = "Not copied";
  }
  setTimeout(() => { label.textContent = "Copy"; }, 1500);
});

function replace(part, fresh) {
  const focused = part.contains(document.activeElement) && document.activeElement.id;
  const known = new Set([...part.querySelectorAll(".number")].map((link) => link.id));
  const open = part.innerHTML;
  part.innerHTML = fresh.innerHTML;
  if (open === part.innerHTML) return 0;
  let news = 0;
  for (const link of part.querySelectorAll(".number")) {
    if (known.size && !known.has(link.id)) {
      link.closest(".txn").classList.add("new");
      news += 1;
    }
  }
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  return news;
}

let asked = null;
const old = new Set();

async function refresh() {
  asked = null;
  const kinds = new Set(old);
  old.clear();
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  let news = 0;
  for (const part of document.querySelectorAll("[data-live]")) {
    const fresh = page.getElementById(part.id);
    if (fresh && kinds.has(part.dataset.live)) {
      news += replace(part, fresh);
      tellTimes(part);
      offerCopies(part);
    } else if (!fresh && part.dataset.live === "notice") {
      location.reload(); // the nodes answer: there is more to see now
    }
  }
  if (news) say(news === 1 ? "One new transaction" : `${news} new transactions`);
}

function isOld(kind) {
  if (!document.querySelector(`[data-live="${kind}"]`)) return;
  old.add(kind);
  asked ??= setTimeout(() => refresh().catch(() => {}), 250);
}

function listen() {
  const state = document.getElementById("live");
  const words = document.getElementById("live-words");
  const source = new EventSource("/events");
  source.onopen = () => {
    state.hidden = false;
    state.classList.remove("off");
    words.textContent = "Live";
    isOld("nodes"); isOld("ledger"); isOld("notice");
  };
  source.onerror = () => {
    state.hidden = false;
    state.classList.add("off");
    words.textContent = "Not connected, trying again";
  };
  source.addEventListener("ledger", () => isOld("ledger"));
  source.addEventListener("nodes", () => { isOld("nodes"); isOld("notice"); });
  addEventListener("pagehide", () => source.close());
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
}

tellTimes(document);
offerCopies(document);
setInterval(() => tellTimes(document), 10000);
if (document.querySelector("[data-live]")) listen();
