// Numbers as people read them. Every function answers "–" for a number that is not known.

export const DAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const NONE = "–";

export function count(value) {
  if (value == null) return NONE;
  if (value >= 1e9) return `${(value / 1e9).toFixed(2)} G`;
  if (value >= 1e6) return `${(value / 1e6).toFixed(2)} M`;
  if (value >= 1e5) return `${(value / 1e3).toFixed(0)} k`;
  return Math.round(value).toLocaleString("en");
}

export function rate(value) {
  if (value == null) return NONE;
  return value > 0 && value < 10 ? value.toFixed(1) : count(value);
}

export function seconds(value) {
  if (value == null) return NONE;
  if (value < 1) return `${Math.round(value * 1000)} ms`;
  if (value < 60) return `${value.toFixed(1)} s`;
  if (value < 3600) return `${Math.round(value / 60)} min`;
  if (value < 172800) return `${Math.round(value / 3600)} h`;
  return `${Math.round(value / 86400)} days`;
}

export function fixed(value, digits = 3) {
  return value == null ? NONE : value.toFixed(digits);
}

export function percent(value) {
  return value == null ? NONE : `${(100 * value).toFixed(1)} %`;
}

export function probability(value) {
  if (value == null) return "";
  return value < 0.001 ? "p < 0.001" : `p = ${value.toFixed(3)}`;
}

export function hourOfWeek(value) {
  if (value == null) return NONE;
  return `${DAYS[Math.floor(value / 24)]} ${String(value % 24).padStart(2, "0")}:00`;
}
