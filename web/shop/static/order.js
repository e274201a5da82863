// Shows each step as it happens: asks once a second while things change, less and less often while they don't.
"use strict";

const OFTEN_MS = 1000, SELDOM_MS = 10000;
const page = document.querySelector("[data-order]");
let pause = OFTEN_MS, seen = "", timer;

const put = (element, text) => { if (element.textContent !== text) element.textContent = text; };

function clock(element, at) {
  if (!at) return put(element, "");
  element.dateTime = at;
  put(element, new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" }));
}

function show(order) {
  page.dataset.status = order.status;
  const status = page.querySelector(".status");
  put(status, status.dataset[order.status]);
  for (const [name, step] of Object.entries(order.processing)) {
    const item = page.querySelector(`[data-step="${name}"]`);
    const word = item.querySelector(".word"), reason = item.querySelector(".reason");
    item.dataset.state = step.state;
    put(word, word.dataset[step.state] ?? word.dataset.waiting);
    if (reason) { // Only stock is the customer's business; other reasons name our servers.
      put(reason, (step.last_error ?? "").replace(/^\w+: /, "")); // Without the name of the error's class.
      reason.hidden = step.state !== "failed";
    }
    clock(item.querySelector("time"), step.done_at ?? step.last_attempt);
  }
  const next = page.querySelector(".next");
  next.hidden = !order.job?.next_try;
  clock(next.querySelector("time"), order.job?.next_try);
  page.querySelector("[data-invoice]").hidden = !order.invoice;
}

async function look() {
  clearTimeout(timer);
  try {
    const answer = await fetch(page.dataset.order, { cache: "no-store" });
    if (!answer.ok) throw new Error(`${answer.status}`);
    const text = await answer.text();
    pause = text === seen ? Math.min(pause * 1.3, SELDOM_MS) : OFTEN_MS;
    seen = text;
    const order = JSON.parse(text);
    show(order);
    if (order.finished) return document.removeEventListener("visibilitychange", wake);
  } catch {
    pause = Math.min(pause * 2, SELDOM_MS); // The shop is away for a moment; what is shown stays true.
  }
  if (!document.hidden) timer = setTimeout(look, pause);
}

function wake() {
  if (!document.hidden) { pause = OFTEN_MS; look(); }
}

document.addEventListener("visibilitychange", wake);
look();
