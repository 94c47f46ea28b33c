"use strict";
const base = location.pathname.replace(/\/preview\/?$/, "");
const at = (id) => document.getElementById(id);
const SHOWN = 12;
let key = "";
let form = null;
let latest = null;

class Refused extends Error {
  constructor(status, error) {
    super(error.message);
    this.status = status;
    this.details = error.details || [];
  }
}

async function ask(path, body) {
  const headers = key ? { authorization: "Bearer " + key } : {};
  let answer, told;
  try {
    answer = await fetch(path, { method: body === undefined ? "GET" : "POST", headers, body, cache: "no-store" });
    told = await answer.json();
  } catch (error) {
    throw new Refused(0, { message: "The scorer does not answer. Try again." });
  }
  if (!answer.ok) throw new Refused(answer.status, told.error);
  return told;
}

function make(tag, text, attributes = {}) {
  const svg = ["svg", "rect", "text", "line", "title"].includes(tag);
  const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== null && text !== undefined) node.textContent = text;
  return node;
}

function show(id, wanted) { at(id).hidden = !wanted; }

/* What is asked ------------------------------------------------------------------------------- */

const WHOLE = /^-?\d+$/, NUMBER = /^-?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$/;
const KIND = { int64: "whole number", int32: "whole number", float64: "number", float32: "number", bool: "yes or no", string: "text" };

function field(part, one) {
  const id = part + "-" + one.name, box = make("div", null, { class: "field" });
  box.append(make("label", one.name, { for: id }));
  let control;
  if (one.dtype === "bool") {
    control = make("select", null, { id });
    const choices = one.nullable ? [["", "not known"], ["true", "yes"], ["false", "no"]] : [["true", "yes"], ["false", "no"]];
    for (const [value, text] of choices) control.append(make("option", text, { value }));
  } else {
    control = make("input", null, { id, type: "text", autocomplete: "off", spellcheck: "false" });
    if (one.dtype !== "string") control.setAttribute("inputmode", one.dtype.startsWith("int") ? "numeric" : "decimal");
  }
  const hint = make("span", null, { class: "hint", id: id + "-hint" });
  control.setAttribute("aria-describedby", hint.id);
  const explain = () => { hint.textContent = hintOf(one, control.value.trim()); };
  control.addEventListener("input", explain);
  explain();
  box.append(control, hint);
  return box;
}

function hintOf(one, text) {
  const found = /_epoch_(s|ms|us)$/.exec(one.name);
  if (found && WHOLE.test(text)) {
    const when = new Date(Number(text) * { s: 1000, ms: 1, us: 0.001 }[found[1]]);
    if (!isNaN(when)) return when.toISOString().slice(0, 16).replace("T", " ") + " UTC";
  }
  return KIND[one.dtype] + (one.nullable ? "; empty: not known" : "");
}

/* A value as JSON text, never through a double: a whole number may be longer than one holds. */
function literal(one, text, spaces) {
  if (text === "" && (one.nullable || one.dtype !== "string")) {
    if (!one.nullable) throw new Error("is needed");
    return "null";
  }
  if (one.dtype === "string") return JSON.stringify(spaces);
  if (one.dtype === "bool") return text;
  const whole = one.dtype.startsWith("int");
  if (!(whole ? WHOLE : NUMBER).test(text)) throw new Error(whole ? "must be a whole number" : "must be a number");
  const plain = text.replace(/^(-?)0+(?=\d)/, "$1").replace(/^(-?)\./, "$10.").replace(/\.(?=$|[eE])/, "");
  return plain;
}

function part(name, fields, problems) {
  const pairs = [];
  for (const one of fields) {
    const control = at(name + "-" + one.name);
    control.removeAttribute("aria-invalid");
    try {
      pairs.push(JSON.stringify(one.name) + ":" + literal(one, control.value.trim(), control.value));
    } catch (error) {
      problems.push([control, one.name + " " + error.message + "."]);
    }
  }
  return "{" + pairs.join(",") + "}";
}

function fill(example) {
  for (const name of ["keys", "inputs"]) {
    for (const one of form[name]) {
      const control = at(name + "-" + one.name);
      control.value = example[name][one.name] ?? "";
      control.dispatchEvent(new Event("input"));
    }
  }
}

/* What is told -------------------------------------------------------------------------------- */

function standing() {
  const box = at("standing"), [kind, title, more] = form.production
    ? ["ok", "In production", "Version " + form.version + " answers as champion."]
    : ["alert", "Not production", "Version " + form.version + " is a " + form.role + ": look at it, do not act on it." +
       (form.passed ? "" : " It did not pass its gates.")];
  box.className = "banner " + kind;
  box.replaceChildren(make("strong", title), make("span", more));
  show("standing", true);
}

