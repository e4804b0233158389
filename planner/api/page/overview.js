/*
 * All services, a row each. Rows are made once and written in place: a tick changes a few cells of a thousand rows, and
 * neither the focus nor the scroll position moves. An order that changes moves only the rows that are out of place.
 */
import { announce, count, DASH, el, mark, number, percent, span, write } from "./dom.js";
import { href } from "./route.js";

const body = document.querySelector("#services tbody");
const filter = document.getElementById("filter");
const heads = [...document.querySelectorAll("#services thead th")];
const SEVERITY = ["trouble", "blind", "holding", "ok"];

const rows = new Map();
let services = [];
let chosen = null;
const NUMBERS = new Set(["rate", "ttft", "itl", "replicas", "gpus"]);
let sort = { by: "health", down: false };

const short = (service) =>
  Object.values(service.pools).reduce((sum, pool) => sum + ((pool.wanted ?? 0) - (pool.ready ?? 0)), 0);
/** What a column sorts by; null goes last either way. */
const KEYS = {
  name: (service) => service.name,
  health: (service) => SEVERITY.indexOf(service.health),
  rate: (service) => service.rate_per_s.value,
  ttft: (service) => service.ttft_ms.value,
  itl: (service) => service.itl_ms.value,
  good: (service) => service.good_share,
  replicas: short,
  gpus: (service) => service.gpus,
  change: (service) => (service.changed === null ? null : -service.changed.at_s),
};

function compare(one, other) {
  const [a, b] = [KEYS[sort.by](one), KEYS[sort.by](other)];
  const way = sort.down ? -1 : 1;
  if (a === null || b === null) return (a === null) - (b === null);
  if (a !== b) return a < b ? -way : way;
  return one.name < other.name ? -1 : 1;
}

function makeRow(name) {
  const cell = (label, kind = null) => el("td", { role: "cell", class: kind, "data-label": label }, el("span"),
    el("span", { class: "sentence" }));
  const row = el("tr", { role: "row" },
    el("th", { scope: "row", role: "rowheader" }, el("a", { href: href({ service: name }) }, name)),
    cell(null), cell("Rate, req/s", "number"), cell("TTFT, ms", "number"), cell("ITL, ms", "number"),
    cell("In time, %", "number"), cell("Replicas ready/wanted"), cell("GPUs", "number"), cell(null));
  row.addEventListener("click", (event) => {
    // Text that is being selected is not a click on the row.
    if (!event.target.closest("a") && !String(getSelection())) location.hash = href({ service: name });
  });
  return { row, cells: [...row.children].slice(1).map((td) => [...td.children]), words: "" };
}

function latency([value, beside], figure, target_ms) {
  const missed = figure.value !== null && figure.value > target_ms;
  write(value, number(figure.value));
  mark(value, "data-mark", missed ? "missed" : null);
  write(beside, `of ${number(target_ms)}${figure.status === "valid" ? "" : `, ${figure.status}`}`);
}

function pool(role, { wanted, ready, starting, pending }) {
  const more = [starting ? `${starting} starting` : null, pending ? `${pending} pending` : null].filter(Boolean);
  return `${role} ${count(ready)}/${count(wanted)}${more.length ? `, ${more.join(", ")}` : ""}`;
}

function fill({ cells }, service, now_s) {
  const [health, rate, ttft, itl, good, replicas, gpus, change] = cells;
  write(health[0], service.health);
  mark(health[0], "data-mark", service.health);
  write(rate[0], number(service.rate_per_s.value));
  write(rate[1], service.rate_per_s.status === "valid" ? "" : service.rate_per_s.status);
  latency(ttft, service.ttft_ms, service.ttft_target_ms);
  latency(itl, service.itl_ms, service.itl_target_ms);
  const missed = service.good_share !== null && service.good_share < service.objective;
  write(good[0], percent(service.good_share));
  mark(good[0], "data-mark", missed ? "short" : null);
  write(good[1], `of ${percent(service.objective)}`);
  const [first, ...others] = Object.entries(service.pools).map(([role, seen]) => pool(role, seen));
  write(replicas[0], first ?? DASH);
  write(replicas[1], others.join("; "));
  write(gpus[0], count(service.gpus));
  const last = service.changed;
  write(change[0], service.health === "ok" ? "" : service.sentence);
  write(change[1], last === null ? "no change in memory" : `${span(now_s - last.at_s)} ago: ${last.text}`);
}

function shown() {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  return services.filter((service) => {
    const entry = rows.get(service.name);
    return words.every((word) => entry.words.includes(word));
  }).sort(compare);
}

/** Puts the rows in order. Moving the row that has the focus would lose it. */
function arrange() {
  const wanted = shown();
  const focused = document.activeElement;
  const kept = new Set(wanted.map((service) => service.name));
  for (const [name, { row }] of rows) if (!kept.has(name)) row.remove();
  let place = body.firstElementChild;
  for (const service of wanted) {
    const { row } = rows.get(service.name);
    if (row === place) place = place.nextElementSibling;
    else body.insertBefore(row, place);
  }
  if (focused !== document.activeElement && focused?.isConnected) focused.focus({ preventScroll: true });
  for (const head of heads) {
    const by = head.firstElementChild.dataset.sort === sort.by;
    mark(head, "aria-sort", by ? (sort.down ? "descending" : "ascending") : "none");
  }
  return wanted.length;
}

function tally(visible) {
  const numbers = SEVERITY.map((health) => [services.filter((service) => service.health === health).length, health]);
  const parts = numbers.filter(([many]) => many).map(([many, health]) => `${many} ${health}`);
  const all = services.length === visible ? `${services.length}` : `${visible} of ${services.length} shown`;
  const text = `${all}: ${parts.join(", ")}`;
  write(document.getElementById("tally"), text);
  return text;
}

export function showOverview(overview) {
  services = overview.services;
  const present = new Set(services.map((service) => service.name));
  for (const [name, { row }] of rows) {
    if (present.has(name)) continue;
    row.remove();
    rows.delete(name);
  }
  for (const service of services) {
    const entry = rows.get(service.name) ?? makeRow(service.name);
    rows.set(service.name, entry);
    fill(entry, service, overview.now_s);
    entry.words = `${service.name} ${service.health} ${service.sentence} ${service.changed?.text ?? ""}`.toLowerCase();
  }
  tally(arrange());
}

export function chooseRow(name) {
  rows.get(chosen)?.row.removeAttribute("aria-current");
  chosen = name;
  rows.get(chosen)?.row.setAttribute("aria-current", "true");
}

filter.addEventListener("input", () => announce(tally(arrange())));
for (const head of heads) {
  head.firstElementChild.addEventListener("click", (event) => {
    const by = event.currentTarget.dataset.sort;
    // Of numbers the largest first: whoever sorts by load looks for the busiest.
    sort = { by, down: sort.by === by ? !sort.down : NUMBERS.has(by) };
    arrange();
    announce(`sorted by ${event.currentTarget.textContent}, ${sort.down ? "descending" : "ascending"}`);
  });
}
