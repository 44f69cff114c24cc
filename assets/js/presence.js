// Tells the server that the page is open. Gradio's own sign of it is not taken up again once a connection was lost.

const EVERY_MS = 30000;

async function tell() {
  try {
    await fetch(new URL("./gradio_api/app_id", document.baseURI), { cache: "no-store" });
  } catch {
    // The next time may do better.
  }
}

/** Begins. */
export function start() {
  window.setInterval(tell, EVERY_MS);
  window.addEventListener("online", tell);
}
