// Light, dark, or as the system says. Not a module: it runs before the page is drawn, so that nothing flashes.
(() => {
  const KEY = "darklens-theme";
  const CHOICES = [["auto", "◐", "as the system"], ["light", "☀", "light"], ["dark", "☾", "dark"]];
  const root = document.documentElement;
  let now = "auto";
  try { now = localStorage.getItem(KEY) || "auto"; } catch { /* storage is refused: colours are those of the system */ }

  function apply() {
    if (now === "auto") delete root.dataset.theme; else root.dataset.theme = now;
    const button = document.getElementById("theme");
    const [, sign, words] = CHOICES.find(([name]) => name === now) || CHOICES[0];
    if (button) {
      button.firstElementChild.textContent = sign;
      button.setAttribute("aria-label", `Colours: ${words}`);
      button.title = `Colours: ${words}`;
    }
    window.dispatchEvent(new Event("theme"));
  }
  apply();
  document.addEventListener("DOMContentLoaded", () => {
    apply();
    document.getElementById("theme")?.addEventListener("click", () => {
      const i = CHOICES.findIndex(([name]) => name === now);
      now = CHOICES[(i + 1) % CHOICES.length][0];
      try { localStorage.setItem(KEY, now); } catch { /* as above */ }
      apply();
    });
  });
})();
