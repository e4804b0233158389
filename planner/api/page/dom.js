/* Elements and words: what every part of the page builds itself from. */

/** An element; children are nodes or text, null is left out. No markup ever comes out of a string. */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** Writes only what differs: a screen of a thousand rows is mostly the same from one tick to the next. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function mark(element, name, value) {
  if (value === null || value === undefined) element.removeAttribute(name);
  else if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/** Says a change of state to screen readers. */
export function announce(text) {
  write(document.getElementById("announce"), text);
}

export const DASH = "–";

/** A number of about three digits; a dash where there is none. */
export function number(value, digits = 3) {
  if (value === null || value === undefined) return DASH;
  if (Math.abs(value) >= 10 ** digits || Number.isInteger(value)) return Math.round(value).toLocaleString("en");
  return Number(value.toPrecision(digits)).toLocaleString("en", { maximumFractionDigits: 6 });
}

export const count = (value) => (value === null || value === undefined ? DASH : String(value));
export const ms = (seconds) => number(seconds === null || seconds === undefined ? null : seconds * 1e3);
export function percent(share, digits = 3) {
  return share === null || share === undefined ? DASH : number(share * 100, digits);
}

/** A length of time in its largest unit: "12 s", "3 min". */
export function span(seconds) {
  const whole = Math.max(0, seconds);
  if (whole < 120) return `${Math.round(whole)} s`;
  if (whole < 7200) return `${Math.round(whole / 60)} min`;
  return whole < 172800 ? `${Math.round(whole / 3600)} h` : `${Math.round(whole / 86400)} d`;
}

export function clock(at_s) {
  return new Date(at_s * 1e3).toLocaleTimeString("en-GB");
}

export function moment(at_s) {
  const date = new Date(at_s * 1e3);
  return date.toDateString() === new Date().toDateString()
    ? date.toLocaleTimeString("en-GB") : date.toLocaleString("en-GB");
}

/** A table that says what it shows. A head that is an array stands over numbers. */
export function captioned(caption, heads, rows) {
  return el("div", { class: "scroll", role: "region", "aria-label": caption, tabindex: "0" },
    el("table", {}, el("caption", {}, caption),
      el("thead", {}, el("tr", {}, heads.map((head) =>
        el("th", { scope: "col", class: Array.isArray(head) ? "number" : null }, head)))),
      el("tbody", {}, rows)));
}
