/* The charts of one service. Each says its current numbers in its caption, for whoever cannot see it. */
import { clock, count, el, ms, number, percent } from "./dom.js";
import { colour } from "./theme.js";

/** Times the target. */
const LOG_FROM = 4;

let loading = null;

/** Five megabytes, so fetched when the first chart is wanted and not before. */
function plotly() {
  loading ??= new Promise((resolve, reject) => {
    const script = el("script", { src: "page/plotly.js", onload: () => resolve(globalThis.Plotly),
      onerror: () => {
        loading = null;
        reject(new Error("page/plotly.js could not be fetched; the tables and captions say the same"));
      } });
    document.head.append(script);
  });
  return loading;
}

// The chart library writes numbers as UTC; people read their own clock.
function local(at_s) {
  return at_s.map((s) => (s === null ? null : s * 1e3 - new Date(s * 1e3).getTimezoneOffset() * 6e4));
}

function layout(title, more = {}) {
  const axis = { gridcolor: colour("line"), zerolinecolor: colour("line"), linecolor: colour("line") };
  const calm = matchMedia("(pointer: coarse)").matches;
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: colour("ink"), family: "system-ui, sans-serif", size: 11 },
    margin: { l: 52, r: 8, t: 8, b: 40 }, hovermode: "x unified", dragmode: calm ? false : "zoom", uirevision: "kept",
    hoverlabel: { bgcolor: colour("raised"), bordercolor: colour("line"), font: { color: colour("ink") } },
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", bgcolor: "rgba(0,0,0,0)" },
    xaxis: { ...axis, type: "date" },
    yaxis: { ...axis, title: { text: title, standoff: 6 }, rangemode: "tozero" },
    shapes: [], annotations: [], showlegend: true, ...more,
  };
}

// A lone point between two gaps has no line; the mark shows it.
function line(name, x, y, hue, style = {}) {
  const gaps = y.includes(null);
  return { name, x, y, connectgaps: false, mode: gaps ? "lines+markers" : "lines",
    marker: { size: 3, color: colour(hue) }, line: { color: colour(hue), width: 2, ...style } };
}

/** From and to of the stretches without a gap; one band over all would be filled across the gaps. */
function unbroken(values) {
  const stretches = [];
  values.forEach((value, i) => {
    if (value === null) return;
    if (i && values[i - 1] !== null) stretches.at(-1)[1] = i + 1;
    else stretches.push([i, i + 1]);
  });
  return stretches;
}

function band(x, low, high) {
  return unbroken(high.map((value, i) => (low[i] === null ? null : value))).flatMap(([from, to], index) => {
    const edge = { mode: "lines", line: { width: 0 }, x: x.slice(from, to), hoverinfo: "skip", legendgroup: "band" };
    return [{ ...edge, y: low.slice(from, to), showlegend: false },
      { ...edge, y: high.slice(from, to), fill: "tonexty", fillcolor: colour("band"), name: "10 % to sized for",
        showlegend: index === 0 }];
  });
}

// On a logarithmic axis a line is placed by its value and a text by the value's logarithm.
function limit(plan, value, words) {
  const at = plan.yaxis.type === "log" ? Math.log10(value) : value;
  plan.shapes.push({ type: "line", xref: "paper", x0: 0, x1: 1, y0: value, y1: value,
    line: { color: colour("bad"), width: 1.5, dash: "dash" } });
  plan.annotations.push({ xref: "paper", x: 1, xanchor: "right", y: at, yanchor: "bottom", text: words,
    showarrow: false, font: { color: colour("bad") }, bgcolor: colour("ground") });
  return plan;
}

const last = (values) => values.at(-1) ?? null;
const step = { shape: "hv" };

