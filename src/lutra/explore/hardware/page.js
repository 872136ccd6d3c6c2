"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const find = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const trained = data.methods.some((method) => method.accuracy !== null);
const measured = data.methods.map((method) => method.robustness).filter((value) => value !== null);
const lowest = Math.min(...measured), highest = Math.max(...measured);

function option(select, value, text) {
  const item = document.createElement("option");
  item.value = value;
  item.textContent = text;
  select.append(item);
}

if (trained) option(find("axis"), "accuracy", "accuracy, points");
option(find("axis"), "share", "share of the device");
option(find("model"), "", "all");
data.methods.forEach((method, index) => option(find("model"), index, method.name));
data.columns.forEach((column) => option(find("column"), column.key, column.name));
data.variants.forEach((variant, index) => option(find("variant"), index, variant.name));
find("variant-label").hidden = data.variants.length < 2;
find("p_pe").max = data.p_pe.length - 1;
find("p_pe").value = data.p_pe.indexOf(data.start.p_pe);
find("p_pe-label").hidden = data.p_pe.length < 2;
find("fraction").value = Math.round(100 * data.start.fraction);
find("clock").value = data.start.clock_mhz;
find("column").value = data.start.column;

function node(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function colour(method) {
  if (method.robustness === null) return "var(--none)";
  const place = highest > lowest ? (method.robustness - lowest) / (highest - lowest) : 0.5;
  return `hsl(${265 - 200 * place} 62% 46%)`;
}

const lanes = (module) => data.modules[module].join(", ");
const percent = (share) => `${(100 * share).toFixed(0)} %`;

/** Points that the sliders leave, of every model the fastest first. */
function points() {
  const p_pe = data.p_pe[find("p_pe").value], fraction = find("fraction").value / 100;
  const clock = find("clock").value * 1e3, column = find("column").value, model = find("model").value;
  const found = [];
  for (const set of data.sets) {
    if (set.p_pe !== p_pe || set.variant !== Number(find("variant").value || 0) || set.column !== column) continue;
    if (model !== "" && Number(model) !== set.method) continue;
    const left = set.points.filter((point) => point[1] < fraction);
    left.forEach(([cycles, share, mha, ffn], index) => found.push({
      method: data.methods[set.method], index: set.method, ms: cycles / clock, share, mha, ffn, fastest: index === 0,
    }));
  }
  return found;
}

/** Of models with a training: those that no other point beats in accuracy, robustness and latency. */
function pareto(found) {
  const candidates = found.filter((point) => point.fastest && point.method.accuracy !== null);
  const beats = (a, b) => a.ms <= b.ms && a.method.accuracy >= b.method.accuracy &&
    (a.method.robustness ?? 0) >= (b.method.robustness ?? 0) &&
    (a.ms < b.ms || a.method.accuracy > b.method.accuracy || (a.method.robustness ?? 0) > (b.method.robustness ?? 0));
  return new Set(candidates.filter((point) => !candidates.some((other) => beats(other, point))));
}

function marked() {
  const mark = data.marked && data.marked.columns[find("column").value];
  const model = find("model").value;
  if (!mark || (model !== "" && Number(model) !== data.marked.method)) return null;
  if (data.p_pe[find("p_pe").value] !== data.start.p_pe) return null;
  return { ...mark, name: data.marked.name, method: data.methods[data.marked.method], ms: mark.cycles / (find("clock").value * 1e3) };
}

const ticks = (low, high, count) => {
  const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step / 1e6; value += step) found.push(value);
  return found;
};

function show(event, text) {
  const tip = find("tip"), box = find("plot").getBoundingClientRect(), target = event.target.getBoundingClientRect();
  tip.replaceChildren(...text.map((line, index) => {
    const part = document.createElement(index ? "span" : "strong");
    part.textContent = line;
    part.style.display = "block";
    return part;
  }));
  tip.hidden = false;
  const left = target.left - box.left + 12;
  tip.style.left = `${Math.max(0, Math.min(left, box.width - tip.offsetWidth))}px`;
  tip.style.top = `${target.top - box.top + 14}px`;
}

