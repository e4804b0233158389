/*
 * The live page of a planner: its head, all services, and one of them in detail.
 *
 * It asks the API at addresses relative to its own, so that it works behind a proxy's path as well, and asks no other
 * host. What it shows it has from /overview, /status, /series and /decisions; it decides nothing and computes next to
 * nothing. The connection's state is always in sight: nothing here is old without saying so.
 */
import { announce, clock, el, mark, moment, span, write } from "./dom.js";
import { ask, Feed, Refusal } from "./feed.js";
import { dryRunForm } from "./orders.js";
import { chooseRow, showOverview } from "./overview.js";
import { heard, now_s } from "./planner_clock.js";
import { href, route } from "./route.js";
import { ServicePage } from "./service.js";
import { watchTheme } from "./theme.js";

const LATE_INTERVALS = 2;

const part = (id) => document.getElementById(id);
const views = document.querySelector(".views");
const detail = part("detail");
let overview = null;
let page = null;
let answered_ms = null;

/** What the planner as a whole is up to: a mark, a word, and a sentence. */
function planner() {
  const late_s = now_s() - overview.next_tick_s;
  if (late_s > LATE_INTERVALS * overview.interval_s) return ["trouble", "late"];
  if (overview.trouble.length) return ["trouble", "trouble"];
  if (overview.controls.dry_run) return ["holding", "dry run"];
  return overview.ticks ? ["ok", "live"] : ["wait", "starting"];
}

function showTicks() {
  if (!overview) return;
  const [sign, word] = planner();
  if (part("state").textContent !== word) {
    announce(`The planner is ${word}.`);
    write(part("state"), word);
    mark(part("state"), "data-mark", sign);
  }
  const { ticks, next_tick_s, interval_s } = overview;
  const until_s = next_tick_s - now_s();
  const next = until_s >= 0 ? `next in ${span(until_s)}` : `next due ${span(-until_s)} ago`;
  const last_s = next_tick_s - interval_s;
  write(part("ticks"), ticks ? `Last decision ${span(now_s() - last_s)} ago, ${next}` : `No decision yet, ${next}`);
  if (feed.failing_since !== null && feed.state === "lost") {
    write(part("banner"), `No answer since ${clock(feed.failing_since / 1e3)}: everything below is `
      + `${span((Date.now() - answered_ms) / 1e3)} old.`);
  }
}

function showHead() {
  const { budget, trouble, controls } = overview;
  part("budget").hidden = budget === null;
  if (budget) {
    const of = (gpus) => `${Math.min(100, (gpus / budget.gpus) * 100)}%`;
    part("budget").querySelector(".held").style.width = of(budget.held);
    part("budget").querySelector(".granted").style.width = of(budget.granted);
    part("budget").querySelector(".bar").classList.toggle("over", budget.exceeded);
    const { held, granted, gpus, exceeded } = budget;
    write(part("budget-text"), `${held} held, ${granted} granted of ${gpus} GPUs${exceeded ? ", exceeded" : ""}`);
  }
  part("troubles").hidden = trouble.length === 0;
  part("troubles").replaceChildren(...trouble.map((line) => el("li", { "data-mark": "trouble" }, line)));
  const run = controls.dry_run;
  const key = JSON.stringify(run);
  if (part("dry-run").dataset.key === key) return;
  part("dry-run").dataset.key = key;
  part("dry-run").replaceChildren(
    run ? el("p", { "data-mark": "holding" }, `By ${run.by} since ${moment(run.since_s)}: ${run.why}`)
      : el("p", {}, "Not in force."),
    el("details", {}, el("summary", {}, run ? "End it" : "Start one"), dryRunForm(run !== null, () => feed.update())));
}

async function refresh() {
  const shown = page;
  const [answer] = await Promise.all([ask("overview"), shown?.refresh(route().tick).catch((error) => {
    // A service that is no longer there is no lost connection.
    if (!(error instanceof Refusal)) throw error;
    shown.sentence.textContent = error.message;
  })]);
  overview = answer;
  answered_ms = Date.now();
  heard(overview);
  showHead();
  showOverview(overview);
  chooseRow(page?.name ?? null);
  showTicks();
  return overview.now_s;
}

const CONNECTION = {
  live: ["ok", () => "connected"],
  polling: ["ok", () => "connected, polling"],
  reconnecting: ["wait", () => "reconnecting"],
  lost: ["trouble", (since_ms) => `lost since ${clock(since_ms / 1e3)}`],
  asleep: ["wait", () => "asleep while hidden"],
};

function showConnection(state, since_ms) {
  const [sign, words] = CONNECTION[state];
  mark(part("connection"), "data-mark", sign);
  write(part("connection"), words(since_ms));
  document.body.classList.toggle("old", state === "lost");
  part("banner").hidden = state !== "lost";
  announce(`Connection: ${words(since_ms)}`);
  showTicks();
}

const feed = new Feed(refresh, showConnection);

async function follow() {
  const { service, tick } = route();
  if (service === (page?.name ?? null)) {
    // Another decision of the same service.
    await page?.show(tick);
    if (tick !== null) detail.querySelector("#decision-heading")?.focus();
    return;
  }
  const left = page?.name;
  page = service === null ? null : new ServicePage(service, () => feed.update());
  detail.replaceChildren(...(page?.element ?? []));
  detail.hidden = page === null;
  views.classList.toggle("both", page !== null);
  document.title = page ? `${service} · sla-planner` : "sla-planner";
  chooseRow(service);
  if (page) {
    detail.querySelector("h2").focus({ preventScroll: true });
    scrollTo(0, 0);
    feed.update();
  } else if (left) {
    document.querySelector(`#services a[href="${CSS.escape(href({ service: left }))}"]`)?.focus();
  }
}

addEventListener("hashchange", () => follow().catch((error) => announce(error.message)));
watchTheme(() => page?.draw());
follow();
feed.start();
setInterval(showTicks, 1_000);
