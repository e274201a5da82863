// Live totals, buttons for one more or less, and a basket that is saved as it changes. The form works without it.
"use strict";

const form = document.querySelector("form[data-change]");
const money = new Intl.NumberFormat("en-IE", { style: "currency", currency: "EUR" });
const put = (element, text) => { if (element.textContent !== text) element.textContent = text; };
const numbers = () => form.querySelectorAll(".count input");

function add() {
  let pieces = 0, cents = 0;
  for (const input of numbers()) {
    const line = input.closest("li"), count = Math.max(0, Math.min(Number(input.max), Math.trunc(Number(input.value) || 0)));
    // Not `disabled`, which would take the focus away. Taking a piece out has a button of its own.
    line.querySelector("[data-step='-1']").setAttribute("aria-disabled", count <= 1);
    line.querySelector("[data-step='1']").setAttribute("aria-disabled", count >= Number(input.max));
    put(line.querySelector("[data-amount]"), money.format(count * line.dataset.price / 100));
    pieces += count;
    cents += count * line.dataset.price;
  }
  put(form.querySelector("[data-pieces-said]"), pieces === 1 ? "1 piece" : `${pieces} pieces`);
  put(form.querySelector("[data-total]"), money.format(cents / 100));
  return pieces;
}

// What can't be saved now is sent with the order all the same; the button with which it can be tried by hand comes back.
async function send() {
  if (queue.length > 1) return; // The next one sends everything that is to be sent now.
  const pieces = add(), badge = document.querySelector("[data-pieces]"), body = new FormData();
  for (const input of [form.elements.csrf_token, ...numbers()]) body.append(input.name, input.value);
  const signal = AbortSignal.timeout(PATIENCE_MS);
  const answer = await fetch(form.dataset.change, { method: "POST", body, redirect: "manual", keepalive: true, signal });
  if (answer.type !== "opaqueredirect") throw new Error(`${answer.status}`);
  put(badge, `${pieces}`);
  badge.hidden = !pieces;
}

function save() {
  add();
  const button = form.querySelector(".save");
  enqueue(() => send().then(() => { button.hidden = true; }, () => { button.hidden = false; }));
}

function begin() {
  form.addEventListener("click", (event) => {
    const step = event.target.closest("[data-step]");
    if (!step || step.getAttribute("aria-disabled") === "true") return;
    const input = step.parentElement.querySelector("input");
    if (step.dataset.step === "1") input.stepUp(); else input.stepDown();
    save();
  });
  form.addEventListener("input", (event) => {
    event.target.removeAttribute("aria-invalid");
    event.target.removeAttribute("aria-describedby");
    document.getElementById(`mend-${event.target.id}`)?.remove();
    add();
  });
  form.addEventListener("change", (event) => { if (event.target.closest(".count")) save(); });
  form.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.target.tagName !== "INPUT") return;
    event.preventDefault(); // The form's first button, which is hidden now.
    if (event.target.closest(".count")) save(); else form.requestSubmit(form.querySelector("[data-place]"));
  });
  form.addEventListener("submit", (event) => {
    if (!queue.length) return;
    event.preventDefault();
    queue.end.then(() => form.requestSubmit(event.submitter));
  });
  window.addEventListener("pageshow", add); // Back from an order: the browser filled the form again.
  for (const step of form.querySelectorAll("[data-step]")) step.hidden = false;
  form.querySelector(".save").hidden = true;
  add();
}

if (form) begin();
