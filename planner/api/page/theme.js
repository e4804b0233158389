/* Light and dark: the system's choice, or this browser's. */
const choice = document.getElementById("theme");
const KEY = "sla-planner.theme";

function apply(value) {
  if (value) document.documentElement.dataset.theme = value;
  else delete document.documentElement.dataset.theme;
}

/** Calls `changed` whenever the colours did. */
export function watchTheme(changed) {
  const kept = localStorage.getItem(KEY) ?? "";
  choice.value = kept;
  apply(choice.value);
  choice.addEventListener("change", () => {
    localStorage.setItem(KEY, choice.value);
    apply(choice.value);
    changed();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
}

const probe = document.createElement("i");
probe.hidden = true;
document.body.append(probe);

/** A colour of page.css as charts understand it: light-dark() and var() resolved. */
export function colour(name) {
  probe.style.color = `var(--${name})`;
  return getComputedStyle(probe).color;
}
