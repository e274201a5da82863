// Puts a piece into the basket without leaving the page. The forms work without it.
"use strict";

const said = document.querySelector("[data-said]");

async function add(form) {
  const answer = await fetch(form.action, { method: "POST", body: new FormData(form), keepalive: true });
  if (!answer.ok) throw new Error(`${answer.status}`);
  // The answer is the catalogue as it is now: take from it what has changed.
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const piece = form.closest(".piece");
  for (const part of ["[data-pieces]", `[id="${piece.id}"] [data-state]`]) {
    document.querySelector(part).replaceWith(page.querySelector(part));
  }
  said.textContent = `${piece.querySelector("h2").textContent}: ${piece.querySelector("[data-state]").textContent.trim()}`;
}

document.addEventListener("submit", (event) => {
  event.preventDefault();
  enqueue(() => add(event.target).catch(() => event.target.submit())); // The browser shows what is wrong.
});
// Back from the basket, where something may have been changed meanwhile.
window.addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