function introduce() {
  document.title = form.model + " " + form.version + (form.production ? "" : " (not production)");
  at("name").textContent = form.model + " " + form.version;
  at("description").textContent = form.description;
  at("owner").textContent = "Owner: " + form.owner + " · Runbook: " + form.runbook;
  standing();
  for (const name of ["keys", "inputs"]) {
    at(name).replaceChildren(...form[name].map((one) => field(name, one)));
    show(name + "-set", form[name].length > 0);
  }
  const choices = form.examples.map((example, place) => {
    const named = Object.entries({ ...example.keys, ...example.inputs }).filter(([, value]) => value !== null);
    return make("option", named.slice(0, 4).map(([name, value]) => name + " " + value).join(", "), { value: place });
  });
  at("examples").replaceChildren(...choices);
  show("examples-field", choices.length > 0);
  if (choices.length) fill(form.examples[0]);
  const list = make("ul");
  list.append(...form.limits.map((text) => make("li", text)));
  at("limits").replaceChildren(...(form.limits.length ? [make("strong", "What to know"), list] : []));
  show("access", false);
  show("ask", true);
}

function digits(value, most = 4) {
  if (value === 0 || !isFinite(value)) return String(value);
  return Math.abs(value) >= 1e-4 && Math.abs(value) < 1e9 ? String(Number(value.toPrecision(most))) : value.toExponential(2);
}

function valueText(value) {
  if (value === null) return "not known";
  return typeof value === "number" ? digits(value, 6) : String(value);
}

/* Below this a contribution is rounding, not an effect. */
const NOTHING = 1e-9;

function signed(value) {
  if (Math.abs(value) < NOTHING) return "0";
  return (value > 0 ? "+" : "−") + digits(Math.abs(value), 3);
}

function age(seconds) {
  if (seconds === null) return "";
  for (const [unit, size] of [["d", 86400], ["h", 3600], ["min", 60]]) if (seconds >= 2 * size) return Math.round(seconds / size) + " " + unit;
  return Math.round(seconds) + " s";
}

function bars(told) {
  const first = told.contributions.slice(0, SHOWN).map((c) => [c.feature, valueText(c.value), c.contribution]);
  const rest = told.contributions.slice(SHOWN);
  if (rest.length) first.push([rest.length + " other features together", null, rest.reduce((sum, c) => sum + c.contribution, 0)]);
  return first;
}

/* On a phone a bar's name takes a line of its own, its view and value the next. */
function namesOf(name, value, narrow) {
  if (value === null) return [name];
  if (!narrow) return [name + " = " + value];
  const cut = name.indexOf("__");
  return cut < 0 ? [name, "= " + value] : [name.slice(cut + 2), name.slice(0, cut) + " = " + value];
}

function chart() {
  const told = latest && latest.explanation;
  if (!told) return;
  const rows = bars(told), width = Math.max(240, at("chart").clientWidth), narrow = width < 560, line = 18;
  let low = told.base, high = told.base, sum = told.base;
  for (const [, , value] of rows) { sum += value; low = Math.min(low, sum); high = Math.max(high, sum); }
  const span = high - low || 1, x = (value) => ((value - low) / span) * (width - 4) + 2;
  const svg = make("svg", null, { role: "img", "aria-labelledby": "chart-title", width });
  svg.append(make("title", "From the base " + signed(told.base) + " to " + signed(told.raw_score) + ": " +
    rows.map(([name, given, value]) => name + (given === null ? "" : " = " + given) + " " + signed(value)).join("; "), { id: "chart-title" }));
  let top = 0, from = told.base;
  const labels = [];
  const draw = (names, number, shape) => {
    names.forEach((name, place) => {
      const last = place === names.length - 1;
      const label = make("text", name, { x: 0, y: top + 15, class: place ? "soft" : "" });
      labels.push([label, last ? width - 74 : width]);
      svg.append(label);
      if (last) svg.append(make("text", number, { x: width, y: top + 15, class: "number" }));
      top += line;
    });
    svg.append(make("rect", null, { class: "slot", x: 0, y: top + 3, width, height: 12, rx: 2 }), shape(top + 3));
    top += 24;
  };
  const mark = (name, value) => draw([name], signed(value), (y) => make("line", null, { x1: x(value), x2: x(value), y1: y - 2, y2: y + 14 }));
  mark("where every row starts", told.base);
  for (const [name, given, value] of rows) {
    const start = x(from), end = x(from + value);
    draw(namesOf(name, given, narrow), signed(value), (y) => make("rect", null, { class: value < 0 ? "down" : "up", x: Math.min(start, end), y,
      width: Math.abs(value) < NOTHING ? 0 : Math.max(1.5, Math.abs(end - start)), height: 12 }));
    from += value;
  }
  mark("this row", told.raw_score);
  svg.setAttribute("height", top);
  svg.setAttribute("viewBox", "0 0 " + width + " " + top);
  at("chart").replaceChildren(svg);
  for (const [label, room] of labels) shorten(label, room);
}

