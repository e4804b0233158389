"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
  const FAMILY = {
    planner: "blue", forecaster: "sky", published: "pink", hpa: "orange", static: "grey", clairvoyant: "green",
  };
  const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "cross", "x"];
  const startups = [...new Set(data.frontier.map((point) => point.startup_s))];

  const last = Math.max(...data.runs.map((run) => run.at_s[run.at_s.length - 1]));
  const hours = last > 3 * 3600;
  const time = (seconds) => seconds.map((s) => s / (hours ? 3600 : 60));
  const TIME = hours ? "hours" : "minutes";

  function layout(yTitle, y, x) {
    const axis = { gridcolor: colour("line"), zerolinecolor: colour("line"), linecolor: colour("line") };
    const text = (words) => ({ text: words, font: { size: 12 }, standoff: 8 });
    return {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: colour("ink"), family: "system-ui, sans-serif", size: 12 },
      margin: { l: 72, r: 12, t: 8, b: 40 }, hovermode: "x unified", dragmode: false,
      hoverlabel: { bgcolor: colour("raised"), bordercolor: colour("line"), font: { color: colour("ink") } },
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", bgcolor: "rgba(0,0,0,0)" },
      xaxis: { ...axis, title: text(TIME), range: [0, last / (hours ? 3600 : 60)], ...x },
      yaxis: { ...axis, title: text(yTitle), rangemode: "tozero", ...y },
    };
  }

  function draw(id, traces, plan) {
    Plotly.react(id, traces, plan, { responsive: true, displaylogo: false, displayModeBar: false });
  }

  function line(name, x, y, hue, more = {}) {
    return { name, x, y, mode: "lines", line: { color: colour(hue), width: 2, ...more.line }, ...more.trace };
  }

  const overWindow = { shape: "vh" }; // a value of the window that ends here
  const fromHere = { shape: "hv" }; // a value that holds from here on

  function drawLoad(run) {
    const forecast = run.forecast;
    const x = time(forecast.at_s);
    const traces = [];
    if (x.length) {
      const edge = { mode: "lines", line: { width: 0 }, x, hoverinfo: "skip" };
      traces.push({ ...edge, y: forecast.low, showlegend: false });
      traces.push({ ...edge, y: forecast.high, fill: "tonexty", fillcolor: colour("band"),
        name: `${data.band_low} % to ${data.quantile} %, the quantile sized for` });
      traces.push(line("forecast", x, forecast.point, "blue", { line: { dash: "dot" } }));
    }
    traces.push(line("arrived", time(run.at_s), run.rate, "ink", { line: overWindow }));
    draw("load", traces, layout("requests/s"));
  }

  function drawPools(run) {
    const holder = document.getElementById("pools");
    for (const role of Object.keys(run.pools)) {
      const id = "pool-" + role;
      if (!document.getElementById(id)) {
        const chart = document.createElement("div");
        chart.id = id;
        chart.className = "chart";
        holder.append(chart);
      }
      const pool = run.pools[role];
      const x = time(run.at_s);
      const most = Math.max(...pool.wanted, ...pool.ready, ...pool.needed);
      draw(id, [
        line("needed", x.slice(0, pool.needed.length), pool.needed, "green",
          { line: { ...overWindow, width: 1 }, trace: { fill: "tozeroy", fillcolor: colour("need") } }),
        line("wanted", x, pool.wanted, "orange", { line: { ...fromHere, dash: "dot" } }),
        line("ready", x, pool.ready, "blue", { line: fromHere }),
      ], layout(role + " replicas", { range: [0, most * 1.1], dtick: Math.ceil(most / 6) }));
    }
  }

  function drawLatency(id, name, run, values, target) {
    const seen = values.filter((value) => value !== null && value > 0).concat(target);
    const range = [Math.log10(Math.min(...seen) / 1.5), Math.log10(Math.max(...seen) * 1.5)];
    const tickvals = [];
    const marks = range[1] - range[0] > 3 ? [1] : [1, 2, 5];
    for (let power = -2; power < 9; power++) tickvals.push(...marks.map((mark) => mark * 10 ** power));
    const ticktext = tickvals.map((value) => Number(value.toPrecision(1)).toLocaleString("en"));
    const plan = layout(name + ", ms", { type: "log", rangemode: "normal", range, tickvals, ticktext });
    plan.shapes = [{ type: "line", xref: "paper", x0: 0, x1: 1, y0: target, y1: target,
      line: { color: colour("bad"), width: 1.5, dash: "dash" } }];
    plan.annotations = [{ xref: "paper", x: 1, xanchor: "right", y: Math.log10(target), yanchor: "bottom",
      text: `target ${target} ms`, showarrow: false, font: { color: colour("bad") } }];
    draw(id, [line(name, time(run.at_s), values, "blue",
      { line: overWindow, trace: { mode: "lines+markers", marker: { size: 3 } } })], plan);
  }

  function drawFrontier() {
    const plan = layout("requests in time, %", { rangemode: "normal" },
      { title: { text: "GPU-hours" }, rangemode: "tozero", range: undefined });
    plan.hovermode = "closest";
    plan.shapes = [{ type: "line", xref: "paper", x0: 0, x1: 1, y0: data.objective, y1: data.objective,
      line: { color: colour("good"), width: 1.5, dash: "dash" } }];
    plan.annotations = [{ xref: "paper", x: 1, xanchor: "right", y: data.objective, yanchor: "bottom",
      text: `objective ${data.objective} %`, showarrow: false, font: { color: colour("good") } }];
    const traces = [];
    for (const family of Object.keys(FAMILY)) {
      startups.forEach((startup_s, index) => {
        const points = data.frontier
          .filter((point) => point.family === family && point.startup_s === startup_s)
          .sort((a, b) => a.gpu_hours - b.gpu_hours);
        if (!points.length) return;
        traces.push({
          name: family, legendgroup: family, showlegend: !traces.some((trace) => trace.name === family),
          x: points.map((point) => point.gpu_hours), y: points.map((point) => point.good),
          text: points.map((point) => point.name),
          mode: family === "clairvoyant" && points.length > 1 ? "lines+markers" : "markers",
          hovertemplate: "%{text}<br>%{y:.1f} % in time<br>%{x:.2f} GPU-hours<extra></extra>",
          marker: { color: colour(FAMILY[family]), size: 10, symbol: SYMBOLS[index % SYMBOLS.length] },
          line: { color: colour(FAMILY[family]), width: 1.5 },
        });
      });
    }
    draw("frontier", traces, plan);
    if (startups.length > 1) {
      document.getElementById("startups").textContent = "Start-up times by shape: " +
        startups.map((s, index) => `${SYMBOLS[index % SYMBOLS.length]} ${s} s`).join(", ") + ".";
    }
  }

  const choice = document.getElementById("run");
  data.runs.forEach((run, index) => choice.add(new Option(run.name, String(index))));

  function show() {
    const index = Number(choice.value || 0);
    const run = data.runs[index];
    document.getElementById("forecast-note").hidden = run.forecast.at_s.length === 0;
    drawLoad(run);
    drawPools(run);
    drawLatency("ttft", "TTFT", run, run.ttft_ms, data.targets.ttft_ms);
    drawLatency("itl", "ITL", run, run.itl_ms, data.targets.itl_ms);
    for (const block of document.querySelectorAll(".run-decisions")) block.hidden = Number(block.dataset.run) !== index;
  }

  function showAll() {
    if (data.runs.length > 1) {
      document.getElementById("frontier-section").hidden = false;
      document.getElementById("choice").hidden = false;
      drawFrontier();
    }
    show();
  }

  choice.addEventListener("change", show);
  scheme.addEventListener("change", showAll);
  showAll();
})();