function described(point) {
  const scores = point.method.accuracy === null ? "latency only: no training is behind it" :
    `accuracy ${point.method.accuracy.toFixed(2)}, R ${point.method.robustness === null ? "not measured" : point.method.robustness.toFixed(1)}`;
  return [point.name || point.method.name, scores, `${point.ms.toFixed(2)} ms for two sentences, ${percent(point.share)} of the device`,
    `MHA: p_dpu, p_quan, p_vu, p_ln = ${lanes(point.mha)}`, `FFN: p_dpu, p_quan, p_vu, p_ln = ${lanes(point.ffn)}`];
}

function shape(point, x, y, radius, attributes) {
  const made = node("circle", { cx: x, cy: y, r: radius, tabindex: 0, "data-point": "", ...attributes });
  const text = described(point);
  made.setAttribute("aria-label", text.join("; "));
  for (const name of ["mouseenter", "focus", "click"]) made.addEventListener(name, (event) => show(event, text));
  for (const name of ["mouseleave", "blur"]) made.addEventListener(name, () => { find("tip").hidden = true; });
  return made;
}

function draw() {
  const found = points(), best = pareto(found), mark = marked(), byAccuracy = find("axis").value === "accuracy";
  const figure = find("figure"), width = find("plot").clientWidth, phone = width < 560;
  const untrained = byAccuracy ? found.filter((point) => point.method.accuracy === null) : [];
  const band = untrained.length || (mark && byAccuracy && mark.method.accuracy === null) ? 56 : 0;
  const height = (phone ? 340 : 460) + band, left = 52, right = width - 16, top = 14, bottom = height - 46 - band;
  figure.setAttribute("viewBox", `0 0 ${width} ${height}`);
  figure.replaceChildren();
  find("tip").hidden = true;
  const all = mark ? [...found, mark] : found;
  if (!all.length) {
    figure.append(node("text", { x: width / 2, y: height / 2, "text-anchor": "middle", class: "strong" }, "nothing fits these limits"));
    return finish(found, best, mark);
  }
  const logs = all.map((point) => Math.log10(point.ms)), low = Math.min(...logs) - 0.05, high = Math.max(...logs) + 0.05;
  const x = (ms) => left + (Math.log10(ms) - low) / (high - low) * (right - left);
  const values = byAccuracy ? data.methods.map((method) => method.accuracy).filter((value) => value !== null) : [];
  if (byAccuracy && data.least.accuracy !== null) values.push(data.least.accuracy);
  const bottomValue = byAccuracy ? Math.min(...values) - 1 : 0;
  const topValue = byAccuracy ? Math.max(...values) + 1 : Math.max(find("fraction").value / 100, ...all.map((point) => point.share)) * 1.05;
  const y = (value) => bottom - (value - bottomValue) / (topValue - bottomValue) * (bottom - top);
  const place = (point) => !byAccuracy ? y(point.share) : point.method.accuracy === null ? bottom + band / 2 + 6 : y(point.method.accuracy);
  for (const value of ticks(bottomValue, topValue, 5)) {
    figure.append(node("line", { x1: left, x2: right, y1: y(value), y2: y(value), class: "rule" }));
    figure.append(node("text", { x: left - 8, y: y(value) + 4, "text-anchor": "end" }, byAccuracy ? Number(value.toFixed(2)) : percent(value)));
  }
  for (let power = -3; power < 6; power++) {
    for (const digit of [1, 2, 5]) {
      const ms = digit * 10 ** power;
      if (Math.log10(ms) < low || Math.log10(ms) > high) continue;
      figure.append(node("line", { x1: x(ms), x2: x(ms), y1: top, y2: bottom + band, class: "rule" }));
      figure.append(node("text", { x: x(ms), y: bottom + band + 18, "text-anchor": "middle" }, ms));
    }
  }
  figure.append(node("line", { x1: left, x2: right, y1: bottom, y2: bottom, class: "axis" }));
  figure.append(node("text", { x: (left + right) / 2, y: bottom + band + 38, "text-anchor": "middle" }, "milliseconds for two sentences, logarithmic"));
  if (band) figure.append(node("text", { x: left + 4, y: bottom + 14 }, "latency only: not trained"));
  const limit = byAccuracy ? data.least.accuracy : find("fraction").value / 100;
  if (limit !== null) {
    figure.append(node("line", { x1: left, x2: right, y1: y(limit), y2: y(limit), class: "limit" }));
    figure.append(node("text", { x: right, y: y(limit) - 6, "text-anchor": "end" }, byAccuracy ? `accuracy of at least ${limit.toFixed(2)}` : `at most ${percent(limit)} of the device`));
  }
  for (const point of [...found].sort((a, b) => Number(a.fastest) - Number(b.fastest))) {
    const attributes = { fill: colour(point.method), "fill-opacity": point.fastest ? 0.95 : 0.35 };
    if (point.method.accuracy === null) Object.assign(attributes, { fill: "none", stroke: "var(--none)", "stroke-opacity": point.fastest ? 1 : 0.45, "pointer-events": "all" });
    if (best.has(point)) attributes.class = "pareto";
    figure.append(shape(point, x(point.ms), place(point), point.fastest ? 6 : 3.2, attributes));
  }
  if (mark) {
    figure.append(shape(mark, x(mark.ms), place(mark), 9, { class: "mark", "pointer-events": "all" }));
    const end = x(mark.ms) > (left + right) / 2;
    figure.append(node("text", { x: x(mark.ms) + (end ? -14 : 14), y: place(mark) - 10, "text-anchor": end ? "end" : "start", class: "strong" }, mark.name));
  }
  finish(found, best, mark);
}

