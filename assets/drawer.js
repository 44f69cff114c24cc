// The drawer with the settings that all tabs share: opened by its button, closed by that, by Escape or by a click beside it.
(() => {
  const parts = () => [document.getElementById("settings-button"), document.getElementById("settings")];
  const isOpen = () => parts()[0]?.getAttribute("aria-expanded") === "true";

  function show(open) {
    const [button, drawer] = parts();
    button.setAttribute("aria-expanded", String(open));
    button.textContent = open ? "Close settings" : "Settings";
    drawer.classList.toggle("open", open);
    if (open) drawer.querySelector("input, button")?.focus();
    else button.focus();
  }

  document.addEventListener("click", ({ target }) => {
    const [button, drawer] = parts();
    if (button?.contains(target)) show(!isOpen());
    // What a click removed, as the choices of a dropdown, is not beside it.
    else if (isOpen() && target.isConnected && !drawer.contains(target) && !target.closest("[role=listbox]")) show(false);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && isOpen()) show(false);
  });
})();
