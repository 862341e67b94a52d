// SVG drawn by hand: curves, the week's heat map, the ledger. Text always becomes a text node.

import { DAYS, hourOfWeek, percent } from "./format.js";

const SVG = "http://www.w3.org/2000/svg";

export function element(name, attributes = {}, text = null) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text != null) made.textContent = text;
  return made;
}

// A curve of the newest samples, right-aligned; gaps (null) are left out.
export function curve(svg, values, { width, height, samples, area = true, fromZero = true }) {
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("preserveAspectRatio", "none");
  const known = values.filter((value) => value != null);
  if (known.length < 2) return svg.replaceChildren();
  const low = fromZero ? 0 : Math.min(...known);
  const high = Math.max(...known);
  const span = high - low || Math.abs(high) || 1;
  const points = [];
  values.forEach((value, i) => {
    if (value == null) return;
    const x = width - ((values.length - 1 - i) * width) / (samples - 1);
    const y = high === low ? height / 2 : height - 3 - ((value - low) / span) * (height - 6);
    points.push(`${x.toFixed(1)},${y.toFixed(1)}`);
  });
  const line = element("polyline", { class: "line", points: points.join(" ") });
  if (!area) return svg.replaceChildren(line);
  const [first] = points[0].split(",");
  const closed = `${first},${height} ${points.join(" ")} ${width},${height}`;
  return svg.replaceChildren(element("polygon", { class: "area", points: closed }), line);
}

const CELL = 15, GAP = 1.5, LEFT = 26, TOP = 12;

// 7 days x 24 hours; the fullest colour is the best hour, which also has a ring.
export function week(svg, scores) {
  const width = LEFT + 24 * CELL, height = TOP + 7 * CELL;
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const low = Math.min(...scores), high = Math.max(...scores);
  const best = scores.indexOf(high);
  const parts = [];
  for (let hour = 0; hour < 24; hour += 6)
    parts.push(element("text", { x: LEFT + hour * CELL + 1, y: 7 }, String(hour).padStart(2, "0")));
  DAYS.forEach((day, i) => parts.push(element("text", { x: 0, y: TOP + i * CELL + 10.5 }, day)));
  const place = (i) => ({ x: LEFT + (i % 24) * CELL, y: TOP + Math.floor(i / 24) * CELL, width: CELL - GAP, height: CELL - GAP, rx: 2.5 });
  scores.forEach((score, i) => {
    const strength = high > low ? (score - low) / (high - low) : 0;
    const cell = element("rect", { class: "cell", "fill-opacity": (0.07 + 0.93 * strength ** 1.4).toFixed(3), ...place(i) });
    cell.append(element("title", {}, `${hourOfWeek(i)}  ${percent(score)} opened`));
    parts.push(cell);
  });
  if (high > low) parts.push(element("rect", { class: "best", ...place(best) }));
  svg.replaceChildren(...parts);
  return best;
}

export function noWeek(svg) {
  svg.setAttribute("viewBox", `0 0 ${LEFT + 24 * CELL} ${TOP + 7 * CELL}`);
  const parts = DAYS.map((day, i) => element("text", { x: 0, y: TOP + i * CELL + 10.5 }, day));
  for (let i = 0; i < 168; i++)
    parts.push(element("rect", { class: "void", x: LEFT + (i % 24) * CELL, y: TOP + Math.floor(i / 24) * CELL, width: CELL - GAP, height: CELL - GAP, rx: 2.5 }));
  svg.replaceChildren(...parts);
}

// One bar; shares below half a pixel are still drawn, so that a single dead letter is seen.
// A bar as long as `share` of the room.
export function bar(svg, share) {
  svg.replaceChildren(element("rect", { class: "gauge-fill", x: 0, y: 0, width: Math.max(1, 100 * share), height: 8, rx: 2 }));
  svg.setAttribute("viewBox", "0 0 100 8");
}

export function ledger(svg, buckets) {
  const total = buckets.reduce((sum, [, number]) => sum + number, 0);
  svg.setAttribute("viewBox", "0 0 1000 10");
  let at = 0;
  const parts = [];
  for (const [name, number] of buckets) {
    if (!number) continue;
    const width = Math.max(3, (1000 * number) / total);
    parts.push(element("rect", { class: name, x: Math.min(at, 1000 - width), y: 0, width, height: 10 }));
    at += width;
  }
  svg.replaceChildren(...parts);
}
