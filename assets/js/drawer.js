// The drawer with the settings that all tabs share: opened by its button, closed by that, by Escape or by a click
// beside it.

/** @param {string} id */
const part = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

function isOpen() {
  return part("settings-button").getAttribute("aria-expanded") === "true";
}

/** @param {boolean} open */
function show(open) {
  const [button, drawer] = [part("settings-button"), part("settings")];
  button.setAttribute("aria-expanded", String(open));
  button.textContent = open ? "Close settings" : "Settings";
  drawer.classList.toggle("open", open);
  /** @type {HTMLElement | null} */
  const first = open ? drawer.querySelector("input, button") : button;
  first?.focus();
}

/** Listens for whoever opens or closes the drawer. */
export function start() {
  document.addEventListener("click", ({ target }) => {
    if (!(target instanceof Element)) return;
    // What a click removed, as the choices of a dropdown, is not beside it.
    const beside = target.isConnected && !part("settings").contains(target) && !target.closest("[role=listbox]");
    if (part("settings-button").contains(target)) show(!isOpen());
    else if (isOpen() && beside) show(false);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && isOpen()) show(false);
  });
  /** @type {HTMLButtonElement} */ (part("settings-button")).disabled = false;
}
