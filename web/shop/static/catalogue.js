// The running total, and buttons for one more or less. The form works without them.
"use strict";

const form = document.querySelector("form.shop");
const line = form.querySelector(".total");
const money = new Intl.NumberFormat("en-IE", { style: "currency", currency: "EUR" });

function add() {
  let pieces = 0, cents = 0;
  for (const card of form.querySelectorAll(".card")) {
    const input = card.querySelector("input");
    const count = Math.max(0, Math.min(Number(input.max), Math.trunc(Number(input.value) || 0)));
    card.classList.toggle("chosen", count > 0);
    card.querySelector("[data-step='-1']").disabled = count === 0;
    pieces += count;
    cents += count * Number(card.dataset.price);
  }
  line.querySelector("[data-pieces]").textContent = pieces === 0 ? "Nothing chosen yet" : pieces === 1 ? "1 piece" : `${pieces} pieces`;
  line.querySelector("[data-total]").textContent = pieces === 0 ? "" : money.format(cents / 100);
}

form.addEventListener("click", (event) => {
  const step = event.target.closest("[data-step]");
  if (!step) return;
  const input = step.parentElement.querySelector("input");
  if (step.dataset.step === "1") input.stepUp(); else input.stepDown();
  add();
});
form.addEventListener("input", (event) => {
  event.target.removeAttribute("aria-invalid");
  document.getElementById(`mend-${event.target.id}`)?.remove();
  add();
});
window.addEventListener("pageshow", add); // Back from an order: the browser filled the form again.

for (const hidden of form.querySelectorAll("[data-step], .total")) hidden.hidden = false;
add();
form.querySelector(".summary")?.focus();
