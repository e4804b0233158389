/* One service in detail: health, charts, what was observed, the orders in force, and its decisions. */
import { drawCharts } from "./charts.js";
import { Decisions } from "./decisions.js";
import { announce, captioned, DASH, el, mark, moment, ms, number, percent, span, write } from "./dom.js";
import { ask } from "./feed.js";
import { holdForm, pauseForm, releaseForm } from "./orders.js";
import { href } from "./route.js";

const FIELDS = [
  ["rate_per_s", "Arrivals", (value) => `${number(value)} req/s`],
  ["isl_tokens", "Input length", (value) => `${number(value, 4)} tokens`],
  ["osl_tokens", "Output length", (value) => `${number(value, 4)} tokens`],
  ["isl_cv2", "Input length, variation", (value) => number(value)],
  ["ttft_s", "TTFT", (value) => `${ms(value)} ms`],
  ["queue_s", "of that in the queue", (value) => `${ms(value)} ms`],
  ["itl_s", "ITL", (value) => `${ms(value)} ms`],
];
const STANDING = { valid: "ok", stale: "holding", missing: "blind" };

function replicas(seen) {
  const more = [[seen.starting, "starting"], [seen.failing, "of those failing"], [seen.pending, "pending"],
    [seen.draining, "draining"]];
  const parts = more.filter(([many]) => many).map(([many, what]) => `${many} ${what}`);
  return [`${seen.ready} ready of ${seen.wanted}`, ...parts, ...(seen.rolling_out ? ["rolling out"] : [])].join(", ");
}

function observed(observation) {
  const row = (name, reading, show) => el("tr", {}, el("th", { scope: "row" }, name),
    el("td", {}, el("span", { "data-mark": STANDING[reading.status] }, reading.status)),
    el("td", { class: "number" }, reading.value === null ? DASH : show(reading.value)),
    el("td", { class: "number" }, reading.at_s === null ? DASH : span(observation.at_s - reading.at_s)),
    el("td", {}, reading.cause ?? ""));
  const requests = (value) => `${number(value)} requests`;
  return captioned(`Observed over ${span(observation.window_s)}, at ${moment(observation.at_s)}`,
    ["What", "Standing", ["Value"], ["Age then"], "Cause"], [
      ...FIELDS.map(([field, name, show]) => row(name, observation[field], show)),
      ...Object.entries(observation.pools).flatMap(([role, pool]) => [
        row(`${role}, replicas`, pool.replicas, replicas), row(`${role}, waiting`, pool.waiting, requests),
        row(`${role}, running`, pool.running, requests)]),
    ]);
}

function bounds(status) {
  return Object.entries(status.bounds).map(([role, { min_replicas, max_replicas, gpus_per_replica }]) => {
    const gpus = gpus_per_replica === 1 ? "one GPU" : `${gpus_per_replica} GPUs`;
    return `${role} ${min_replicas} to ${max_replicas ?? "what the budget allows"} of ${gpus}`;
  }).join("; ");
}

export class ServicePage {
  constructor(name, update) {
    this.name = name;
    this.update = update;
    this.status = null;
    this.series = null;
    this.decisions = new Decisions(name);
    this.health = el("p", { class: "badge" });
    this.sentence = el("p");
    this.facts = el("p", { class: "note" });
    this.troubles = el("ul");
    this.charts = el("div", { class: "cards" });
    this.chart_error = el("p", { role: "status" });
    this.observation = el("section", { "aria-labelledby": "observation-heading", class: "fit" });
    this.in_force = el("div");
    this.forms = el("div", { class: "forms" });
    this.element = [
      el("div", { class: "view-head" }, el("a", { href: href() }, "← All services"),
        el("h2", { id: "detail-heading", tabindex: "-1" }, name), this.health, this.sentence),
      this.facts, this.troubles, this.charts, this.chart_error,
      this.decisions.element,
      el("h3", { id: "observation-heading" }, "Observation"), this.observation,
      el("section", { "aria-labelledby": "orders-heading" },
        el("h3", { id: "orders-heading" }, "Orders"), this.in_force, this.forms),
    ];
  }

  /** Fetches and shows everything about the service; throws when it cannot be had. */
  async refresh(tick) {
    const name = encodeURIComponent(this.name);
    const [status, series] = await Promise.all([
      ask(`status?service=${name}`), ask(`series/${name}`), this.decisions.refresh()]);
    this.status = status.services[this.name];
    this.series = series;
    this.#show();
    await this.decisions.show(tick, this.status.decision);
    this.draw();
  }

  async show(tick) {
    await this.decisions.show(tick, this.status?.decision ?? null);
  }

  async draw() {
    if (!this.series) return;
    try {
      await drawCharts(this.charts, this.series);
      write(this.chart_error, "");
    } catch (error) {
      write(this.chart_error, error.message);
    }
  }

  #show() {
    const { health, targets, decision, trouble } = this.status;
    if (this.health.textContent && this.health.textContent !== health.state) {
      announce(`${this.name}: ${health.state}. ${health.sentence}`);
    }
    write(this.health, health.state);
    mark(this.health, "data-mark", health.state);
    write(this.sentence, health.sentence);
    write(this.facts, `Agreement: TTFT ${number(targets.ttft_ms)} ms and ITL ${number(targets.itl_ms)} ms for `
      + `${percent(targets.objective)} % of requests. Replicas: ${bounds(this.status)}.`);
    const others = trouble.filter((line) => line !== health.sentence);
    this.troubles.replaceChildren(...others.map((line) => el("li", { "data-mark": "trouble" }, line)));
    const seen = JSON.stringify(decision?.observation ?? null);
    if (this.seen !== seen) {
      this.seen = seen;
      this.observation.replaceChildren(
        decision ? observed(decision.observation) : el("p", {}, "Nothing was observed yet."));
    }
    this.#orders();
  }

  /** The forms are made anew only when the orders changed: nobody's half-written reason is thrown away by a tick. */
  #orders() {
    const { pause, hold, bounds: pools, decision } = this.status;
    const key = JSON.stringify([pause, hold]);
    if (this.orders === key) return;
    this.orders = key;
    const lines = [];
    if (pause) lines.push(`Paused by ${pause.by} since ${moment(pause.since_s)}: ${pause.why}`);
    if (hold) {
      const kept = Object.entries(hold.replicas).map(([role, many]) => `${role} ${many}`).join(", ");
      lines.push(`Held at ${kept} until ${moment(hold.until_s)} by ${hold.by}: ${hold.why}`);
    }
    this.in_force.replaceChildren(...(lines.length ? lines.map((line) => el("p", { "data-mark": "holding" }, line))
      : [el("p", {}, "None in force.")]));
    const present = (role) => hold?.replicas[role] ?? decision?.pools[role]?.current;
    const counts = Object.fromEntries(Object.keys(pools).map((role) => [role, present(role)]));
    const part = (title, ...forms) => el("details", {}, el("summary", {}, title), ...forms);
    this.forms.replaceChildren(
      part(pause ? "Resume" : "Pause: decide and show, but apply nothing",
        pauseForm(this.name, pause !== null, this.update)),
      part("Hold at a number of replicas", holdForm(this.name, counts, this.update)),
      ...(hold ? [part("Release the hold", releaseForm(this.name, this.update))] : []));
  }
}
