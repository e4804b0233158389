/*
 * A decision as a waterfall: from the load to replicas ordered, one step a line, each with its number and its sentence.
 *
 *   demand:    arriving -> forecast -> its quantile -> floor -> sized for
 *   each role: now -> sized -> bounded -> budget -> guards -> ordered
 *
 * The numbers are the decision's own. Only one is derived: what one replica serves, from the utilisation of the
 * replicas that were sized. A reason that belongs to no step is still shown: nothing that moved a plan is left out.
 */
import { captioned, count, DASH, el, number, percent, span } from "./dom.js";

const SIZED = ["unattainable", "outside-profile"];
const BOUNDED = ["bounded-above", "bounded-below", "pending", "withdraw", "balance", "failing"];
const BUDGET = ["budget-cut", "over-budget"];
const GUARDS = ["budget-wait", "doubt", "rollout", "tolerance", "stabilise-up", "stabilise-down", "rate-up",
  "rate-down", "delayed-start"];
const ORDERED = ["raise", "lower", "keep"];
const BLIND = ["no-demand", "no-replica-counts"];

const find = (reasons, codes) => reasons.filter((reason) => codes.includes(reason.code));
const sentences = (reasons, otherwise) =>
  reasons.length ? reasons.map((reason) => reason.text).join(". ") : otherwise;

/** One line: a bar from `from` to `to` of `most`, or all of `to` where `from` is null. */
function stage(name, from, to, most, words, { unit = "", total = false } = {}) {
  const track = el("div", { class: "track", "aria-hidden": "true" });
  if (to !== null && most > 0) {
    const [left, right] = from === null || total ? [0, to] : [Math.min(from, to), Math.max(from, to)];
    const bar = el("i", { class: total ? "total" : from === null || from === to ? "" : to > from ? "up" : "down" });
    bar.style.left = `${(left / most) * 100}%`;
    bar.style.width = `${((right - left) / most) * 100}%`;
    track.append(bar);
  }
  const moved = from === null || to === null || from === to ? null : to - from;
  return el("li", {}, el("span", { class: "name" }, name), track,
    el("span", { class: "value" }, to === null ? DASH : `${number(to)}${unit} `,
      moved === null ? null : el("small", {}, `(${moved > 0 ? "+" : "−"}${number(Math.abs(moved))})`)),
    el("span", { class: "why" }, words));
}

function demandFall(decision) {
  const { forecast, sizing, reasons } = decision;
  const rate = decision.observation.rate_per_s;
  const sized = sizing?.demand.rate_per_s ?? null;
  const [said] = find(reasons, ["forecast"]);
  const [floor] = find(reasons, ["reactive-floor"]);
  const quantile = said?.values.rate_per_s ?? null;
  const most = Math.max(rate.value ?? 0, forecast?.point ?? 0, quantile ?? 0, sized ?? 0);
  const unit = " req/s";
  const lines = [stage("arriving now", null, rate.value, most,
    rate.status === "valid" ? "Mean of the window." : `${rate.status}: ${rate.cause}`, { unit })];
  if (forecast) {
    lines.push(stage("forecast", rate.value, forecast.point, most,
      `${forecast.model} expects this in ${span(forecast.horizon_s)} (${forecast.why}).`, { unit }));
  }
  if (said) {
    lines.push(stage("quantile", forecast?.point ?? null, quantile, most,
      `Sized for its ${percent(said.values.quantile)} % quantile, from its own past errors.`, { unit }));
  }
  if (forecast || floor) {
    lines.push(stage("floor", quantile, floor?.values.floor_per_s ?? quantile, most,
      floor?.text ?? "What arrives and waits now asks for no more.", { unit }));
  }
  lines.push(stage("sized for", null, sized, most,
    sizing ? `Requests of ${number(sizing.demand.isl_tokens)} tokens in and ${number(sizing.demand.osl_tokens)} out, `
      + `by the ${sizing.method} method.` : sentences(find(reasons, ["no-demand"]), "Nothing was sized."),
    { unit, total: true }));
  return el("section", {}, el("h4", {}, "Demand"), el("ol", { class: "fall" }, lines));
}

function capacity(sizing, pool) {
  if (!(pool.replicas > 0 && pool.utilisation > 0)) return null;
  return sizing.demand.rate_per_s / (pool.replicas * pool.utilisation);
}

