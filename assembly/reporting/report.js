"use strict";
// All texts of models, sets and configurations come into the page through text nodes alone: nothing here parses HTML.
const DATA = JSON.parse(document.getElementById("data").textContent);
const SVG = "http://www.w3.org/2000/svg";
const OUTCOMES = ["right", "wrong", "unknown"];
const CLASSES = { never: "never right", sometimes: "sometimes right", always: "always right" };
const UNSEEN = /(?![\n\t\u200c\u200d])[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;
const TAGS = /<(\/?)(sample|reflect)>/gi;

function add(node, children) {
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) node.append(child instanceof Node ? child : visible(String(child)));
  }
  return node;
}

function made(space, name, given, children) {
  const node = space ? document.createElementNS(space, name) : document.createElement(name);
  for (const [key, value] of Object.entries(given || {})) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value === true) node.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(key, value);
  }
  return add(node, children);
}
const h = (name, given, ...children) => made(null, name, given, children);
const s = (name, given, ...children) => made(SVG, name, given, children);

/** Text whose control, format and lone surrogate characters are shown by their numbers, so that none acts. */
function visible(text) {
  const found = document.createDocumentFragment();
  let from = 0;
  for (const one of text.matchAll(UNSEEN)) {
    if (one.index > from) found.append(text.slice(from, one.index));
    const mark = document.createElement("span");
    mark.className = "mark";
    mark.textContent = `⟨U+${one[0].codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`;
    found.append(mark);
    from = one.index + one[0].length;
  }
  found.append(text.slice(from));
  return found;
}

/** A text as it is shown: a string, or of a longer one its beginning, how much is left out, and its end. */
const whole = (text) => (Array.isArray(text) ? `${text[0]}\n[… ${count(text[1])} characters left out …]\n${text[2]}` : text || "");
function prose(text, draw = visible) {
  if (!Array.isArray(text)) return draw(text || "");
  const told = `… ${count(text[1])} characters of this text are not in this page …`;
  return add(document.createDocumentFragment(), [draw(text[0]), h("span", { class: "left-out" }, told), draw(text[2])]);
}

const count = (value) => Number(value).toLocaleString("en-US");
const percent = (value, digits = 1) => (value === null || value === undefined ? "–" : `${(100 * value).toFixed(digits)}%`);
const sum = (values) => values.reduce((all, one) => all + one, 0);
const plural = (number, word) => `${count(number)} ${word}${number === 1 ? "" : "s"}`;
const named = (name) => name || "(none)";
/** A name that may be broken behind its underscores. */
const broken = (name) => named(name).split(/(?<=_)/).flatMap((part, place) => (place ? [h("wbr"), part] : [part]));
const reasonOf = (reason) => (reason || "").split(":")[0].slice(0, 60).replace(/[0-9]+/g, "#");
function duration(seconds) {
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60)];
  return hours ? `${hours} h ${minutes} min` : minutes ? `${minutes} min ${Math.round(seconds % 60)} s` : `${Math.round(seconds)} s`;
}

function grouped(rows, key) {
  const found = new Map();
  for (const row of rows) {
    const name = key(row);
    if (!found.has(name)) found.set(name, []);
    found.get(name).push(row);
  }
  return found;
}

function table(head, rows, { caption, numbers = [] } = {}) {
  const cell = (kind, value, place) => {
    if (value instanceof Node && ["TD", "TH"].includes(value.tagName)) return value;
    return h(kind, { class: numbers.includes(place) ? "number" : null, scope: kind === "th" ? "col" : null }, value);
  };
  return h("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": caption },
    h("table", {}, h("caption", { class: "hidden" }, caption || ""),
      h("thead", {}, h("tr", {}, head.map((one, place) => cell("th", one, place)))),
      h("tbody", {}, rows.map((row) => h("tr", {}, row.map((one, place) => cell("td", one, place)))))));
}

function stacked(parts, label) {
  const total = sum(parts.map(([, value]) => value)) || 1;
  return h("div", { class: "stacked", role: "img", "aria-label": label, title: label },
    parts.filter(([, value]) => value).map(([name, value]) => {
      const part = h("i", { class: name });
      part.style.width = `${(100 * value) / total}%`;
      return part;
    }));
}

function panel(title, about, size, ...children) {
  return h("section", { class: `panel ${size || ""}`.trim() }, h("h2", {}, title), about ? h("p", { class: "note" }, about) : null, children);
}

function legend(pairs) {
  return h("div", { class: "legend" }, pairs.map(([name, words]) => h("span", {}, h("span", { class: `dot ${name}` }), words)));
}

// ---- plots: a few lines of SVG each, with axes that begin at zero

function ticks(most) {
  const step = 10 ** Math.floor(Math.log10(most || 1));
  const size = [1, 2, 5, 10].map((one) => (one * step) / 5).find((one) => most / one <= 5) || step;
  const found = [];
  for (let at = 0; at <= most * 1.0001; at += size) found.push(Number(at.toPrecision(12)));
  return found;
}
const short = (value) => (Math.abs(value) >= 1e6 ? `${+(value / 1e6).toFixed(1)}M` : Math.abs(value) >= 1e4 ? `${+(value / 1e3).toFixed(1)}k` : count(+value.toFixed(2)));

const narrow = matchMedia("(max-width: 560px)");
function frame(label, most, { width = 620, height = 190, x, y, left = 46 }) {
  width = narrow.matches ? Math.min(width, 340) : width;
  const drawn = s("svg", { viewBox: `0 0 ${width} ${height + 42}`, role: "img", "aria-label": label });
  const scale = (value) => height - (value / (most || 1)) * (height - 14);
  for (const at of ticks(most)) {
    drawn.append(s("line", { class: "axis", x1: left, x2: width, y1: scale(at), y2: scale(at) }), s("text", { x: left - 6, y: scale(at) + 4, "text-anchor": "end" }, short(at)));
  }
  drawn.append(s("text", { x: width, y: height + 36, "text-anchor": "end" }, x), s("text", { x: 0, y: 8 }, y));
  return { drawn, scale, left, width, height };
}

/** Bars of [name, [[class, value], …]] beside each other, each stacked. */
function bars(label, rows, { x, y, every = 1, unit = "", width: wide }) {
  const most = Math.max(1, ...rows.map(([, parts]) => sum(parts.map((one) => one[1]))));
  const { drawn, scale, left, width, height } = frame(label, most, { x, y, width: wide });
  const step = (width - left) / rows.length;
  rows.forEach(([name, parts], place) => {
    let base = 0;
    for (const [kind, value, words] of parts.filter((one) => one[1])) {
      const box = { class: `${kind} hit`, x: left + place * step + step * 0.08, width: step * 0.84, y: scale(base + value), height: Math.max(1, scale(base) - scale(base + value)) };
      drawn.append(s("rect", box, s("title", {}, `${name}${unit}: ${count(value)}${words ? ` ${words}` : ""}`)));
      base += value;
    }
    if (place % every === 0) drawn.append(s("text", { x: left + place * step + (every > 1 ? 0 : step / 2), y: height + 15, "text-anchor": every > 1 ? "start" : "middle" }, name.split("–")[0]));
  });
  return drawn;
}

