/*
 * What people order: pause, hold, dry run. The token lives in this module's memory and nowhere else, so a reload asks
 * for it again; it travels as a header, so no other site can have it sent.
 */
import { ask } from "./feed.js";
import { el } from "./dom.js";
import { now_s } from "./planner_clock.js";

let token = "";
let by = "";

function field(label, input) {
  return el("label", {}, label, input);
}

/** A form that posts to control/`order` what `read` makes of its inputs, and shows the answer or the server's line. */
function form(order, verb, inputs, read, done) {
  const secret = el("input", { type: "password", autocomplete: "off", required: true, name: "token" });
  const person = el("input", { autocomplete: "off", name: "by", maxlength: "80", size: "10" });
  const why = el("input", { autocomplete: "off", required: true, name: "why", maxlength: "200", size: "28" });
  const answer = el("p", { class: "answer", role: "status" });
  const send = el("button", { type: "submit" }, verb);
  return el("form", { "data-order": order, onfocusin: () => {
    secret.value ||= token;
    person.value ||= by;
  }, onsubmit: async (event) => {
    event.preventDefault();
    [token, by] = [secret.value, person.value];
    send.disabled = true;
    answer.removeAttribute("data-mark");
    answer.textContent = "Sent.";
    try {
      await ask(`control/${order}`, { method: "POST",
        headers: { "Authorization": `Bearer ${token}`, "Content-Type": "application/json" },
        body: JSON.stringify({ ...read(), why: why.value, ...(by ? { by } : {}) }) });
      answer.textContent = `${verb}: done.`;
      why.value = "";
      done();
    } catch (error) {
      answer.setAttribute("data-mark", "trouble");
      answer.textContent = error.message;
    } finally {
      send.disabled = false;
    }
  } }, inputs, field("Reason", why), field("Your name", person), field("Token", secret), send, answer);
}

/** Pause or resume, whichever is possible. */
export function pauseForm(service, paused, done) {
  return paused ? form("resume", "Resume", [], () => ({ service }), done)
    : form("pause", "Pause", [], () => ({ service }), done);
}

export function holdForm(service, counts, done) {
  const replicas = Object.entries(counts).map(([role, present]) => [role,
    el("input", { type: "number", min: "1", step: "1", required: true, name: role, value: present ?? "", size: "4" })]);
  const minutes = el("input", { type: "number", min: "1", step: "1", required: true, name: "minutes", value: "60" });
  return form("hold", "Hold", [
    ...replicas.map(([role, input]) => field(`Replicas, ${role}`, input)), field("For, minutes", minutes),
  ], () => ({
    service,
    replicas: Object.fromEntries(replicas.map(([role, input]) => [role, Number(input.value)])),
    until_s: Math.round(now_s() + Number(minutes.value) * 60),
  }), done);
}

export function releaseForm(service, done) {
  return form("release", "Release", [], () => ({ service }), done);
}

export function dryRunForm(running, done) {
  return form("dry-run", running ? "End the dry run" : "Start a dry run", [], () => ({ on: !running }), done);
}
