"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
  const FAMILY = {
    planner: "blue", forecaster: "sky", published: "pink", hpa: "orange", static: "grey", clairvoyant: "green",
  };
  const SHAPES = ["circle", "square", "diamond", "triangle-up", "cross", "x", "star", "hexagon"];
  const shape = (index) => SHAPES[index % SHAPES.length];
  const known = (values) => values.filter((value) => value !== null);

  const services = Object.keys(data.services);
  const ends = data.runs.flatMap((run) => services.map((name) => run.services[name].at_s.at(-1)));
  const last = Math.max(...ends);
  const [unit, TIME] = last > 3 * 3600 ? [3600, "hours"] : [60, "minutes"];
  const time = (seconds) => seconds.map((s) => s / unit);

  function layout(yTitle, y, x) {
    const axis = { gridcolor: colour("line"), zerolinecolor: colour("line"), linecolor: colour("line") };
    const text = (words) => ({ text: words, font: { size: 12 }, standoff: 8 });
    return {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: colour("ink"), family: "system-ui, sans-serif", size: 12 },
      margin: { l: 64, r: 12, t: 8, b: 40 }, hovermode: "x unified", dragmode: false,
      hoverlabel: { bgcolor: colour("raised"), bordercolor: colour("line"), font: { color: colour("ink") } },
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", traceorder: "normal", bgcolor: "rgba(0,0,0,0)" },
      xaxis: { ...axis, title: text(TIME), range: [0, last / unit], ...x },
      yaxis: { ...axis, title: text(yTitle), rangemode: "tozero", ...y },
      showlegend: true,
    };
  }

  function draw(id, traces, plan) {
    Plotly.react(id, traces, plan, { responsive: true, displaylogo: false, displayModeBar: false });
  }

  // A gap leaves lone windows that no line shows, hence marks.
  function line(name, x, y, hue, style = {}, more = {}) {
    const marks = { mode: y.includes(null) ? "lines+markers" : "lines", marker: { size: 4, color: colour(hue) } };
    return { name, x, y, ...marks, line: { color: colour(hue), width: 2, ...style }, ...more };
  }

  // From and to of the stretches without a gap; a band would be filled across it.
  function unbroken(values) {
    const stretches = [];
    values.forEach((value, i) => {
      if (value === null) return;
      if (i && values[i - 1] !== null) stretches.at(-1)[1] = i + 1;
      else stretches.push([i, i + 1]);
    });
    return stretches;
  }

  const overWindow = { shape: "vh" }; // a value of the window that ends here
  const fromHere = { shape: "hv" }; // a value that holds from here on

  function limit(plan, value, at, hue, words) {
    plan.shapes = [{ type: "line", xref: "paper", x0: 0, x1: 1, y0: value, y1: value,
      line: { color: colour(hue), width: 1.5, dash: "dash" } }];
    plan.annotations = [{ xref: "paper", x: 1, xanchor: "right", y: at, yanchor: "bottom", text: words,
      showarrow: false, font: { color: colour(hue) } }];
    return plan;
  }

  function drawLoad(seen, promised) {
    const { forecast, at_s } = seen;
    const blind = at_s.map((s, i) => [i ? at_s[i - 1] : 0, s]).filter((_, i) => seen.rate_seen[i] === null);
    const plan = layout("requests/s");
    plan.shapes = blind.map(([from, to]) => ({ type: "rect", xref: "x", x0: from / unit, x1: to / unit,
      yref: "paper", y0: 0, y1: 1, line: { width: 0 }, fillcolor: colour("blind"), layer: "below" }));
    const x = time(forecast.at_s);
    const traces = [];
    if (x.length) {
      unbroken(forecast.low).forEach(([from, to], index) => {
        const edge = { mode: "lines", line: { width: 0 }, x: x.slice(from, to), hoverinfo: "skip",
          legendgroup: "band" };
        traces.push({ ...edge, y: forecast.low.slice(from, to), showlegend: false });
        traces.push({ ...edge, y: forecast.high.slice(from, to), fill: "tonexty", fillcolor: colour("band"),
          name: `${data.band_low} % to ${promised.quantile} %, sized for`, showlegend: index === 0 });
      });
      traces.push(line("forecast", x, forecast.point, "blue", { dash: "dot" }));
    }
    traces.push(line("arrived", time(at_s), seen.rate, "ink", overWindow));
    traces.push(line("seen", time(at_s), seen.rate_seen, "orange", { ...overWindow, width: 1 }));
    draw("load", traces, plan);
    document.getElementById("forecast-note").hidden = x.length === 0;
    document.getElementById("blind-note").hidden = blind.length === 0;
  }

  function drawGood(seen, promised) {
    const low = Math.min(...known(seen.good), promised.objective);
    const plan = layout("in time, %", { rangemode: "normal", range: [Math.max(0, low - 5), 102] });
    limit(plan, promised.objective, promised.objective, "bad", `objective ${promised.objective} %`);
    plan.annotations[0].yanchor = "top";
    draw("good", [line("in time", time(seen.at_s), seen.good, "blue", overWindow, { showlegend: false })], plan);
  }

  function drawPools(seen) {
    const holder = document.getElementById("pools");
    const roles = Object.keys(seen.pools);
    if (holder.dataset.roles !== roles.join()) {
      holder.dataset.roles = roles.join();
      holder.replaceChildren(...roles.map((role) => {
        const chart = document.createElement("div");
        Object.assign(chart, { id: "pool-" + role, className: "chart", role: "img", ariaLabel: role + " replicas" });
        return chart;
      }));
    }
    for (const role of roles) {
      const { ordered, ready, needed } = seen.pools[role];
      const x = time(seen.at_s);
      const most = Math.max(...ordered, ...ready, ...(needed ?? []));
      const traces = [line("ordered", x, ordered, "orange", { ...fromHere, dash: "dot" }),
        line("ready", x, ready, "blue", fromHere)];
      if (needed) {
        traces.unshift(line("needed", x.slice(0, needed.length), needed, "green", { ...overWindow, width: 1 },
          { fill: "tozeroy", fillcolor: colour("need") }));
      }
      draw("pool-" + role, traces, layout(role + " replicas", { range: [0, most * 1.1], dtick: Math.ceil(most / 6) }));
    }
    document.getElementById("needed-note").hidden = roles.every((role) => !seen.pools[role].needed);
  }

  function drawLatency(id, name, seen, truth, mean, target) {
    const values = known([...truth, ...mean, target]).filter((value) => value > 0);
    const range = [Math.log10(Math.min(...values) / 1.5), Math.log10(Math.max(...values) * 1.5)];
    const tickvals = [];
    const marks = range[1] - range[0] > 3 ? [1] : [1, 2, 5];
    for (let power = -2; power < 9; power++) tickvals.push(...marks.map((mark) => mark * 10 ** power));
    const ticktext = tickvals.map((value) => Number(value.toPrecision(1)).toLocaleString("en"));
    const plan = layout(name + ", ms", { type: "log", rangemode: "normal", range, tickvals, ticktext });
    limit(plan, target, Math.log10(target), "bad", `target ${target} ms`);
    const x = time(seen.at_s);
    draw(id, [line("p95, truth", x, truth, "blue", overWindow),
      line("mean, seen", x, mean, "orange", { ...overWindow, dash: "dot" })], plan);
  }

  function drawFrontier() {
    const plan = layout("requests in time, %", { rangemode: "normal" },
      { title: { text: "GPU-hours" }, rangemode: "tozero", range: undefined });
    plan.hovermode = "closest";
    if (data.objective !== null) {
      limit(plan, data.objective, data.objective, "good", `objective ${data.objective} %`);
      Object.assign(plan.annotations[0], { x: 0, xanchor: "left" }); // few runs cost next to nothing
    }
    const traces = data.sweeps.map((sweep) => ({
      x: sweep.gpu_hours, y: sweep.good, mode: "lines", hoverinfo: "skip", showlegend: false,
      legendgroup: sweep.family, line: { color: colour(FAMILY[sweep.family]), width: 1.5 },
    }));
    for (const family of Object.keys(FAMILY)) {
      const points = data.frontier.filter((point) => point.family === family);
      if (!points.length) continue;
      // The legend speaks of colours alone; a trace's own entry would show its first point's shape.
      traces.push({ name: family, legendgroup: family, mode: "markers", x: [null], y: [null],
        marker: { color: colour(FAMILY[family]), size: 10 } });
      traces.push({
        legendgroup: family, mode: "markers", showlegend: false,
        x: points.map((point) => point.gpu_hours), y: points.map((point) => point.good),
        text: points.map((point) => point.name),
        hovertemplate: "%{text}<br>%{y:.2f} % in time<br>%{x:.2f} GPU-hours<extra></extra>",
        marker: { color: colour(FAMILY[family]), size: 10, line: { color: colour(FAMILY[family]), width: 1.5 },
          symbol: points.map((point) => shape(point.shape) + (point.kept ? "" : "-open")) },
      });
    }
    draw("frontier", traces, plan);
    if (data.variations.length > 1) {
      document.getElementById("shapes").textContent =
        "By shape: " + data.variations.map((words, index) => `${shape(index)} ${words}`).join("; ") + ".";
    }
  }

  const runChoice = document.getElementById("run");
  const serviceChoice = document.getElementById("service");
  data.runs.forEach((run, index) => runChoice.add(new Option(run.name, String(index))));
  services.forEach((name) => serviceChoice.add(new Option(name)));
  document.getElementById("run-choice").hidden = data.runs.length === 1;
  document.getElementById("service-choice").hidden = services.length === 1;
  document.getElementById("frontier-section").hidden = data.runs.length === 1;

  function show() {
    const [index, name] = [Number(runChoice.value), serviceChoice.value];
    const seen = data.runs[index].services[name];
    const promised = data.services[name];
    drawLoad(seen, promised);
    drawGood(seen, promised);
    drawPools(seen);
    drawLatency("ttft", "TTFT", seen, seen.ttft_p95_ms, seen.ttft_seen_ms, promised.ttft_ms);
    drawLatency("itl", "ITL", seen, seen.itl_p95_ms, seen.itl_seen_ms, promised.itl_ms);
    for (const block of document.querySelectorAll(".run-decisions")) {
      block.hidden = Number(block.dataset.run) !== index || block.dataset.service !== name;
    }
  }

  function showAll() {
    if (data.runs.length > 1) drawFrontier();
    show();
  }

  runChoice.addEventListener("change", show);
  serviceChoice.addEventListener("change", show);
  scheme.addEventListener("change", showAll);
  showAll();
})();