/** Lines of [x, y], with upright marks of [x, class, words]; a gap where y is null. */
function lines(label, points, marks, { x, y, write, width: wide }) {
  const most = Math.max(0.001, ...points.map((one) => one[1] || 0)), last = Math.max(1e-9, ...points.map((one) => one[0]));
  const { drawn, scale, left, width, height } = frame(label, most, { x, y, width: wide });
  const across = (value) => left + (value / last) * (width - left);
  for (const at of ticks(last)) drawn.append(s("text", { x: across(at), y: height + 15, "text-anchor": at ? "middle" : "start" }, write(at)));
  for (const [at, kind, words] of marks) drawn.append(s("line", { class: kind, x1: across(at), x2: across(at), y1: 8, y2: height }, s("title", {}, words)));
  let path = "", pen = "M";
  for (const [at, value] of points) {
    path += value === null ? "" : `${pen}${across(at).toFixed(1)} ${scale(value).toFixed(1)}`;
    pen = value === null ? "M" : "L";
  }
  drawn.append(s("path", { class: "line", d: path }));
  for (const [at, value, words] of points.filter((one) => one[1] !== null)) drawn.append(s("circle", { class: "point hit", cx: across(at), cy: scale(value), r: points.length > 60 ? 2 : 3.5 }, s("title", {}, words || `${write(at)}: ${count(+value.toFixed(1))}`)));
  return drawn;
}

// ---- the overview

const state = { side: 0, view: "overview", question: null, filters: {}, search: "", all: false };
const of = (side, kind) => side.contents.find((one) => one.kind === kind);
for (const side of DATA.sides) {
  for (const one of side.contents) {
    if (one.kind === "SFT_DATA") continue;
    const said = Object.fromEntries(["right", "wrong"].flatMap((outcome) => ["Correct", "Incorrect", "none"].map((verdict) => [`${outcome} ${verdict}`, sum(one.groups.map((group) => group[`${outcome}_${verdict.toLowerCase()}`]))])));
    one.verdicts = Object.entries(said).map(([name, number]) => [...name.split(" "), number]);
    // As generation/raw/counts.py: a reflection without a verdict is a miss.
    one.scores = Object.fromEntries([["Correct", "right", "wrong"], ["Incorrect", "wrong", "right"]].map(([verdict, outcome, other]) => {
      const hits = said[`${outcome} ${verdict}`], taken = hits + said[`${other} ${verdict}`], there = sum(["Correct", "Incorrect", "none"].map((name) => said[`${outcome} ${name}`]));
      return [verdict, [[hits, taken], [hits, there], [2 * hits, taken + there]].map(([part, all]) => (all ? part / all : null))];
    }));
  }
}
const samplesOf = (side) => side.contents.find((one) => one.kind !== "SFT_DATA");
const settingOf = (side, name) => {
  const found = side.configuration.find((one) => one[0] === name);
  if (!found) return null;
  try { const value = JSON.parse(found[1]); return value === null ? null : String(value); } catch { return found[1]; }
};

function classesOf(rates) {
  const found = { never: 0, sometimes: 0, always: 0, none: 0 };
  for (const [, right, n, questions] of rates) found[classOf(right, n) || "none"] += questions;
  return found;
}
function classOf(right, n) { return !n ? "" : right === 0 ? "never" : right === n ? "always" : "sometimes"; }

function tiles(side) {
  const found = [], samples = samplesOf(side), traces = of(side, "SFT_DATA");
  const tile = (value, words) => found.push(h("div", { class: "tile" }, h("b", {}, value), h("span", {}, words)));
  if (samples) {
    const total = sum(samples.groups.map((one) => one.samples)), classes = classesOf(samples.rates);
    const outcome = (name) => sum(samples.groups.filter((one) => one.outcome === name).map((one) => one.samples));
    tile(count(sum(Object.values(classes))), "questions");
    tile(count(total), samples.kind === "EVAL_DATA" ? "replies" : "samples");
    tile(percent(outcome("right") / total), "of them right");
    if (outcome("unknown")) tile(percent(outcome("unknown") / total), "unknown: no answer, or undecided");
    const said = sum(samples.verdicts.map((one) => one[2]));
    if (said) {
      const agree = sum(samples.verdicts.filter(([outcome, verdict]) => verdict === (outcome === "right" ? "Correct" : "Incorrect")).map((one) => one[2]));
      tile(percent(agree / said), `of ${plural(said, "reflection")} judge rightly`);
    }
    const counted = sum(samples.groups.map((one) => one.counted));
    if (counted) tile(count(Math.round(sum(samples.groups.map((one) => one.tokens)) / counted)), samples.kind === "EVAL_DATA" ? "tokens a reply" : "tokens a sample");
  }
  if (traces) tile(count(traces.rows), "traces");
  const [seconds, tokens] = ["seconds", "output_tokens"].map((name) => sum(side.starts.map((one) => one[name] || 0)));
  if (seconds && tokens) tile(count(Math.round(tokens / seconds)), "tokens/s while engines answered");
  return h("div", { class: "tiles" }, found);
}

function questionsPanel(samples) {
  const classes = classesOf(samples.rates), total = sum(Object.values(classes)) || 1;
  const buttons = Object.entries(CLASSES).map(([name, words]) => h("button", { type: "button", onclick: () => go({ right: name }) },
    h("span", { class: `dot ${{ never: "wrong", sometimes: "some", always: "right" }[name]}` }), words,
    h("b", {}, `${count(classes[name])} `), h("span", { class: "soft" }, percent(classes[name] / total))));
  const tenths = Array(11).fill(0);
  for (const [, right, n, questions] of samples.rates) if (n) tenths[right === n ? 10 : Math.floor((10 * right) / n)] += questions;
  const rows = tenths.map((value, place) => [place === 10 ? "100%" : `${10 * place}%`, [[place === 10 ? "right" : place ? "fill" : "cut", value, "questions"]]]);
  return panel("Questions: never, sometimes or always right", "By the share of right samples among those whose request did not fail. Only questions that are right sometimes give traces with a failed attempt and a right one. Choose one to see its questions.", "",
    stacked([["wrong", classes.never], ["some", classes.sometimes], ["right", classes.always]], `${count(classes.never)} never, ${count(classes.sometimes)} sometimes, ${count(classes.always)} always right`),
    h("div", { class: "cuts" }, buttons),
    classes.none ? h("p", { class: "note" }, `${plural(classes.none, "question")} without a sample.`) : null,
    bars("Questions by their share of right samples", rows, { x: "share of right samples, from", y: "questions" }));
}

