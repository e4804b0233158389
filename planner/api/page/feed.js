/*
 * News from the planner: server-sent events while they flow, polling while they do not, nothing while nobody looks.
 *
 * The connection is one of
 *   live          events are open and the last answer came
 *   polling       the last answer came, events do not
 *   reconnecting  the last answer did not come, for less than LOST_MS
 *   lost          the same for longer: everything shown is old, and the page says so
 *   asleep        the tab is hidden
 * An open connection proves nothing (a proxy may hold it open for a dead planner), so silence is polled as well.
 */

const POLL_MS = 5_000;
const LOST_MS = 15_000;
const EVENTS_AGAIN_MS = 30_000;
const ANSWER_MS = 15_000;

/** An answer that is not what was asked for; its message is the server's one line. */
export class Refusal extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/** The server's answer as JSON; throws a Refusal, or what fetch throws when there is no answer. */
export async function ask(path, options = {}) {
  const response = await fetch(path, { signal: AbortSignal.timeout(ANSWER_MS), cache: "no-cache", ...options });
  const text = await response.text();
  let body = null;
  try {
    body = text ? JSON.parse(text) : null;
  } catch {
    // A proxy's own error page.
  }
  if (!response.ok) throw new Refusal(body?.error ?? `${response.status} ${response.statusText}`, response.status);
  return body;
}

export class Feed {
  /**
   * `refresh` fetches and shows everything, and gives the moment of what it got; `changed(state, since_ms)` hears of
   * the connection.
   */
  constructor(refresh, changed) {
    this.refresh = refresh;
    this.changed = changed;
    this.quiet_ms = POLL_MS;
    this.failing_since = null;
    this.events = null;
    this.events_closed = 0;
    this.answered = 0;
    this.at_s = -Infinity;
    this.tried = 0;
    this.running = null;
    this.again = false;
    this.state = "connecting";
  }

  start() {
    document.addEventListener("visibilitychange", () => (document.hidden ? this.#sleep() : this.#wake()));
    this.#wake();
  }

  /** Fetch now; calls that come meanwhile amount to one more fetch. */
  async update() {
    if (this.running) {
      this.again = true;
      return this.running;
    }
    this.running = this.#fetch();
    try {
      return await this.running;
    } finally {
      this.running = null;
      if (this.again) {
        this.again = false;
        this.update();
      }
    }
  }

  async #fetch() {
    this.tried = Date.now();
    try {
      this.at_s = await this.refresh();
      this.failing_since = null;
      this.answered = Date.now();
    } catch (error) {
      // fetch throws a TypeError without a connection, and so does a mistake in this page: it must not hide as one.
      const silent = error instanceof Refusal || error.name === "TimeoutError" || /fetch|network/i.test(error.message);
      if (!silent) console.error(error);
      this.failing_since ??= Date.now();
    }
    this.#tell();
  }

  #tell() {
    if (document.hidden) return this.#become("asleep");
    if (this.failing_since !== null) {
      return this.#become(Date.now() - this.failing_since > LOST_MS ? "lost" : "reconnecting");
    }
    if (!this.answered) return;
    this.#become(this.events?.readyState === EventSource.OPEN ? "live" : "polling");
  }

  #become(state) {
    if (state === this.state) return;
    this.state = state;
    this.changed(state, this.failing_since);
  }

  #listen() {
    this.events?.close();
    this.events = new EventSource("events");
    for (const kind of ["tick", "control"]) this.events.addEventListener(kind, (event) => this.#news(event));
    this.events.addEventListener("open", () => this.#tell());
    this.events.addEventListener("error", () => {
      // The browser reconnects by itself, except after an answer that was not a stream.
      this.events_closed = this.events.readyState === EventSource.CLOSED ? Date.now() : 0;
      this.update();
    });
  }

  /** A stream begins with what there is, and an order comes as two events: what is shown already is not fetched. */
  async #news(event) {
    await this.running;
    if (this.failing_since !== null || JSON.parse(event.data).at_s > this.at_s) this.update();
  }

  #beat() {
    const now = Date.now();
    if (this.events?.readyState === EventSource.CLOSED && now - this.events_closed > EVENTS_AGAIN_MS) this.#listen();
    const flowing = this.events?.readyState === EventSource.OPEN && this.failing_since === null;
    if (now - this.tried > (flowing ? this.quiet_ms : POLL_MS)) this.update();
    this.#tell();
  }

  #sleep() {
    this.events?.close();
    this.events = null;
    clearInterval(this.timer);
    this.timer = null;
    this.#tell();
  }

  #wake() {
    if (this.timer) return;
    this.#listen();
    this.timer = setInterval(() => this.#beat(), 2_000);
    this.update();
  }
}
