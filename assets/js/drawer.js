// The drawer with the settings that all tabs share: opened by its button, closed by that, by Escape or by a click beside it.

const drawer = () => /** @type {HTMLElement} */ (document.getElementById("settings"));

/** @param {HTMLButtonElement} button */
export function start(button) {
  const isOpen = () => button.getAttribute("aria-expanded") === "true";

  /** @param {boolean} open */
  function show(open) {
    button.setAttribute("aria-expanded", String(open));
    button.textContent = open ? "Close settings" : "Settings";
    drawer().classList.toggle("open", open);
    const first = /** @type {HTMLElement | null} */ (drawer().querySelector("input, button"));
    (open ? first : button)?.focus();
  }

  button.addEventListener("click", () => show(!isOpen()));
  document.addEventListener("click", ({ target }) => {
    // What its own click removed, as a choice of a dropdown, lies nowhere any more.
    if (!isOpen() || !(target instanceof Element) || !target.isConnected) return;
    if (!button.contains(target) && !drawer().contains(target) && !target.closest("[role=listbox]")) show(false);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && isOpen()) show(false);
  });
}