function yieldsPanel(samples) {
  const tasks = new Set(samples.groups.map((one) => one.task)).size > 1;
  const rows = [...grouped(samples.groups, (one) => JSON.stringify([one.task, one.variant]))].sort().map(([key, groups]) => {
    const [task, variant] = JSON.parse(key), total = sum(groups.map((one) => one.samples));
    const counts = OUTCOMES.map((name) => sum(groups.filter((one) => one.outcome === name).map((one) => one.samples)));
    const open = (outcome) => () => go({ task: tasks ? task : undefined, variant, outcome });
    const share = (place) => [h("button", { type: "button", class: "link", onclick: open(OUTCOMES[place]), "aria-label": `${OUTCOMES[place]}: ${count(counts[place])} of ${named(variant)}` }, count(counts[place])), " ", h("span", { class: "soft" }, percent(counts[place] / total, 0))];
    return [...(tasks ? [broken(task)] : []), broken(variant), h("td", { class: "stack" }, stacked(OUTCOMES.map((name, place) => [name, counts[place]]), OUTCOMES.map((name, place) => `${count(counts[place])} ${name}`).join(", "))), ...counts.map((value, place) => (value ? share(place) : "0"))];
  });
  const first = tasks ? 3 : 2;
  const unknown = samples.groups.filter((one) => one.outcome !== "right");
  const reasons = [...grouped(unknown, (one) => JSON.stringify([one.outcome, one.reason]))].map(([key, groups]) => [...JSON.parse(key), sum(groups.map((one) => one.samples))]).sort((one, other) => other[2] - one[2]);
  return panel("Yields by task and variant", null, sum(samples.verdicts.map((one) => one[2])) ? "more" : "wide", legend([["right", "right"], ["wrong", "wrong"], ["unknown", "unknown"]]),
    samples.groups.some((one) => one.variant.includes(" · ")) ? h("p", { class: "note" }, "Of a reply that was forced to go on there are several, its arms: shares over all variants, and of questions, are of all of them together.") : null,
    table([...(tasks ? ["task"] : []), "variant", h("th", { class: "stack" }), ...OUTCOMES], rows, { caption: "Samples by variant and outcome", numbers: [first, first + 1, first + 2] }),
    reasons.length ? [h("h3", {}, "Why not right"), table(["outcome", "reason", "samples"], reasons.slice(0, 12).map(([outcome, reason, samples]) => [h("td", {}, h("span", { class: outcome }, outcome)), h("td", { class: "wrap" }, h("button", { type: "button", class: "link", onclick: () => go({ outcome, reason }) }, named(reason))), count(samples)]), { caption: "Reasons", numbers: [2] }),
      reasons.length > 12 ? h("p", { class: "note" }, `and ${plural(reasons.length - 12, "reason")} more`) : null] : null);
}

function lengthsPanel(contents, title, about, size) {
  const { width, lengths } = contents, names = [...new Set(lengths.map((one) => one.group))].sort();
  const box = h("div", {});
  const draw = (name) => {
    const chosen = lengths.filter((one) => one.length !== null && (name === null || one.group === name)), length = Math.max(0, ...chosen.map((one) => one.length)) + 1;
    const total = (cut) => Array.from({ length }, (_, place) => sum(chosen.filter((one) => Boolean(one.cut) === cut && one.length === place).map((one) => one.rows)));
    const [ended, cut] = [total(false), total(true)];
    const name_of = (place) => (width === 1 ? String(place) : `${count(place * width)}–${count((place + 1) * width - 1)}`);
    const rows = ended.map((value, place) => [name_of(place), [["fill", value, "ended"], ["cut", cut[place], "cut at the limit"]]]);
    const some = rows.filter(([, parts]) => sum(parts.map((one) => one[1])));
    box.replaceChildren(bars(title, rows, { x: contents.measure, y: contents.kind === "SFT_DATA" ? "traces" : "samples", every: length > 14 ? Math.ceil(length / (narrow.matches ? 4 : 8)) : 1, unit: ` ${contents.measure}`, width: size === "third" ? 330 : 620 }),
      h("details", {}, h("summary", {}, "Numbers"), table([contents.measure, "ended", "cut"], some.map(([words, parts]) => [words, ...parts.map((one) => count(one[1]))]), { caption: title, numbers: [1, 2] })));
  };
  draw(null);
  const choose = h("select", { "aria-label": "of", onchange: (event) => draw(event.target.selectedIndex ? names[event.target.selectedIndex - 1] : null) }, h("option", {}, "all"), names.map((name) => h("option", {}, named(name))));
  const cut = sum(lengths.filter((one) => one.cut).map((one) => one.rows));
  return panel(title, about, size, contents.kind === "SFT_DATA" ? null : legend([["some", "ended by the model"], ["wrong", `cut at the limit: ${count(cut)}`]]), names.length > 1 ? h("div", { class: "filters" }, h("label", {}, "of", choose)) : null, box);
}

function verdictsPanel(samples) {
  const counts = Object.fromEntries(samples.verdicts.map(([outcome, verdict, number]) => [`${outcome} ${verdict}`, number]));
  if (!sum(Object.values(counts))) return null;
  const verdicts = ["Correct", "Incorrect", "none"];
  const row = (outcome) => {
    const all = sum(verdicts.map((name) => counts[`${outcome} ${name}`])) || 1;
    return [h("th", { scope: "row" }, h("span", { class: outcome }, outcome)), ...verdicts.map((name) => {
      const value = counts[`${outcome} ${name}`], good = name === (outcome === "right" ? "Correct" : "Incorrect");
      const cell = h("td", {}, h("b", {}, count(value)), h("span", { class: "soft" }, percent(value / all)));
      const tint = name === "none" ? "--unknown" : good ? "--right" : "--wrong";
      cell.style.background = `color-mix(in srgb, var(${tint}) ${Math.round(6 + (34 * value) / all)}%, var(--panel))`;
      return cell;
    })];
  };
  const square = table(["", ...verdicts.map((one) => (one === "none" ? "no verdict" : one))], [row("right"), row("wrong")], { caption: "Verdicts by outcome of the sample" });
  square.classList.add("square");
  return panel("Verdicts", samples.kind === "RAW_DATA" ? "What reflections say of samples whose outcome is known; shares are of a row." : "What the attempts inside replies are said to be; shares are of a row.", "third", square,
    h("h3", {}, "By class"), table(["", "precision", "recall", "F1"], Object.entries(samples.scores).map(([name, scores]) => [name, ...scores.map((one) => percent(one))]), { caption: "Scores of verdicts", numbers: [1, 2, 3] }),
    h("p", { class: "note" }, "A reflection without a verdict is a miss."));
}

function tracesPanel(traces, side) {
  const faults = Object.keys(traces.rules);
  const words = (name) => name.replaceAll("_", " ");
  const there = faults.filter((name) => traces.groups.some((one) => one[name]));
  const rows = [...grouped(traces.groups, (one) => one.label)].sort().map(([label, all]) => {
    const total = sum(all.map((one) => one.traces)), faulty = there.map((name) => sum(all.map((one) => one[name])));
    return [h("button", { type: "button", class: "link", onclick: () => go({ label }) }, named(label)), count(total), (sum(all.map((one) => one.attempts)) / total).toFixed(1), ...faulty.map((one) => (one ? `${count(one)} (${percent(one / total, 0)})` : "0"))];
  });
  const shown = DATA.shown.find((one) => one.side === side && one.kind === "SFT_DATA");
  const examples = faults.map((name) => {
    const having = shown.rows.filter((row) => row.faults.includes(name)).slice(0, 3), all = sum(traces.groups.map((one) => one[name]));
    return [h("td", {}, h("b", {}, words(name)), h("br"), h("span", { class: "soft" }, traces.rules[name])), `${count(all)} (${percent(all / traces.rows)})`,
      h("td", {}, having.length ? having.map((row, place) => [place ? ", " : "", h("button", { type: "button", class: "link", onclick: () => go({ fault: name }, row.key), "aria-label": `example ${place + 1} of ${words(name)}` }, `example ${place + 1}`)]) : h("span", { class: "soft" }, "none"))];
  });
  return [panel("Traces by label", null, "more", table(["label", "traces", "attempts each", ...there.map(words)], rows, { caption: "Traces by label", numbers: [1, 2, ...there.map((_, place) => place + 3)] }), h("h3", {}, "Faults, as far as rules can tell"), table(["fault", "traces", "examples"], examples, { caption: "Faults", numbers: [1] })),
    lengthsPanel(traces, "Attempts in a trace", null, "third")];
}