function demand(series) {
  const { forecast } = series;
  const x = local(forecast.at_s);
  const rate = last(series.rate_per_s);
  const sized = last(forecast.high);
  return {
    title: "Demand",
    text: (rate === null ? "The rate is unknown. " : `${number(rate)} req/s now. `) + (sized === null ? "No forecast."
      : `${number(last(forecast.point))} expected at ${clock(last(forecast.at_s))}, sized for ${number(sized)}.`),
    traces: [...band(x, forecast.low, forecast.high), line("forecast", x, forecast.point, "blue", { dash: "dot" }),
      line("arriving", local(series.at_s), series.rate_per_s, "ink")],
    plan: layout("req/s"),
  };
}

function replicas(series, role) {
  const pool = series.pools[role];
  const x = local(series.at_s);
  const plan = layout("replicas");
  plan.yaxis.dtick = Math.ceil(Math.max(...pool.wanted, ...pool.ready, 1) / 6);
  return {
    title: `Replicas, ${role}`,
    text: `${count(last(pool.wanted))} ordered, ${count(last(pool.ready))} ready, `
      + `${count(last(pool.starting))} starting, ${count(last(pool.pending))} pending.`,
    traces: [line("ordered", x, pool.wanted, "orange", { ...step, dash: "dot" }),
      line("ready", x, pool.ready, "blue", step), line("starting", x, pool.starting, "grey", { ...step, width: 1 }),
      ...(pool.pending.some(Boolean) ? [line("pending", x, pool.pending, "bad", { ...step, width: 1 })] : [])],
    plan,
  };
}

function latency(name, series, values_s, target_ms) {
  const values = values_s.map((value) => (value === null ? null : value * 1e3));
  const plan = layout("ms", { showlegend: false });
  // Beyond that, a linear scale would press all that was well flat onto the axis.
  if (Math.max(...values) > LOG_FROM * target_ms) Object.assign(plan.yaxis, { type: "log", rangemode: "normal" });
  return {
    title: `${name}, mean of the window`,
    text: `${ms(last(values_s))} ms, target ${number(target_ms)} ms.`,
    traces: [line("mean", local(series.at_s), values, "blue")],
    plan: limit(plan, target_ms, `target ${number(target_ms)} ms`),
  };
}

function goodShare(series) {
  const values = series.good_share.map((share) => (share === null ? null : share * 100));
  const known = values.filter((value) => value !== null);
  const objective = series.targets.objective * 100;
  const plan = limit(layout("%", { showlegend: false }), objective, `objective ${number(objective)} %`);
  plan.yaxis.range = [Math.max(0, Math.min(objective, ...known) - 5), 102];
  plan.annotations[0].yanchor = "top";
  return {
    title: "Requests in time",
    text: known.length ? `${percent(last(series.good_share))} % met both targets, objective ${number(objective)} %.`
      : "The source does not tell.",
    traces: [line("in time", local(series.at_s), values, "blue")],
    plan,
  };
}

function charts(series) {
  return [
    ["demand", demand(series)],
    ...Object.keys(series.pools).map((role) => [`pool-${role}`, replicas(series, role)]),
    ["ttft", latency("TTFT", series, series.ttft_s, series.targets.ttft_ms)],
    ["itl", latency("ITL", series, series.itl_s, series.targets.itl_ms)],
    ["good", goodShare(series)],
  ];
}

/** Draws into `holder`, whose figures are kept from one call to the next so that a zoom stays. */
export async function drawCharts(holder, series) {
  const drawn = charts(series);
  const ids = drawn.map(([id]) => id).join();
  if (holder.dataset.ids !== ids) {
    holder.dataset.ids = ids;
    holder.replaceChildren(...drawn.map(([id, { title }]) => el("figure", { id: `figure-${id}` },
      el("figcaption", {}, el("b", {}, title), el("span")), el("div", { class: "chart", "aria-hidden": "true" }))));
  }
  for (const [id, { text }] of drawn) {
    holder.querySelector(`#figure-${id} figcaption span`).textContent = text;
  }
  const library = await plotly();
  for (const [id, { traces, plan }] of drawn) {
    const place = holder.querySelector(`#figure-${id} .chart`);
    // Another service may have been chosen while the library came.
    if (place?.isConnected) library.react(place, traces, plan, { responsive: true, displayModeBar: false });
  }
}