function finish(found, best, mark) {
  find("fraction-value").textContent = `${find("fraction").value} %`;
  find("p_pe-value").textContent = data.p_pe[find("p_pe").value];
  find("clock-value").textContent = `${find("clock").value} MHz`;
  const fastest = found.filter((point) => point.fastest).sort((a, b) => a.ms - b.ms);
  find("rows").replaceChildren(...fastest.map((point) => {
    const row = document.createElement("tr"), { accuracy, robustness } = point.method;
    const cells = [point.method.name, accuracy === null ? "–" : accuracy.toFixed(2), robustness === null ? "–" : robustness.toFixed(1),
      point.ms.toFixed(2), lanes(point.mha), lanes(point.ffn), percent(point.share)];
    row.append(...cells.map((text) => { const cell = document.createElement("td"); cell.textContent = text; return cell; }));
    return row;
  }));
  const same = mark && fastest.find((point) => point.method === mark.method);
  const words = [`${fastest.length} of ${data.methods.length} models fit; ${best.size} of them on the Pareto set of accuracy, robustness and latency.`];
  if (!trained) words[0] = `${fastest.length} of ${data.methods.length} models fit.`;
  if (same) words.push(`${mark.name} takes ${mark.ms.toFixed(2)} ms and ${percent(mark.share)} of the device; the fastest for the same model here ${same.ms.toFixed(2)} ms (${(mark.ms / same.ms).toFixed(1)} times faster) with MHA ${lanes(same.mha)} and FFN ${lanes(same.ffn)}.`);
  if (mark && fastest.length) words.push(`The fastest of all is ${(mark.ms / fastest[0].ms).toFixed(1)} times faster: ${fastest[0].method.name}.`);
  find("summary").textContent = words.join(" ");
}

function legend() {
  const parts = [];
  const part = (style, text, ramp) => { const span = document.createElement("span"), dot = document.createElement("i"); if (ramp) dot.className = "ramp"; dot.style.cssText = style; span.append(dot, text); parts.push(span); };
  if (measured.length) part("", `R from ${lowest.toFixed(0)} to ${highest.toFixed(0)}`, true);
  if (trained && measured.length < data.methods.length) part("background: var(--none)", "R not measured");
  if (trained) part("border: 2px solid #d0342c", "Pareto set");
  if (data.methods.some((method) => method.accuracy === null)) part("border: 1.5px solid var(--none)", "latency only");
  part("background: var(--none); opacity: .35; width: .45rem; height: .45rem", "slower, with less of the device");
  if (data.marked) part("border: 2.5px solid var(--ink)", data.marked.name);
  find("legend").replaceChildren(...parts);
}

for (const control of document.querySelectorAll(".controls input, .controls select")) control.addEventListener("input", draw);
new ResizeObserver(draw).observe(find("plot"));
legend();
draw();