function speedPanel(side) {
  if (!side.starts.length) return null;
  const points = [], marks = [];
  let offset = 0, before = null, losses = 0;
  for (const one of side.history) {
    if (!before || one[1] !== before[1]) {
      if (before) { offset += before[2]; points.push([offset, null]); marks.push([offset, "start", `start ${one[1] + 1}`]); }
      before = null;
    }
    const [seconds, tokens, lost] = before ? [one[2] - before[2], one[5] - before[5], one[7] - before[7]] : [one[2], one[5], one[7]];
    if (seconds > 0) points.push([offset + one[2], tokens / seconds, `after ${duration(offset + one[2])}: ${count(Math.round(tokens / seconds))} tokens/s on ${plural(one[6], "engine")}`]);
    losses += Math.max(0, lost);
    if (lost > 0) marks.push([offset + one[2], "lost", `${plural(lost, "engine")} lost`]);
    before = one;
  }
  const rows = side.starts.map((one, place) => [place + 1, (one.begun || "").replace("T", " ").replace("+00:00", ""), one.state || "", count(one.questions ?? one.blocks ?? one.rows ?? 0), count(one.output_tokens || 0), one.seconds ? duration(one.seconds) : "", one.seconds ? count(Math.round((one.output_tokens || 0) / one.seconds)) : "", one.engines ? `${one.engines.wanted}${one.engines.served ? " on a server" : one.engines.gpus_each ? ` on ${one.engines.gpus_each} GPU each` : " on the CPU"}` : "", one.engines ? count(one.engines.lost || 0) : ""]);
  return panel("Speed and restarts", "Seconds are those in which engines answered.", "wide",
    points.length > 1 ? [lines("Tokens per second over time", points, marks, { x: "time in which engines answered", y: "tokens/s", write: duration, width: 1180 }), legend([["some", "tokens/s"], ["wrong", `engines lost: ${count(losses)}`]])] : null,
    table(["start", "begun (UTC)", "then", "questions", "tokens written", "time", "tokens/s", "engines", "lost"], rows, { caption: "Starts of the run", numbers: [0, 3, 4, 5, 6, 8] }));
}

function figuresPanel(side) {
  const made = side.figures;
  if (!made) return null;
  const rows = [...made.tasks, ...made.averages], most = Math.max(1, ...rows.map((one) => one.samples));
  const ks = [...new Set([1, 2, 4, 8, 16, 32, 64, most].filter((k) => k <= most))];
  const figure = (one, digits = 1) => (!one || one.value === null ? "–" : [percent(one.value, digits), " ", h("span", { class: "soft" }, one.low === null ? "" : `[${(100 * one.low).toFixed(digits)}, ${(100 * one.high).toFixed(digits)}]`)]);
  const cells = rows.map((row) => [row.task ? named(row.task) : `average: ${row.average}`, [row.variant, row.arm].filter(Boolean).join(" · "), count(row.questions), count(row.replies), ...ks.map((k) => figure(row.figures[`pass@${k}`])), figure(row.figures.majority), figure(row.figures.no_answer), figure(row.figures.undecided)]);
  const head = ["task", "variant", "questions", "replies", ...ks.map((k) => `pass@${k}`), "majority", "no answer", "undecided"];
  const curves = made.tasks.filter((row) => row.samples > 1).map((row) => {
    const points = Array.from({ length: row.samples }, (_, place) => [place + 1, row.figures[`pass@${place + 1}`]]).filter(([, one]) => one && one.value !== null);
    return h("div", {}, h("h3", {}, [named(row.task), row.variant, row.arm].filter(Boolean).join(" · ")),
      lines(`pass@k of ${named(row.task)}`, points.map(([k, one]) => [k - 1, 100 * one.value, `pass@${k}: ${percent(one.value)} [${percent(one.low)}, ${percent(one.high)}]`]), [], { x: "k", y: "pass@k in percent", width: 400, write: (at) => (Number.isInteger(at) ? String(at + 1) : "") }));
  });
  return panel("Evaluation", `In percent, with ${percent(made.interval.level, 0)} intervals over questions (${made.interval.method}, ${count(made.interval.resamples)} resamples).`, "wide",
    table(head, cells, { caption: "Figures of the evaluation", numbers: head.map((_, place) => place).slice(2) }), h("div", { class: "cards" }, curves));
}

