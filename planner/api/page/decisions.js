/* The decisions of one service, newest first, a page at a time; the one that is chosen shows its arithmetic. */
import { ask, Refusal } from "./feed.js";
import { announce, count, DASH, el, moment } from "./dom.js";
import { href } from "./route.js";
import { waterfall } from "./waterfall.js";

const PAGE = 25;
const HEADS = ["Tick", "Time", "Replicas", "Applied", "Why"];

function way(pool) {
  const to = pool.replicas ?? pool.current;
  return pool.current === to ? count(to) : `${count(pool.current)} → ${count(to)}`;
}

/** What moved or held it. A forecast is part of every decision, and "stays" is told only where nothing else is. */
function gist({ reasons }) {
  const telling = reasons.filter((reason) => reason.code !== "forecast" && reason.code !== "keep");
  const told = telling.length ? telling : reasons.filter((reason) => reason.code === "keep");
  return told.map((reason) => reason.text).join("; ");
}

export class Decisions {
  constructor(service) {
    this.service = service;
    this.before = [];
    this.tick = null;
    this.shown = null;
    this.body = el("tbody");
    this.only = el("input", { type: "checkbox", onchange: () => this.#turn([]) });
    this.newer = el("button", { type: "button", onclick: () => this.#turn(this.before.slice(0, -1)) }, "Newer");
    this.older = el("button", { type: "button", onclick: () => this.#turn([...this.before, this.next]) }, "Older");
    this.chosen = el("section", { "aria-labelledby": "decision-heading" });
    this.error = el("p", { role: "alert", class: "answer" });
    this.element = el("div", { class: "history" },
      el("section", { "aria-labelledby": "decisions-heading" },
        el("div", { class: "view-head" }, el("h3", { id: "decisions-heading" }, "Decisions"),
          el("label", {}, this.only, " changes only")),
        el("div", { class: "scroll", role: "region", "aria-label": "Table of decisions", tabindex: "0" },
          el("table", { class: "decisions" },
            el("caption", { class: "unseen" }, `Decisions for ${service}, newest first`),
            el("thead", {}, el("tr", {}, HEADS.map((head) => el("th", { scope: "col" }, head)))), this.body)),
        el("div", { class: "pager" }, this.newer, this.older), this.error),
      this.chosen);
  }

  async #turn(before) {
    this.before = before;
    try {
      await this.refresh();
      this.error.textContent = "";
      announce(`${this.body.children.length} decisions`);
    } catch (error) {
      this.error.textContent = error.message;
    }
  }

  /** Fetches the page that is shown; throws when it cannot be had. */
  async refresh() {
    const query = new URLSearchParams({ service: this.service, limit: PAGE, changes: this.only.checked });
    if (this.before.length) query.set("before", this.before.at(-1));
    const { items, next } = await ask(`decisions?${query}`);
    this.next = next;
    this.newer.disabled = this.before.length === 0;
    this.older.disabled = next === null;
    // The page of old decisions does not change under the reader; the newest does, and may hold the focus.
    const focused = document.activeElement?.closest?.(".decisions tr")?.dataset.tick;
    this.body.replaceChildren(...items.map((line) => this.#row(line)));
    if (focused) this.body.querySelector(`[data-tick="${focused}"] a`)?.focus({ preventScroll: true });
    this.#point();
  }

  #row(line) {
    const roles = Object.entries(line.pools).map(([role, pool]) => `${role} ${way(pool)}`).join(", ");
    return el("tr", { "data-tick": line.tick },
      el("th", { scope: "row" }, el("a", { href: href({ service: this.service, tick: line.tick }) }, `${line.tick}`)),
      el("td", {}, moment(line.at_s)), el("td", {}, roles),
      el("td", {}, line.applied?.status ?? (line.changes ? "not yet" : DASH)),
      el("td", {}, gist(line)));
  }

  #point() {
    for (const row of this.body.children) {
      if (Number(row.dataset.tick) === this.tick) row.setAttribute("aria-current", "true");
      else row.removeAttribute("aria-current");
    }
  }

  /** Shows one decision: that of `tick`, or `last` where the address names none. */
  async show(tick, last) {
    this.tick = tick ?? last?.tick ?? null;
    this.#point();
    if (this.tick === null) {
      this.chosen.replaceChildren(el("p", {}, "Nothing has been decided yet."));
      return;
    }
    // A decision does not change, but what became of it may come later.
    let decision = last?.tick === this.tick ? last : null;
    const key = `${this.tick} ${decision?.applied?.status ?? ""}`;
    if (this.shown === key) return;
    try {
      decision ??= await ask(`decisions/${this.tick}/${encodeURIComponent(this.service)}`);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      this.chosen.replaceChildren(el("h3", { id: "decision-heading", tabindex: "-1" }, `Decision ${this.tick}`),
        el("p", {}, error.message));
      this.shown = key;
      return;
    }
    const open = this.chosen.querySelector("details")?.open ?? false;
    this.chosen.replaceChildren(
      el("h3", { id: "decision-heading", tabindex: "-1" }, `Decision ${decision.tick}, ${moment(decision.at_s)}`),
      el("p", {}, tick === null ? "The latest; it follows the planner."
        : el("a", { href: href({ service: this.service }) }, "Follow the latest")),
      ...waterfall(decision));
    this.chosen.querySelector("details").open = open;
    this.shown = key;
  }
}
