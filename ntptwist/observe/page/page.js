"use strict";
/*
 * The plots, and the page kept up to date.  Everything else is made by the daemon: this script asks for the page again
 * and puts its new parts in the place of the old ones.
 */
(() => {
  const STATE_INTERVAL = 2000;
  const DAY = 1350;
  const SHADES = {
    light: ["#1565a8", "#b3561e", "#1b6e35", "#7b3fa0", "#9a6b00", "#00707a", "#a8326f", "#4a5a8a"],
    dark: ["#74b3ee", "#f0a070", "#6fd38d", "#c79bea", "#e0bf62", "#5cc8d2", "#f08ebe", "#a9b7e6"],
  };
  const DASHES = [[], [6, 3], [2, 3], [10, 3, 2, 3]];
  const UNITS = [[1, "s"], [1e-3, "ms"], [1e-6, "µs"], [1e-9, "ns"]];

  const byId = (id) => document.getElementById(id);
  let hours = 24;
  let plots = [];
  let later = 0;
  let history = empty();

  function empty() {
    return { next: 0, times: [], clock: {}, sources: new Map() };
  }

  /* Text of numbers */

  function amount(seconds) {
    if (seconds === null || seconds === undefined) return "-";
    const size = Math.abs(seconds);
    const [scale, unit] = UNITS.find(([each]) => size >= 0.9995 * each) || UNITS[3];
    return `${seconds > 0 ? "+" : ""}${Number((seconds / scale).toPrecision(3))} ${unit}`;
  }

  function secondsAxis(_, splits) {
    const largest = Math.max(...splits.map(Math.abs));
    const [scale, unit] = UNITS.find(([each]) => largest >= 0.9995 * each) || UNITS[3];
    return splits.map((each) => `${Number((each / scale).toPrecision(4))} ${unit}`);
  }

  /* UTC to the minute, or to the second where it matters, and the date where a day begins or the axis does. */
  function timeAxis(_, splits) {
    const end = splits.length > 1 && splits[1] - splits[0] < 60 ? 19 : 16;
    return splits.map((at, place) => {
      const iso = new Date(at * 1000).toISOString();
      return place === 0 || at % 86400 === 0 ? `${iso.slice(11, end)}\n${iso.slice(0, 10)}` : iso.slice(11, end);
    });
  }

  const plain = (unit, digits) => (_, splits) => splits.map((each) => `${Number(each.toFixed(digits))}${unit}`);

  /* The history: rows of the sources are laid beside one axis of times */

  function take(data) {
    const { times, clock, sources } = history;
    const start = times.length;
    times.push(...data.times);
    for (const [name, values] of Object.entries(data.clock)) (clock[name] ||= []).push(...values);
    for (const source of data.sources) {
      const kept = sources.get(source.id) || { offset: [], delay: [], uncertainty: [] };
      kept.name = (source.mode === "pool" ? `${source.address} (${source.name})` : source.name).replace(/:123$/, "");
      for (const name of ["offset", "uncertainty", "delay"]) {
        while (kept[name].length < times.length) kept[name].push(null);
        source.at.forEach((at, row) => { kept[name][start + at] = source[name][row]; });
      }
      sources.set(source.id, kept);
    }
    for (const kept of sources.values()) {
      for (const name of ["offset", "uncertainty", "delay"]) {
        while (kept[name].length < times.length) kept[name].push(null);
      }
    }
    history.next = data.next;
    const surplus = times.length - DAY;
    if (surplus > 0) {
      times.splice(0, surplus);
      Object.values(clock).forEach((values) => values.splice(0, surplus));
      for (const [id, kept] of sources) {
        for (const name of ["offset", "uncertainty", "delay"]) kept[name].splice(0, surplus);
        if (kept.offset.every((value) => value === null)) sources.delete(id);
      }
    }
  }

  async function loadHistory() {
    const answer = await fetch(`history.json?after=${history.next - 1}`);
    const data = await answer.json();
    if (data.next < history.next) { // the daemon has started anew
      history = empty();
      await loadHistory();
      return;
    }
    const known = [...history.sources.keys()].join();
    take(data);
    if (known !== [...history.sources.keys()].join() || !plots.length) build();
    else show();
    clearTimeout(later);
    later = setTimeout(() => loadHistory().catch(lost), data.interval * 1000);
  }

  /* The plots */

  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const dark = () => getComputedStyle(document.documentElement).colorScheme === "dark";

  function quantile(values, part) {
    const sorted = values.filter((each) => each !== null).map(Math.abs).sort((a, b) => a - b);
    return sorted.length ? sorted[Math.min(Math.floor(sorted.length * part), sorted.length - 1)] : null;
  }

  /* A source that is far off, or the first minutes, shall not flatten all the others. */
  function sensible(series) {
    const sizes = series.map((values) => quantile(values, 0.95)).filter((each) => each !== null).sort((a, b) => a - b);
    return sizes.length ? (3 * sizes[Math.floor((sizes.length - 1) / 2)] || 1e-6) : Infinity;
  }

  function series(label, position, clock) {
    const shades = SHADES[dark() ? "dark" : "light"];
    return {
      label,
      stroke: clock ? css("--text") : shades[position % shades.length],
      dash: clock ? [] : DASHES[Math.floor(position / shades.length) % DASHES.length],
      width: clock ? 2.5 : 1.2,
      spanGaps: true,
      points: { show: history.times.length < 30, size: 4 },
    };
  }

  /* The value to show of a line that has none under the cursor: the nearest, for sources that are polled less often. */
  function nearest(made, line, at) {
    const values = made.data[line];
    for (let away = 0; away < values.length; away += 1) {
      if (values[at - away] != null) return at - away;
      if (values[at + away] != null) return at + away;
    }
    return at;
  }

  function plot(id, rows, columns, axis, value, range) {
    const place = byId(id);
    place.setAttribute("role", "figure");
    place.setAttribute("aria-label", place.parentElement.querySelector("h2").textContent);
    const line = { stroke: css("--faint"), grid: { stroke: css("--line"), width: 1 }, ticks: { stroke: css("--line") } };
    const options = {
      width: place.clientWidth || 300,
      height: place.parentElement.classList.contains("wide") ? 260 : 180,
      series: [
        { label: "UTC", value: (_, at) => (at ? new Date(at * 1000).toISOString().slice(0, 19).replace("T", " ") : "-") },
        ...rows.map((row) => ({ ...row, value: (_, number) => value(number) })),
      ],
      axes: [{ ...line, space: 60, values: timeAxis }, { ...line, size: 76, values: axis }],
      scales: { y: { range } },
      cursor: { dataIdx: nearest },
      tzDate: (at) => uPlot.tzDate(new Date(at * 1000), "Etc/UTC"),
    };
    const made = new uPlot(options, [[0], ...rows.map(() => [null])], place);
    plots.push({ made, columns, place });
  }

  function around(least) {
    return (made, low, high) => {
      if (low === null) return [-least, least];
      const middle = (low + high) / 2;
      const half = Math.max((high - low) * 0.55, least);
      return [middle - half, middle + half];
    };
  }

  const upwards = (least) => (made, low, high) => [0, Math.max(high || 0, least) * 1.1];

  function within(columns) {
    return (made, low, high) => {
      if (low === null) return [-1e-3, 1e-3];
      const limit = sensible(columns().map(windowed));
      const floor = Math.max(low, -limit);
      const ceiling = Math.min(high, limit);
      const spare = Math.max((ceiling - floor) * 0.08, 1e-9);
      return ceiling > floor ? [floor - spare, ceiling + spare] : [low - spare, high + spare];
    };
  }

  function build() {
    plots.forEach(({ made }) => made.destroy());
    plots = [];
    document.querySelectorAll(".plot").forEach((each) => { each.hidden = false; });
    const sources = [...history.sources.values()];
    const ofSource = (name) => () => sources.map((kept) => kept[name]);
    const ofClock = (name) => () => [history.clock[name] || []];
    const offsets = () => [...ofClock("offset")(), ...ofSource("offset")()];
    const lines = sources.map((kept, position) => series(kept.name, position));
    plot("offset", [series("this clock", 0, true), ...lines], offsets, secondsAxis, amount, within(offsets));
    plot("bound", [series("largest error", 0)], ofClock("error_bound"), secondsAxis, amount, (made, low, high) =>
      [0, Math.min(high || 1e-3, sensible([windowed(history.clock.error_bound || [])])) * 1.1]);
    plot("frequency", [series("correction", 0)], ofClock("frequency"), plain(" ppm", 3),
      (number) => (number === null ? "-" : `${number.toFixed(3)} ppm`), around(0.01));
    plot("delay", lines, ofSource("delay"), secondsAxis, amount, upwards(1e-6));
    const load = () => [history.clock.requests || [],
      (history.clock.requests || []).map((each, row) => (each === null ? null : each * (history.clock.nts_share[row] || 0)))];
    plot("load", [series("requests", 0), series("with NTS", 1)], load, plain(" /s", 3),
      (number) => (number === null ? "-" : `${Number(number.toPrecision(3))} /s`), upwards(1));
    show();
  }

  function windowed(values) {
    const { times } = history;
    const from = (times.length ? times[times.length - 1] : 0) - hours * 3600;
    const first = times.findIndex((each) => each >= from);
    return values.slice(Math.max(first, 0));
  }

  function show() {
    const times = windowed(history.times);
    for (const { made, columns } of plots) made.setData([times, ...columns().map(windowed)]);
  }

  /* The parts that the daemon makes */

  async function loadState() {
    const answer = await fetch("./");
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    document.title = fresh.title;
    for (const part of document.querySelectorAll("[data-live]")) {
      const other = fresh.getElementById(part.id);
      if (other && other.innerHTML !== part.innerHTML) part.replaceChildren(...other.childNodes);
    }
    byId("trouble").hidden = true;
  }

  function lost() {
    const trouble = byId("trouble");
    if (trouble.hidden) {
      trouble.textContent = `The daemon has not answered since ${new Date().toISOString().slice(11, 19)} UTC: what follows is old.`;
      trouble.hidden = false;
    }
  }

  async function keep() {
    if (!document.hidden) {
      try {
        const gone = !byId("trouble").hidden;
        await loadState();
        if (gone) await restart();
      } catch {
        lost();
      }
    }
    setTimeout(keep, STATE_INTERVAL);
  }

  async function restart() {
    history = empty();
    await loadHistory();
  }

  /* Light and dark */

  function theme(chosen) {
    if (chosen) document.documentElement.dataset.theme = chosen;
    byId("theme").textContent = dark() ? "light" : "dark";
    if (plots.length) build();
  }

  byId("theme").hidden = false;
  byId("theme").addEventListener("click", () => {
    const chosen = dark() ? "light" : "dark";
    try { localStorage.setItem("theme", chosen); } catch { /* storage may be forbidden: the choice ends with the page */ }
    theme(chosen);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => theme());
  for (const button of document.querySelectorAll("[data-hours]")) {
    button.addEventListener("click", () => {
      hours = Number(button.dataset.hours);
      document.querySelectorAll("[data-hours]").forEach((each) => each.setAttribute("aria-pressed", each === button));
      show();
    });
  }
  /* The header is as wide as the page, and no plot changes its size: so drawing the plots anew ends there. */
  new ResizeObserver(() => {
    for (const { made, place } of plots) made.setSize({ width: place.clientWidth || 300, height: made.height });
  }).observe(document.querySelector("header"));
  let chosen = null;
  try { chosen = localStorage.getItem("theme"); } catch { /* as above */ }
  theme(chosen);
  loadHistory().catch(lost);
  setTimeout(keep, STATE_INTERVAL);
})();
