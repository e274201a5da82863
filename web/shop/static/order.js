// Shows each step as it happens. The server tells it by server-sent events; where it can't, the page asks, once a second
// while things change, less and less often while they don't.
"use strict";

const OFTEN_MS = 1000, SELDOM_MS = 10000;
const page = document.querySelector(".progress");
let source, timer, asked = new AbortController(), pause = OFTEN_MS, seen = "", asking = !("EventSource" in window);

const put = (element, text) => { if (element.textContent !== text) element.textContent = text; };

function clock(element, at) {
  if (!at) return put(element, "");
  element.dateTime = at;
  put(element, new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" }));
}

function show(order) {
  page.dataset.status = order.status;
  put(page.querySelector(".says"), order.says);
  for (const [name, step] of Object.entries(order.steps)) {
    const item = page.querySelector(`[data-step="${name}"]`), reason = item.querySelector(".reason");
    item.dataset.state = step.state;
    put(item.querySelector(".word"), step.says);
    put(reason, step.reason ?? "");
    reason.hidden = !step.reason;
    clock(item.querySelector("time"), step.at);
  }
  const next = page.querySelector(".next");
  clock(next.querySelector("time"), order.next_try);
  next.hidden = !order.next_try;
  page.querySelector("[data-invoice]").hidden = !order.invoice;
  if (order.finished) document.removeEventListener("visibilitychange", wake);
}

function listen() {
  source = new EventSource(page.dataset.events);
  source.addEventListener("change", (event) => show(JSON.parse(event.data)));
  source.addEventListener("end", (event) => { source.close(); show(JSON.parse(event.data)); });
  source.addEventListener("error", () => {
    // A stream that broke off is opened again by the browser; one that was refused is not.
    if (source.readyState === EventSource.CLOSED) { asking = true; ask(); }
  });
}

async function ask() {
  const { signal } = asked;
  try {
    const answer = await fetch(page.dataset.state, { cache: "no-store", signal });
    if (!answer.ok) throw new Error(`${answer.status}`);
    const text = await answer.text();
    pause = text === seen ? Math.min(pause * 1.3, SELDOM_MS) : OFTEN_MS;
    seen = text;
    const order = JSON.parse(text);
    show(order);
    if (order.finished) return;
  } catch {
    if (signal.aborted) return; // Another one asks, or nobody looks.
    pause = Math.min(pause * 2, SELDOM_MS); // The shop is away for a moment; what is shown stays true.
  }
  timer = setTimeout(ask, pause);
}

// A page that nobody sees holds no stream and asks nothing.
function wake() {
  clearTimeout(timer);
  asked.abort();
  asked = new AbortController();
  source?.close();
  pause = OFTEN_MS;
  if (!document.hidden) { if (asking) ask(); else listen(); }
}

for (const time of page.querySelectorAll("time[datetime]")) clock(time, time.dateTime);
if (page.dataset.events) {
  document.addEventListener("visibilitychange", wake);
  wake();
}