function ranPanel(side) {
  const last = side.starts[side.starts.length - 1];
  const versions = last ? Object.entries(last.versions || {}).map(([name, version]) => `${name} ${version}`).join(", ") : "";
  const began = side.starts.length ? Date.parse(side.starts[0].begun) : NaN, ended = last ? Date.parse(last.ended) : NaN;
  const facts = [
    ...side.sets.map((one) => ["set", [one.name, one.revision ? ` at ${one.revision}` : "", h("span", { class: "soft" }, ` digest ${one.digest}`), one.models.length ? `, by ${one.models.join(", ")}` : ""]]),
    ["state", side.state], ["from start to end", Number.isFinite(ended - began) ? `${duration((ended - began) / 1000)}, ${plural(side.starts.length, "start")}` : null],
    ["code", last ? [last.version, last.commit].filter(Boolean).join(", ") : null], ["packages", versions || null],
  ].filter(([, value]) => value);
  const commands = [...new Set(side.starts.map((one) => one.command).filter(Boolean))];
  return panel("What was run", null, "wide", h("dl", { class: "facts" }, facts.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
    commands.length ? [h("h3", {}, commands.length > 1 ? "Commands" : "Command"), h("pre", { class: "boxed" }, commands.join("\n"))] : null,
    side.configuration.length ? h("details", {}, h("summary", {}, `Configuration: ${plural(side.configuration.length, "field")}`), table(["field", "value"], side.configuration.map(([name, value]) => [name, h("td", { class: "wrap" }, value)]), { caption: "Configuration" })) : null,
    side.texts.length ? h("details", {}, h("summary", {}, `Prompts and phrases: ${count(side.texts.length)}`), side.texts.map(([name, text]) => h("details", {}, h("summary", {}, name), h("pre", { class: "boxed", dir: "auto" }, prose(text))))) : null);
}

// ---- two beside each other

function comparePanels() {
  const [one, other] = DATA.sides.map((side) => side.name);
  const write = (row, value) => (value === null ? "–" : row.share ? (100 * value).toFixed(1) : value.toFixed(2));
  const figure = (row, [value, low, high], sign) => [value === null ? "–" : `${sign && value > 0 ? "+" : ""}${write(row, value)}${row.share ? "%" : ""}`, h("span", { class: "soft" }, low === null || high === null ? "" : ` [${write(row, low)}, ${write(row, high)}]`)];
  const panels = Object.entries(DATA.differences).map(([kind, rows]) => {
    const first = rows[0];
    const about = first ? (first.paired ? `On the ${plural(first.questions[0], "question")} that both have, in pairs.` : `On different questions: ${count(first.questions[0])} and ${count(first.questions[1])}, as two independent samples.`) : "Nothing of both can be compared.";
    const told = rows.filter((row) => row.first[0] || row.second[0]), zero = [...new Set(rows.filter((row) => !told.includes(row)).map((row) => row.figure.replaceAll("_", " ")))];
    let before = null;
    const cells = told.flatMap((row) => {
      const group = row.task || row.variant ? [row.task, row.variant].map(named).join(", ") : "all";
      const title = group === before ? [] : [[h("th", { colspan: 5, scope: "rowgroup", class: "group" }, group)]];
      before = group;
      return [...title, [row.figure.replaceAll("_", " "), figure(row, row.first), figure(row, row.second), figure(row, row.difference, true), h("td", { class: "stack" }, forest(row))]];
    });
    return panel(`${kind}: ${other} less ${one}`, `${about} 95% intervals over questions, by a bootstrap that draws whole questions; of a share that is the same everywhere, exact limits. Shares in percent, differences in points.`, "wide",
      table(["figure", `A: ${one}`, `B: ${other}`, "B − A", h("th", { class: "stack" }, "around zero")], cells, { caption: `Differences of ${kind}`, numbers: [1, 2, 3] }),
      zero.length ? h("p", { class: "note" }, `Zero in both, somewhere or everywhere, and left out there: ${zero.join(", ")}.`) : null);
  });
  const { configuration, texts } = DATA.changes;
  panels.push(panel("What differs in configuration", configuration.length ? null : "No field of the configuration differs, as far as both are known.", "wide",
    configuration.length ? table(["field", `A: ${one}`, `B: ${other}`], configuration.map(([name, ...values]) => [name, ...values.map((value) => h("td", { class: "wrap" }, value === null ? h("span", { class: "soft" }, "not set") : value))]), { caption: "Configuration that differs" }) : null));
  panels.push(panel("What differs in prompts and phrases", texts.length ? `Lines of A alone are marked −, of B alone +.` : "No prompt or phrase differs, as far as both are known.", "wide",
    texts.map(([name, changed]) => h("details", { open: texts.length < 4 }, h("summary", {}, name), h("pre", { class: "boxed diff", dir: "auto" }, changed.map((line) => h("div", { class: { "+": "add", "-": "gone", "@": "where" }[line[0]] || "same" }, line[0] === "@" ? line : line.slice(1) || " ")))))));
  return panels;
}

function forest({ difference: [value, low, high], share }) {
  if (value === null || low === null || high === null) return h("span", { class: "soft" }, value === 0 ? "the same" : "no interval");
  const most = share ? Math.max(0.1, Math.ceil(10 * Math.max(-low, high)) / 10) : Math.max(-low, high, 1e-9), across = (at) => 70 + (66 * at) / most;
  return s("svg", { viewBox: "0 0 140 16", role: "img", "aria-label": low > 0 ? "above zero" : high < 0 ? "below zero" : "holds zero" },
    s("line", { class: "zero", x1: 70, x2: 70, y1: 0, y2: 16 }), s("line", { class: "range", x1: across(low), x2: across(high), y1: 8, y2: 8 }), s("circle", { class: "point", cx: across(value), cy: 8, r: 3.5 }, s("title", {}, `from ${-most} to ${most}`)));
}

function overview() {
  const side = DATA.sides[state.side], samples = samplesOf(side), traces = of(side, "SFT_DATA");
  const choose = DATA.sides.length > 1 ? h("div", { class: "filters" }, DATA.sides.map((one, place) => h("button", { type: "button", "aria-pressed": String(place === state.side), onclick: () => { state.side = place; draw(); } }, `${"AB"[place]}: ${one.name}`))) : null;
  return [
    DATA.sides.length > 1 ? h("div", { class: "grid" }, comparePanels()) : null,
    DATA.sides.length > 1 ? h("div", { class: "head" }, h("h1", {}, "Each by itself")) : null, choose, tiles(side),
    h("div", { class: "grid" }, figuresPanel(side), samples ? [yieldsPanel(samples), verdictsPanel(samples), questionsPanel(samples), lengthsPanel(samples, `Lengths of ${samples.kind === "EVAL_DATA" ? "replies" : "samples"}`, samples.measure === "tokens" ? "In tokens that the model wrote, thoughts included." : "In characters, since nobody counted tokens.", "")] : null,
      traces ? tracesPanel(traces, state.side) : null, speedPanel(side), ranPanel(side)),
  ];
}

// ---- the rows

const ROWS = DATA.shown.flatMap((set) => set.rows.map((row) => ({ ...row, side: set.side, kind: set.kind, trace: set.kind === "SFT_DATA" })));
const QUESTIONS = new Map();
for (const set of DATA.shown) {
  for (const [key, asked] of Object.entries(set.questions)) {
    const one = QUESTIONS.get(key) || QUESTIONS.set(key, { key, text: asked.text, gold: null, rates: [], rows: [] }).get(key);
    if (!Array.isArray(one.text) && whole(one.text).length < whole(asked.text).length && set.kind !== "SFT_DATA") one.text = asked.text;
    one.gold = one.gold ?? asked.gold;
    if (Object.hasOwn(set.rates, key)) one.rates[set.side] = set.rates[key];
  }
}
for (const row of ROWS) QUESTIONS.get(row.key).rows.push(row);
const LIST = [...QUESTIONS.values()];

/** What all questions of a task begin with is left out where they are listed. */
function heads() {
  for (const alike of grouped(LIST, (one) => one.rows[0].task).values()) {
    let [common, ...others] = alike.map((one) => (Array.isArray(one.text) ? one.text[0] : one.text));
    if (!others.length) common = "";
    for (const text of others) { let at = 0; while (at < common.length && common[at] === text[at]) at++; common = common.slice(0, at); }
    common = common.slice(0, Math.max(common.lastIndexOf(" "), common.lastIndexOf("\n"), -1) + 1);
    for (const one of alike) {
      const text = Array.isArray(one.text) ? one.text[0] : one.text;
      one.head = (common.length > 20 ? `…${text.slice(common.length)}` : text).replace(/\s+/g, " ").slice(0, 160);
    }
  }
}
heads();

const verdictsOf = (row) => new Set((row.said || []).map((one) => one[0]));
const FILTERS = {
  side: ["from", (row) => [String(row.side)], null],
  task: ["task", (row) => [row.task || ""], null],
  variant: ["variant", (row) => (row.trace ? null : [row.variant])],
  outcome: ["outcome", (row) => (row.trace ? null : [row.outcome])],
  reason: ["reason", (row) => (row.trace ? null : [reasonOf(row.reason)])],
  verdict: ["verdict", (row) => (row.trace ? null : row.said.length ? [...verdictsOf(row)] : ["no reflection"])],
  label: ["trace label", (row) => (row.trace ? [row.label] : null)],
  split: ["split", (row) => (row.trace ? [row.split] : null)],
  fault: ["fault", (row) => (row.trace ? (row.faults.length ? row.faults : ["none"]) : null)],
};
const CHOICES = Object.fromEntries(Object.entries(FILTERS).map(([name, [, read]]) => [name, [...new Set(ROWS.flatMap((row) => read(row) || []))].sort()]));

function wordsOf(row) {
  row.words ??= [row.answer, row.text, row.response, row.thought, row.reason, row.variant, row.label, ...(row.said || []).map((one) => one[2])].map(whole).join("\n").toLowerCase();
  return row.words;
}

/** The rows of a question that fit all filters; null if the question does not. */
function fitting(question) {
  const { filters, search } = state;
  if (filters.right && !question.rates.some((rate) => rate && classOf(...rate) === filters.right)) return null;
  const words = search.toLowerCase(), asked = words && `${whole(question.text)}\n${whole(question.gold)}\n${question.key}`.toLowerCase().includes(words);
  const kept = [false, true].map((trace) => {
    const active = Object.entries(FILTERS).filter(([name]) => filters[name] !== undefined);
    const own = active.filter(([, [, read]]) => read(trace ? { trace, faults: [], label: "" } : { trace, said: [] }) !== null);
    const there = question.rows.filter((row) => row.trace === trace);
    const fit = there.filter((row) => own.every(([name, [, read]]) => read(row).includes(filters[name])) && (!words || asked || wordsOf(row).includes(words)));
    const specific = own.some(([name]) => !["side", "task"].includes(name));
    return { fit, specific };
  });
  if (kept.some((one) => one.specific && !one.fit.length)) return null;
  if (!kept.some((one) => one.fit.length)) return null;
  const sought = kept.filter((one) => one.specific), rows = kept.flatMap((one) => one.fit);
  return Object.assign(rows, { sought: sought.length ? sum(sought.map((one) => one.fit.length)) : rows.length });
}

function rowJSON(row) {
  const question = QUESTIONS.get(row.key);
  const { words, trace, ...told } = row;
  const plain = (value) => (Array.isArray(value) && value.length === 3 && typeof value[1] === "number" ? whole(value) : Array.isArray(value) ? value.map(plain) : value && typeof value === "object" ? Object.fromEntries(Object.entries(value).map(([name, one]) => [name, plain(one)])) : value);
  const said = (all) => all.map(([verdict, prompt, text]) => ({ verdict, prompt, text: whole(text) }));
  const read = { set: DATA.sides[row.side].name, kind: row.kind, question: whole(question.text), gold: question.gold === null ? null : whole(question.gold), ...told };
  if (read.said) read.said = said(read.said);
  read.side = undefined;
  return JSON.stringify(plain(read), null, 2);
}

async function copy(text, button) {
  let done = false;
  try { await navigator.clipboard.writeText(text); done = true; } catch {
    const box = h("textarea", { class: "hidden", "aria-hidden": "true" });
    box.value = text;
    document.body.append(box);
    box.select();
    done = document.execCommand("copy");
    box.remove();
    button.focus();
  }
  const was = button.textContent;
  button.textContent = done ? "copied" : "not allowed here";
  setTimeout(() => { button.textContent = was; }, 1500);
}

/** A text in parts by our tags: as in reflection/inner.py a block counts if the next tag after its first closes it. */
function partsOf(text) {
  const tags = [...text.matchAll(TAGS)], found = [];
  let from = 0, samples = 0;
  const glue = (end) => {
    const words = text.slice(from, end), closed = words.search(/<\/think>/i);
    if (closed < 0) return found.push(["glue", words]);
    const behind = words.slice(closed + 8), at = behind.search(/<answer>/i);
    found.push(["glue", words.slice(0, closed + 8)], ["glue", at < 0 ? behind : behind.slice(0, at)]);
    if (at >= 0) found.push(["answer", behind.slice(at)]);
  };
  tags.forEach((tag, place) => {
    const next = tags[place + 1];
    if (tag[1] || !next || !next[1] || next[2].toLowerCase() !== tag[2].toLowerCase()) return;
    glue(tag.index);
    const name = tag[2].toLowerCase();
    found.push([name, text.slice(tag.index, next.index + next[0].length), name === "sample" ? ++samples : samples]);
    from = next.index + next[0].length;
  });
  glue(text.length);
  return found.filter(([, words]) => words.trim());
}

function drawParts(text) {
  return h("div", { class: "parts" }, partsOf(text).map(([kind, words, number]) => h("div", { class: `part ${kind}` },
    h("small", {}, kind === "glue" ? "glue" : kind === "answer" ? "answer" : `${kind} ${number}`), h("div", { class: "text", dir: "auto" }, visible(words.trim())))));
}
const drawText = (text) => (new RegExp(TAGS.source, "i").test(whole(text)) ? prose(text, drawParts) : h("div", { class: "text", dir: "auto" }, prose(text)));

function reflections(said, outcome) {
  return said.map(([verdict, prompt, text]) => {
    const good = outcome === "unknown" ? "unknown" : verdict === (outcome === "right" ? "Correct" : "Incorrect") ? "right" : verdict === "none" ? "unknown" : "wrong";
    return h("details", {}, h("summary", {}, "Reflection", prompt ? ` ${prompt}` : "", ": ", h("span", { class: `chip ${good}` }, verdict === "none" ? "no verdict" : verdict), good === "wrong" ? " which is wrong" : ""), h("div", { class: "text", dir: "auto" }, prose(text)));
  });
}

const sideChip = (row) => (DATA.sides.length > 1 ? h("span", { class: "chip" }, "AB"[row.side]) : null);
const copyButton = (row) => h("button", { type: "button", class: "copy", onclick: (event) => copy(rowJSON(row), event.currentTarget), "aria-label": "Copy this row as JSON" }, "copy JSON");

function sampleCard(row, number) {
  return h("article", { class: `card is-${row.outcome}`, id: `row-${number}`, "aria-label": `Sample ${number}, ${row.outcome}` },
    h("header", {}, h("b", {}, number), sideChip(row), h("span", { class: `chip ${row.outcome}` }, row.outcome), h("span", { class: "chip" }, named(row.variant)), row.cut ? h("span", { class: "chip wrong" }, "cut") : null, copyButton(row)),
    h("dl", { class: "facts" }, h("dt", {}, "answer"), h("dd", {}, row.answer === null ? h("span", { class: "soft" }, "none") : h("bdi", {}, prose(row.answer))), row.reason ? [h("dt", {}, "reason"), h("dd", {}, h("bdi", {}, row.reason))] : null),
    row.thought ? h("details", {}, h("summary", {}, "Thought"), drawText(row.thought)) : null,
    h("div", { class: "boxed", tabindex: 0, role: "group", "aria-label": `Text of sample ${number}` }, whole(row.response).trim() ? drawText(row.response) : h("span", { class: "soft" }, "an empty text")),
    reflections(row.said, row.outcome));
}

function traceCard(row) {
  return h("article", { class: "card trace", "aria-label": `Trace ${row.label}` },
    h("header", {}, sideChip(row), h("b", {}, named(row.label)), h("span", { class: "chip" }, `of ${row.format}`), row.split === "validation" ? h("span", { class: "chip" }, "validation") : null, row.faults.map((name) => h("span", { class: "chip wrong" }, name.replaceAll("_", " "))), copyButton(row)),
    row.variants.length ? h("p", { class: "note" }, row.variants.map(named).join(", then ")) : null,
    whole(row.text).trim() ? prose(row.text, drawParts) : h("p", { class: "note" }, "A set of tokens: only its tokenizer can read it."));
}

function samplesTable(rows) {
  const several = DATA.sides.length > 1;
  return table(["", ...(several ? ["from"] : []), "variant", "outcome", "extracted answer", "reason", "tokens", "verdicts"], rows.map((row, place) => [
    h("a", { href: `#row-${place + 1}`, onclick: (event) => { event.preventDefault(); document.getElementById(`row-${place + 1}`).scrollIntoView({ block: "start" }); } }, String(place + 1)), ...(several ? ["AB"[row.side]] : []),
    broken(row.variant), h("span", { class: row.outcome }, row.outcome), h("td", { class: "wrap" }, h("bdi", {}, row.answer === null ? h("span", { class: "soft" }, "none") : whole(row.answer).slice(0, 200))), h("td", { class: "wrap" }, h("bdi", {}, row.reason || "")),
    row.tokens === null ? "" : count(row.tokens), [...grouped(row.said, (one) => one[0])].sort().map(([verdict, all]) => `${all.length > 1 ? `${all.length} ` : ""}${verdict === "none" ? "without" : verdict}`).join(", "),
  ]), { caption: "Samples of this question", numbers: [several ? 6 : 5] });
}

function detail(question, fit) {
  if (!question) return h("section", { class: "panel detail", id: "detail", tabindex: -1 }, h("p", { class: "soft" }, LIST.length ? "No question fits these filters." : "This set has no rows that can be shown."));
  const rows = state.all ? question.rows : fit, hidden = question.rows.length - fit.length;
  const samples = rows.filter((row) => !row.trace).sort((one, other) => one.side - other.side || (one.variant > other.variant) - (one.variant < other.variant) || one.row - other.row);
  const traces = rows.filter((row) => row.trace);
  const rates = question.rates.map((rate, side) => rate && `${DATA.sides.length > 1 ? `${"AB"[side]}: ` : ""}${count(rate[0])} of ${count(rate[1])} samples right`).filter(Boolean);
  const sought = state.filters.label !== undefined || state.filters.fault !== undefined;
  const drawnSamples = samples.length ? [sought ? h("h3", {}, "The samples") : null, h("div", { class: "cards" }, samples.map((row, place) => sampleCard(row, place + 1)))] : null;
  const drawnTraces = traces.length ? [h("h3", { id: "traces" }, plural(traces.length, "trace")), legend([["sample", "sample"], ["reflect", "reflection"], ["glue", "glue: what is said between"], ["answer", "answer"]]), h("div", { class: "cards traces" }, traces.map(traceCard))] : null;
  const there = question.rows.filter((row) => !row.trace).length, asked = sum(question.rates.map((rate) => (rate ? rate[1] : 0)));
  return h("section", { class: "detail", id: "detail", tabindex: -1, "aria-label": "Question" },
    h("div", { class: "panel" }, h("h2", {}, "Question"), h("div", { class: "boxed", tabindex: 0, role: "group", "aria-label": "Text of the question" }, h("div", { class: "text", dir: "auto" }, prose(question.text))),
      h("dl", { class: "facts" }, question.gold === null ? null : [h("dt", {}, "gold answer"), h("dd", {}, h("bdi", {}, prose(question.gold)))], h("dt", {}, "key"), h("dd", {}, `${question.key}${question.rows[0].task ? `, ${question.rows[0].task}` : ""}`), rates.length ? [h("dt", {}, "in the whole set"), h("dd", {}, rates.join("; "), asked > there ? h("span", { class: "soft" }, `; ${count(there)} of them in this page`) : null)] : null),
      h("div", { class: "bar-of" }, h("button", { type: "button", onclick: () => step(-1) }, "← previous"), h("button", { type: "button", onclick: () => step(1) }, "next →"),
        h("button", { type: "button", onclick: (event) => copy(location.href, event.currentTarget) }, "copy link"),
        traces.length && !sought ? h("button", { type: "button", onclick: () => document.getElementById("traces").scrollIntoView({ block: "start" }) }, `${plural(traces.length, "trace")} ↓`) : null,
        hidden > 0 ? h("button", { type: "button", "aria-pressed": String(state.all), onclick: () => { state.all = !state.all; draw(); } }, state.all ? "only rows that fit" : `show ${plural(hidden, "row")} that do not fit`) : null),
      samples.length && !sought ? [h("h3", {}, plural(samples.length, "sample")), samplesTable(samples)] : null),
    ...(sought ? [drawnTraces, drawnSamples] : [drawnSamples, drawnTraces]));
}

let found = [];
function browser() {
  found = LIST.map((question) => [question, fitting(question)]).filter((one) => one[1]);
  let at = found.findIndex(([question]) => question.key === state.question);
  if (at < 0 && found.length) { at = 0; state.question = found[0][0].key; }
  const choose = Object.entries(FILTERS).filter(([name]) => CHOICES[name].length > 1 || state.filters[name] !== undefined).map(([name, [words]]) => {
    const given = state.filters[name], options = [...new Set([...CHOICES[name], ...(given === undefined ? [] : [given])])];
    return h("label", {}, words, h("select", { name, class: given === undefined ? null : "on", onchange: (event) => { const value = event.target.selectedIndex; filter(name, value ? options[value - 1] : undefined); } },
      h("option", {}, "all"), options.map((value) => h("option", { selected: value === given }, name === "side" && DATA.sides[value] ? DATA.sides[value].name : named(value).replaceAll("_", " ")))));
  });
  const classes = h("label", {}, "questions", h("select", { name: "right", class: state.filters.right ? "on" : null, onchange: (event) => filter("right", event.target.value || undefined) }, h("option", { value: "" }, "all"), Object.entries(CLASSES).map(([name, words]) => h("option", { value: name, selected: state.filters.right === name }, words))));
  const search = h("label", { class: "search" }, "search in all texts", h("input", { type: "search", id: "search", value: state.search, placeholder: "press / to search", autocomplete: "off", spellcheck: "false", oninput: (event) => { state.search = event.target.value; clearTimeout(browser.wait); browser.wait = setTimeout(() => { remember(); draw({ keep: "search" }); }, 150); } }));
  const active = Object.keys(state.filters).length + (state.search ? 1 : 0);
  const reset = active ? h("button", { type: "button", id: "reset", onclick: () => go({}) }, "clear") : null;
  const most = 400;
  const items = found.slice(0, most).map(([question, fit], place) => {
    const rate = question.rates.find(Boolean), traces = fit.filter((row) => row.trace).length;
    return h("li", {}, h("button", { type: "button", "aria-current": place === at ? "true" : null, onclick: () => open(question.key) }, h("span", { class: "asks", dir: "auto" }, question.head || "(no text)"),
      h("span", { class: "facts" }, rate && rate[1] ? [stacked([["right", rate[0]], ["wrong", rate[1] - rate[0]]], `${rate[0]} of ${rate[1]} right`), h("span", {}, `${count(rate[0])} of ${count(rate[1])} right`)] : null, traces ? h("span", {}, plural(traces, "trace")) : null)));
  });
  const totals = DATA.sides.flatMap((side, place) => side.contents.map((one) => { const here = ROWS.filter((row) => row.side === place && row.kind === one.kind).length; return here < one.rows ? `${count(here)} of the ${count(one.rows)} rows of ${one.kind} of ${side.name}` : null; })).filter(Boolean);
  return [
    totals.length ? h("p", { class: "note", id: "sampled" }, `These are ${totals.join(", and ")}: a sample drawn by task, variant, outcome, reason and verdicts, or by label and faults, with some of each (${DATA.sides.flatMap((side) => side.contents.map((one) => `${count(one.strata)} strata of ${one.kind}`)).join(", ")}), always the same. All counts of the overview are over all rows.`) : h("p", { class: "note", id: "sampled" }, "All rows are here."),
    h("div", { class: "filters", role: "search" }, classes, choose, search, reset),
    h("div", { class: "browser" }, h("nav", { class: "list", id: "list", "aria-label": "Questions" }, h("div", { class: "count", role: "status", "aria-live": "polite" }, `${plural(found.length, "question")}, ${plural(sum(found.map((one) => one[1].sought)), "row")}${active ? " fit" : ""}`), h("ol", {}, items), found.length > most ? h("div", { class: "count" }, `and ${count(found.length - most)} more: filter or search to see them`) : null),
      detail(found[at]?.[0], found[at]?.[1])),
  ];
}

// ---- moving about

function go(filters, question) {
  Object.assign(state, { view: "rows", filters: Object.fromEntries(Object.entries(filters).filter((one) => one[1] !== undefined)), search: "", question: question || null, all: Boolean(question) && false });
  remember(true);
  draw();
  scrollTo(0, 0);
}
function filter(name, value) {
  if (value === undefined) delete state.filters[name]; else state.filters[name] = value;
  remember();
  draw({ keep: document.activeElement?.name });
}
function open(key, focus) {
  state.question = key;
  remember();
  draw({ keep: "list" });
  const detail = document.getElementById("detail");
  if (focus) detail.focus({ preventScroll: true });
  if (innerWidth <= 900) detail.scrollIntoView({ block: "start" }); else scrollTo(0, Math.min(scrollY, document.getElementById("list").parentElement.offsetTop - 70));
}
function step(by) {
  const at = found.findIndex(([question]) => question.key === state.question), next = found[at + by];
  if (!next) return;
  open(next[0].key);
  document.querySelector("#list [aria-current]")?.scrollIntoView({ block: "nearest" });
}

function remember(push) {
  const told = new URLSearchParams();
  if (state.view === "rows") {
    told.set("view", "rows");
    for (const [name, value] of Object.entries(state.filters)) told.set(name, value);
    if (state.search) told.set("search", state.search);
    if (state.question) told.set("question", state.question);
  }
  const hash = `#${told}`;
  remember.last = hash;
  if (push) location.hash = hash; else history.replaceState(null, "", hash);
}
function recall() {
  if (location.hash === remember.last) return false;
  remember.last = location.hash;
  const told = new URLSearchParams(location.hash.slice(1));
  state.view = told.get("view") === "rows" ? "rows" : "overview";
  state.filters = Object.fromEntries(["right", ...Object.keys(FILTERS)].filter((name) => told.has(name)).map((name) => [name, told.get(name)]));
  state.search = told.get("search") || "";
  state.question = told.get("question");
  return true;
}

const THEMES = ["auto", "light", "dark"], dark = matchMedia("(prefers-color-scheme: dark)");
let theme = "auto";
function paint() {
  document.documentElement.dataset.theme = theme === "auto" ? (dark.matches ? "dark" : "light") : theme;
  const button = document.getElementById("theme");
  if (button) button.textContent = `theme: ${theme}`;
}
dark.addEventListener("change", paint);
narrow.addEventListener("change", () => draw());

const KEYS = [["/", "search in all texts"], ["j or ↓", "next question"], ["k or ↑", "previous question"], ["Enter", "go to the question's rows"], ["Esc", "leave the search, or close this"], ["o", "overview"], ["r", "rows"], ["t", "light, dark, or as the system"], ["?", "this help"]];
const help = h("dialog", { id: "help", "aria-labelledby": "help-title" }, h("h2", { id: "help-title" }, "Keys"), table(["key", "does"], KEYS.map(([key, words]) => [h("kbd", {}, key), words]), { caption: "Keys" }), h("p", { class: "note" }, "Characters that cannot be seen, or that turn the direction of text, are shown by their numbers, such as ", visible("\u202e"), ". Texts longer than 8,000 characters (reflections and questions: 3,000) are cut in the middle."), h("form", { method: "dialog" }, h("button", {}, "close")));

function draw({ keep } = {}) {
  const page = document.getElementById("page"), old = document.getElementById("list")?.scrollTop, caret = keep === "search" ? document.getElementById("search")?.selectionStart : null;
  const view = (name, words) => h("button", { type: "button", "aria-current": state.view === name ? "true" : null, onclick: () => { state.view = name; remember(true); draw(); scrollTo(0, 0); } }, words);
  const title = DATA.sides.map((side) => side.name).join(" and ");
  const facts = (side) => [settingOf(side, "model") || side.sets.flatMap((one) => one.models)[0], settingOf(side, "model_revision") && `revision ${settingOf(side, "model_revision").slice(0, 16)}`, settingOf(side, "engine"), settingOf(side, "task"), ["temperature", "top_p", "top_k"].map((name) => settingOf(side, `sampling.${name}`) && `${name} ${settingOf(side, `sampling.${name}`)}`).filter(Boolean).join(", "), side.contents.map((one) => `${count(one.rows)} rows of ${one.kind}`).join(", ")].filter(Boolean).join(" · ");
  document.title = `${title} – report`;
  page.replaceChildren(
    h("div", { class: "bar" }, h("div", {}, h("span", { class: "name", title }, title), view("overview", "Overview"), view("rows", "Rows"), h("button", { type: "button", id: "theme", onclick: () => { theme = THEMES[(THEMES.indexOf(theme) + 1) % 3]; paint(); } }, "theme"), h("button", { type: "button", "aria-label": "Keys and help", onclick: () => help.showModal() }, "?"))),
    h("main", { class: "page" }, h("div", { class: "head" }, h("h1", {}, state.view === "rows" ? `Rows of ${title}` : title), DATA.sides.map((side) => h("p", { class: "soft" }, DATA.sides.length > 1 ? `${side.name}: ` : "", facts(side)))),
      ...[(state.view === "rows" ? browser : overview)()].flat(Infinity).filter(Boolean),
      h("p", { class: "note" }, `Made ${DATA.made.replace("T", " ").replace("+00:00", " UTC")} by SkillFactory ${DATA.version || ""}.`)));
  paint();
  const list = document.getElementById("list");
  if (list && old !== undefined && keep) list.scrollTop = old;
  if (keep && keep !== "list") {
    const back = document.getElementById(keep) || document.querySelector(`select[name="${CSS.escape(keep)}"]`);
    back?.focus();
    if (keep === "search") back?.setSelectionRange(caret, caret);
  }
}

addEventListener("hashchange", () => { if (recall()) draw(); });
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
  const typing = /^(INPUT|TEXTAREA)$/.test(event.target.tagName), choosing = event.target.tagName === "SELECT";
  if (event.key === "Escape" && typing) {
    event.preventDefault();
    if (state.search) { state.search = ""; remember(); draw(); }
    document.activeElement.blur();
    return;
  }
  if (typing && event.key === "Enter") { event.target.blur(); document.getElementById("detail")?.focus(); return; }
  if (typing || choosing) return;
  const rows = state.view === "rows", scrolls = event.target.closest?.(".boxed, .scroll");
  const turn = (name) => { state.view = name; remember(true); draw(); scrollTo(0, 0); };
  const does = { "?": () => help.showModal(), t: () => document.getElementById("theme").click(), o: () => turn("overview"), r: () => turn("rows"), "/": () => { if (!rows) turn("rows"); document.getElementById("search").focus(); } };
  if (rows) Object.assign(does, { j: () => step(1), k: () => step(-1), ...(scrolls ? {} : { ArrowDown: () => step(1), ArrowUp: () => step(-1) }), ...(/^(BUTTON|SUMMARY|A)$/.test(event.target.tagName) && !event.target.closest("#list") ? {} : { Enter: () => open(state.question, true) }) });
  if (does[event.key]) { event.preventDefault(); does[event.key](); }
});

document.body.append(help);
recall();
draw();