/** What one replica serves, where that can be told. */
function oneReplica(sizing, pool) {
  const one = capacity(sizing, pool);
  const words = one === null ? "No load, so no capacity to tell." : `Serves this at full load: ${count(pool.replicas)} `
    + `of them are ${percent(pool.utilisation)} % busy with the demand.`;
  return el("li", {}, el("span", { class: "name" }, "one replica"),
    el("div", { class: "track", "aria-hidden": "true" }),
    el("span", { class: "value" }, one === null ? DASH : `${number(one)} req/s`), el("span", { class: "why" }, words));
}

function poolFall(role, decision) {
  const { current, wanted, granted, replicas } = decision.pools[role];
  const sized = decision.sizing?.pools[role] ?? null;
  const reasons = decision.reasons.filter((reason) => (reason.values.role ?? role) === role);
  const most = Math.max(...[current, sized?.replicas, wanted, granted, replicas].map((n) => n ?? 0), 1);
  const said = (codes, otherwise) => sentences(find(reasons, codes), otherwise);
  const lines = [stage("now", null, current, most,
    current === null ? said(["no-replica-counts"], "Unknown.") : "Ordered before this decision.")];
  if (sized) {
    const key = sized.steps.findLast((step) => step.symbol === "c");
    const words = key ? `The ${key.meaning}.` : "By the arithmetic below.";
    lines.push(oneReplica(decision.sizing, sized), stage("sized", current, sized.replicas, most, said(SIZED, words)));
  }
  // An unknown load has no wish to bound: the pool is left alone, and the last line says why.
  if (wanted !== null) {
    lines.push(stage("bounded", sized?.replicas ?? null, wanted, most, said(BOUNDED, "Within the pool's bounds.")),
      stage("budget", wanted, granted, most, said(BUDGET, "The budget allows it.")),
      stage("guards", granted, replicas, most, said(GUARDS, "No guard holds it.")));
  }
  lines.push(stage("ordered", current, replicas, most,
    said(replicas === null ? BLIND : ORDERED, "The pool is left alone."), { total: true }));
  return el("section", {}, el("h4", {}, `Replicas, ${role}`), el("ol", { class: "fall" }, lines));
}

function arithmetic(decision) {
  const row = (role, step) => el("tr", {}, el("td", {}, role), el("th", { scope: "row" }, step.symbol),
    el("td", { class: "number" }, number(step.value, 4)), el("td", {}, step.unit), el("td", {}, step.meaning));
  const pools = Object.entries(decision.sizing?.pools ?? {});
  return captioned("Sizing, step by step", ["Role", "Symbol", ["Value"], "Unit", "From"],
    pools.flatMap(([role, pool]) => pool.steps.map((step) => row(role, step))));
}

function corrections({ correction }) {
  const row = (name, value, note) => el("tr", {}, el("th", { scope: "row" }, name),
    el("td", { class: "number" }, number(value)), el("td", {}, note));
  return captioned("Correction: observed over expected", ["Factor", ["Value"], "What this tick's latencies did"], [
    row("TTFT", correction.ttft_factor, correction.ttft_note), row("ITL", correction.itl_factor, correction.itl_note),
    row("Ca2", correction.arrival_cv2, correction.arrival_note)]);
}

function quantiles({ forecast }) {
  if (!forecast) return null;
  const error = forecast.mean_abs_error === null ? "none yet" : `${number(forecast.mean_abs_error)} req/s on average`;
  const caption = `Forecast by ${forecast.model}; ${forecast.errors} own past errors, ${error}`;
  return captioned(caption, ["Quantile", ["req/s"]], forecast.quantiles.map(({ level, value }) => el("tr", {},
    el("th", { scope: "row" }, `${percent(level)} %`), el("td", { class: "number" }, number(value)))));
}

/** The waterfall of a whole decision, and its arithmetic below. */
export function waterfall(decision) {
  const falls = [demandFall(decision), ...Object.keys(decision.pools).map((role) => poolFall(role, decision))];
  const told = (reason) => falls.some((fall) => fall.textContent.includes(reason.text));
  // The forecast's sentence is told in three lines of its own.
  const others = decision.reasons.filter((reason) => reason.code !== "forecast" && !told(reason));
  const { applied } = decision;
  return [
    ...falls,
    el("ul", {}, others.map((reason) => el("li", {}, reason.text))),
    el("p", {}, el("b", {}, "Applied: "),
      applied ? `${applied.status}. ${applied.detail}` : decision.changes ? "not yet." : "there is nothing to do."),
    el("details", {}, el("summary", {}, "The full arithmetic"),
      arithmetic(decision), corrections(decision), quantiles(decision)),
  ];
}
