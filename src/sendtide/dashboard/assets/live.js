// Asks for the newest sample once a second and writes it into the page. Names of clients, models
// and sources come from tenants: they only ever become text nodes, never markup.

import { bar, curve, ledger, noWeek, week } from "./draw.js";
import { count, fixed, hourOfWeek, percent, probability, rate, seconds } from "./format.js";

const EVERY_MS = 1000;
const SAMPLES = 120;
const AWAY_MS = 5000;
const REASONS = 8;
const CARD_TURNS = 5;
const $ = (id) => document.getElementById(id);
const BUCKETS = ["applied", "duplicate", "late", "dead_letter", "erased"];
const rows = new Map();
let chosen = null;
let chosenModel = null;
let newest = null;
let turns = 0;

function set(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function make(tag, className, text = "") {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.textContent = text;
  return made;
}

async function ask(path) {
  const answer = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(4000) });
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.error ?? `status ${answer.status}`);
  return body;
}

function showKpi(kpi, history) {
  const notes = {
    events_per_s: `${count(kpi.events.in)} in all, ${kpi.workers} ${kpi.workers === 1 ? "worker" : "workers"}`,
    predictions_per_s: `${count(kpi.predictions)} in all`,
    freshness_p99_s: "event to changed prediction",
    drift: kpi.drift == null ? "no window has ended yet" : [kpi.drift_where, kpi.drift_feature, probability(kpi.drift_p_value)].filter(Boolean).join(", "),
  };
  const shown = {
    events_per_s: rate(kpi.events_per_s), predictions_per_s: rate(kpi.predictions_per_s),
    freshness_p99_s: seconds(kpi.freshness_p99_s), drift: fixed(kpi.drift),
  };
  for (const [key, text] of Object.entries(shown)) {
    set($(`kpi-${key}`), text);
    set($(`note-${key}`), notes[key]);
    $(`note-${key}`).title = notes[key];
    curve($(`card-${key}`).querySelector("svg"), history[key], { width: 320, height: 46, samples: SAMPLES });
  }
  $("kpi-drift").className = kpi.drifting ? "firing" : "";
}

function showPhases(phases) {
  const list = $("phases");
  list.hidden = !phases.length;
  while (list.children.length < phases.length) {
    const item = make("li", "phase");
    const name = make("p", "phase-name");
    name.append(make("span"), make("span", "phase-state"));
    item.append(name, make("p", "phase-says"), make("p", "phase-missing"));
    list.append(item);
  }
  phases.forEach((phase, i) => {
    const item = list.children[i];
    item.className = `phase ${phase.state === "live" ? "live" : ""}`;
    set(item.querySelector(".phase-name").firstChild, phase.name);
    set(item.querySelector(".phase-state"), phase.state);
    set(item.querySelector(".phase-says"), phase.says);
    set(item.querySelector(".phase-missing"), `Not yet: ${phase.missing}`);
  });
}

function newRow(key, model) {
  const row = make("tr");
  row.tabIndex = 0;
  for (const name of ["client", "model", "num", "num", "num", "", "num", "num", "num", ""]) row.append(make("td", name));
  const spark = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  spark.setAttribute("class", "spark");
  row.children[5].append(spark);
  const choose = () => { chosen = model.client; chosenModel = model.model; showModels(newest.models); showClient(); showReasons(); };
  row.addEventListener("click", choose);
  row.addEventListener("keydown", (event) => { if (event.key === "Enter") choose(); });
  rows.set(key, row);
  return row;
}

function fillRow(row, model) {
  const texts = [
    model.client, model.model, rate(model.events_per_s), seconds(model.freshness_s), fixed(model.drift), null,
    fixed(model.log_loss), fixed(model.auc), count(model.learned), hourOfWeek(model.best_hour),
  ];
  texts.forEach((text, i) => { if (text != null) set(row.children[i], text); });
  row.children[0].title = model.client;
  row.children[3].className = model.stale ? "num stale" : "num";
  row.children[3].title = model.stale ? "stale: no event for longer than the limit" : "";
  const state = ["firing", "warning"].includes(model.drift_state) ? model.drift_state : "";
  row.children[4].className = `num ${model.drift == null ? "unknown" : state}`;
  row.children[4].title = [model.drift_feature, model.drift_convention, probability(model.drift_p_value)].filter(Boolean).join(", ");
  curve(row.querySelector("svg"), model.history, { width: 92, height: 22, samples: SAMPLES, area: false, fromZero: model.drift != null });
  row.className = model.client !== chosen ? "" : model.model === chosenModel ? "chosen picked" : "chosen";
}

function showModels(models) {
  const wanted = $("filter").value.trim().toLowerCase();
  const shown = models.filter((model) => model.client.toLowerCase().includes(wanted));
  shown.sort((a, b) => a.client.localeCompare(b.client) || a.model.localeCompare(b.model));
  const body = $("models");
  const kept = new Set();
  shown.forEach((model, i) => {
    const key = `${model.client}\n${model.model}`;
    kept.add(key);
    const row = rows.get(key) ?? newRow(key, model);
    fillRow(row, model);
    if (body.children[i] !== row) body.insertBefore(row, body.children[i] ?? null);
  });
  for (const [key, row] of rows) if (!kept.has(key)) { row.remove(); rows.delete(key); }
  $("models-empty").hidden = models.length > 0;
  const clients = new Set(models.map((model) => model.client)).size;
  set($("models-foot"), models.length ? `${shown.length} of ${models.length} models of the ${clients} clients heard from last. Drift is drawn where it is known, log loss elsewhere.` : "");
}

