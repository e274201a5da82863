// Changes of the basket are sent one after the other: it is a cookie, and of two answers at once one would be forgotten.
"use strict";

const PATIENCE_MS = 3000;
const queue = { length: 0, end: Promise.resolve() };

// change: sends it, and fails never.
function enqueue(change) {
  queue.length += 1;
  queue.end = queue.end.then(change).finally(() => { queue.length -= 1; });
}

// Who leaves while something is to be sent leaves a moment later, or it would be lost with the page.
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href]");
  if (!link || !queue.length || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  const enough = new Promise((resolve) => setTimeout(resolve, PATIENCE_MS));
  Promise.race([queue.end, enough]).then(() => location.assign(link.href));
});
