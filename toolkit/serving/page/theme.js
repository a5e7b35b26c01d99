// Dark or light, before the first paint: as the system says, or as the switch was set.
// Not a module, for these wait until the page was read.
{
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const chosen = () => localStorage.getItem("theme");
  const now = () => chosen() ?? (dark.matches ? "dark" : "light");

  const apply = () => {
    root.dataset.theme = now();
    document.getElementById("theme")?.setAttribute("aria-checked", String(now() === "dark"));
    dispatchEvent(new Event("themechange"));
  };

  dark.addEventListener("change", apply);
  addEventListener("DOMContentLoaded", () => {
    apply();
    document.getElementById("theme").addEventListener("click", () => {
      localStorage.setItem("theme", now() === "dark" ? "light" : "dark");
      apply();
    });
  });
  apply();
}