function shorten(label, room) {
  let text = label.textContent;
  while (text.length > 4 && label.getComputedTextLength() > room) {
    text = text.slice(0, -1);
    label.textContent = text + "…";
  }
}

function tell(answer) {
  const one = latest = answer.predictions[0], told = one.explanation;
  at("score").textContent = digits(one.score);
  at("score-more").textContent = told && told.scale === "log_odds" ? "a chance of " + (100 * one.score).toFixed(1) + " %" :
    "class" in one ? "the share of class " + one.class + ", the likeliest of " + one.shares.length : "";
  at("degraded").textContent = "Degraded: some features were not there as they should be; see below.";
  show("degraded", one.degraded);
  show("why", Boolean(told));
  show("why-not", !told);
  show("answer", true);
  show("say", true);
  if (told) {
    at("why-scale").textContent = (told.scale === "class_scores" ? "What speaks for class " + told.class + ", on the scale that its share is made of"
      : "In " + (told.scale === "log_odds" ? "log odds" : "the score's own unit")) +
      ": from the base, each feature moves the score up (orange, +) or down (blue, −).";
    at("all").replaceChildren(...told.contributions.map((c) => {
      const row = make("tr");
      row.append(make("td", c.feature), make("td", valueText(c.value)), make("td", signed(c.contribution), { class: "number" }));
      return row;
    }));
    chart();
  }
  at("views").replaceChildren(...Object.entries(one.views).map(([name, view]) => {
    const row = make("tr"), fine = view.status === "present";
    row.append(make("td", name), make("td", (fine ? "" : "⚠ ") + view.status.replaceAll("_", " "), { class: fine ? "status" : "status odd" }),
      make("td", age(view.age_seconds), { class: "number" }));
    return row;
  }));
  at("prediction-id").textContent = one.prediction_id;
  at("said").textContent = "";
  at("answer").focus();
}

/* What happens -------------------------------------------------------------------------------- */

async function start() {
  try {
    form = await ask(base + "/form");
  } catch (error) {
    if (error.status !== 401 && error.status !== 403) {
      at("description").textContent = error.message;
      at("description").className = "error";
      return;
    }
    at("access-why").textContent = key ? error.message : "This scorer asks for a key.";
    at("access-why").className = key ? "error" : "";
    show("access", true);
    at("key").focus();
    return;
  }
  introduce();
}

async function busy(button, doing) {
  button.disabled = true;
  try { await doing(); } finally { button.disabled = false; }
}

at("access-form").addEventListener("submit", (event) => {
  event.preventDefault();
  key = at("key").value.trim();
  start();
});

at("examples").addEventListener("change", (event) => fill(form.examples[Number(event.target.value)]));

at("question").addEventListener("submit", (event) => {
  event.preventDefault();
  const problems = [];
  const body = '{"keys":' + part("keys", form.keys, problems) + ',"inputs":' + part("inputs", form.inputs, problems) + "}";
  at("problems").textContent = problems.map(([, text]) => text).join("\n");
  for (const [control] of problems) control.setAttribute("aria-invalid", "true");
  if (problems.length) { problems[0][0].focus(); return; }
  busy(at("predict"), async () => {
    try {
      tell(await ask(base + "/predict?explain=true", body));
    } catch (error) {
      if (error.status === 500) return withoutWhy(body, error.message);
      refuse(error);
    }
  });
});

async function withoutWhy(body, why) {
  try {
    tell(await ask(base + "/predict", body));
    at("why-not").textContent = "No contributions: " + why;
  } catch (error) {
    refuse(error);
  }
}

function refuse(error) {
  const fields = error.details.filter((one) => one.field).map((one) => one.field.replace(/^(keys|inputs)\./, "") + ": " + one.problem);
  at("problems").textContent = [error.message, ...fields].join("\n");
}

at("feedback").addEventListener("submit", (event) => {
  event.preventDefault();
  const said = at("said"), comment = at("comment").value;
  busy(at("send"), async () => {
    try {
      const kept = await ask("/v1/feedback", JSON.stringify({ prediction_id: latest.prediction_id, comment }));
      said.className = "";
      said.textContent = "Kept as " + kept.feedback_id + ". Thank you; the owner sees it.";
      at("comment").value = "";
    } catch (error) {
      said.className = "error";
      said.textContent = error.message;
    }
  });
});

addEventListener("resize", chart);
start();