function showLedger(kpi) {
  const buckets = BUCKETS.map((name) => [name, kpi.events[name]]);
  ledger($("ledger"), buckets);
  const list = $("buckets");
  while (list.children.length < buckets.length) {
    const item = make("div", "bucket");
    item.append(make("i", BUCKETS[list.children.length]), make("dt"), make("dd"));
    list.append(item);
  }
  buckets.forEach(([name, number], i) => {
    set(list.children[i].children[1], name.replace("_", " "));
    set(list.children[i].children[2], number.toLocaleString("en"));
  });
}

async function showClient() {
  if (!chosen) return;
  const asked = chosen;
  const detail = await ask(`/api/client/${encodeURIComponent(asked)}`);
  if (asked !== chosen) return;
  set($("hours-client"), asked);
  if (detail.hours) {
    const best = week($("hours"), detail.hours.scores);
    const top = Math.max(...detail.hours.scores), low = Math.min(...detail.hours.scores);
    set($("hours-foot"), `${hourOfWeek(best)} local time opens best: ${percent(top)} per send; the poorest hour ${percent(low)}.`);
  } else {
    noWeek($("hours"));
    set($("hours-foot"), "The hours of this client are not known yet.");
  }
  const lifts = $("lifts");
  lifts.replaceChildren(...detail.lifts.map((lift) => {
    const row = make("tr");
    row.append(make("td", "", `${lift.of}s`), make("td", "says", lift.says));
    return row;
  }));
  set($("lifts-foot"), detail.lifts.length ? `Of ${asked}: rate per send less the control group's. The interval holds at every look, with 95%.` : "No label of this client has been counted yet.");
  const body = $("sources");
  body.replaceChildren(...detail.sources.map((source) => {
    const row = make("tr");
    row.append(
      make("td", "client", source.source), make("td", "num", seconds(source.freshness_s)),
      make("td", "num", seconds(source.lag_p50_s)), make("td", "num", seconds(source.lag_p99_s)), make("td", "num", count(source.late)),
    );
    return row;
  }));
  set($("sources-foot"), detail.sources.length ? `Of ${asked}: now minus the newest event; lag from event to arrival.` : "No source of this client has reported yet.");
}

function reasonRow() {
  const row = make("tr");
  const cell = make("td", "gauge-cell");
  const drawn = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  drawn.setAttribute("class", "gauge");
  drawn.setAttribute("preserveAspectRatio", "none");
  cell.append(drawn);
  row.append(make("td", "client"), cell, make("td", "num"));
  return row;
}

async function showReasons() {
  if (!chosen || !chosenModel) return;
  const asked = `${encodeURIComponent(chosen)}/${encodeURIComponent(chosenModel)}`;
  const card = await ask(`/api/card/${asked}`).catch(() => null);
  if (!card) return set($("reasons-foot"), "The card of this model is not to be had now.");
  if (card.client !== chosen || card.model !== chosenModel) return;
  set($("reasons-model"), card.model);
  $("card-link").hidden = false;
  $("card-link").setAttribute("href", `/card/${asked}`);
  const parts = Object.entries(card.features ?? {}).slice(0, REASONS);
  const body = $("reasons");
  while (body.children.length > parts.length) body.lastChild.remove();
  while (body.children.length < parts.length) body.append(reasonRow());
  parts.forEach(([name, size], i) => {
    const row = body.children[i];
    set(row.children[0], name.replaceAll("_", " "));
    bar(row.querySelector("svg"), size / (parts[0][1] || 1));
    set(row.children[2], fixed(size));
  });
  const unlike = card.kind === "send_time" ? "Hours have no features: the recipient's own sends and opens, seen as one of its client." : "The features of this model are not known yet.";
  set($("reasons-foot"), parts.length ? "Mean absolute contribution to the log-odds, against the client's average message." : unlike);
}

function showPulse(state, text) {
  $("pulse").className = `pulse ${state}`;
  set($("pulse-text"), text);
}

function show(sample) {
  newest = sample;
  $("trouble").hidden = !sample.trouble;
  set($("trouble"), sample.trouble ?? "");
  if (!sample.now_ms) return showPulse("off", "no sample yet");
  document.querySelector(".cards").hidden = !sample.everything;
  $("ledger").closest("section").hidden = !sample.everything;
  if (sample.everything) { showKpi(sample.kpi, sample.history); showLedger(sample.kpi); }
  showPhases(sample.phases);
  chosen ??= sample.models.map((model) => model.client).sort((a, b) => a.localeCompare(b))[0] ?? null;
  const own = sample.models.filter((model) => model.client === chosen);
  if (!own.some((model) => model.model === chosenModel))
    chosenModel = (own.find((model) => model.model.startsWith("open-")) ?? own[0])?.model ?? null;
  showModels(sample.models);
  const old = sample.trouble || Date.now() - sample.now_ms > AWAY_MS;
  showPulse(old ? "off" : "on", `${old ? "as of" : "live"} ${new Date(sample.now_ms).toLocaleTimeString("en-GB")}`);
}

async function turn() {
  try {
    if (!document.hidden) {
      show(await ask("/api/live"));
      await showClient();
      if (turns++ % CARD_TURNS === 0) await showReasons();
    }
  } catch (error) {
    showPulse("off", "no answer");
    $("trouble").hidden = false;
    set($("trouble"), `The server does not answer: ${error.message}. The numbers below are the last ones heard.`);
  }
  setTimeout(turn, EVERY_MS);
}

$("filter").addEventListener("input", () => newest && showModels(newest.models));
noWeek($("hours"));
turn();
