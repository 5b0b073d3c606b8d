// What a person does on the page -> what is asked, shown and saved. ask.js asks, draw.js draws, panels.js is pointed at.

import { Trouble, answerOf, listModels, overlayOf } from "./ask.js";
import { canvasOf, classLayers, compose, differences, rampColor } from "./draw.js";
import { Panels } from "./panels.js";
import { percent, listed } from "./words.js";

const $ = (id) => document.getElementById(id);
const chosen = () => document.querySelector("input[name=view]:checked").value;

const state = {
  models: [], // as the server lists them
  file: null, // the picture's file
  picture: null, // the same, decoded; null if this browser cannot
  answers: new Map(), // model's name -> its answer to this file
  hidden: new Set(), // names of classes
  lit: null, // the name of the class that is pointed at in the legend
  apart: null, // where the two answers differ
  stop: new AbortController(), // of what is being asked
};
const panels = new Panels($("panels"), $("under"), $("spoken"));

// ---- asking

async function start() {
  state.models = await listModels();
  $("model").replaceChildren(...state.models.map(({ name }) => new Option(name, name)));
  offerOthers();
  sayModel();
  if (state.file) await ask();
}

/** Do it, and show what went wrong, with a button that tries again where that may help. */
async function guarded(action) {
  try {
    $("alert").replaceChildren();
    await action();
  } catch (error) {
    if (error.name === "AbortError") return; // another picture came in between
    if (!(error instanceof Trouble)) console.error(error);
    say("");
    const trouble = error instanceof Trouble ? error : new Trouble("This page failed", error.message, "Load it again");
    showTrouble(trouble, () => guarded(action));
  }
}

function showTrouble({ what, found, fix, again }, tryAgain) {
  const box = made("div", { className: "trouble" });
  box.append(made("strong", { textContent: what }), made("p", { textContent: sentence(found) }), made("p", { textContent: sentence(fix) }));
  if (again) {
    const button = made("button", { type: "button", textContent: "Try again" });
    button.addEventListener("click", tryAgain);
    box.append(button);
  }
  $("alert").replaceChildren(box);
}

const sentence = (text) => text && text[0].toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");

function wanted() {
  const named = (id) => state.models.find(({ name }) => name === $(id).value);
  return [named("model"), named("other")].filter(Boolean);
}

function offerOthers() {
  const before = $("other").value;
  const others = state.models.filter(({ name }) => name !== $("model").value);
  $("other").replaceChildren(new Option("nothing", ""), ...others.map(({ name }) => new Option(name, name)));
  if (others.some(({ name }) => name === before)) $("other").value = before;
  $("other").disabled = others.length === 0;
  $("alone").hidden = others.length > 0;
}

function sayModel() {
  const [model] = wanted();
  if (!model) throw new Trouble("The server has no model", "its list is empty", "Start it with one: segtrial serve RUN");
  const size = model.parameters >= 1e6 ? `${(model.parameters / 1e6).toFixed(1)} million` : `${Math.round(model.parameters / 1e3)} thousand`;
  $("about").textContent = `${model.name}: ${model.task.replace("_", " ")}, ${size} parameters. Pictures go to this server and nowhere else.`;
  $("knows").replaceChildren(...model.classes.map(({ name, color }) => {
    const item = made("li");
    item.append(swatchOf(color), name);
    return item;
  }));
  $("known").hidden = model.classes.length === 0 || state.answers.size > 0;
  const { bytes, pixels } = limits();
  $("limits").textContent = `At most ${megabytes(bytes)} and ${megapixels(pixels)}.`;
}

function limits() {
  const least = (name) => Math.min(...wanted().map((model) => model.limits[name]));
  return { bytes: least("bytes"), pixels: least("pixels") };
}

const megabytes = (bytes) => (bytes >= 1e6 ? `${+(bytes / 1e6).toFixed(1)} MB` : `${+(bytes / 1e3).toFixed(1)} kB`);
const megapixels = (pixels) => (pixels >= 1e6 ? `${+(pixels / 1e6).toFixed(1)} million pixels` : `${pixels} pixels`);

/** Take a new picture: refuse at once what the server would, else ask. */
function take(file) {
  state.stop.abort();
  state.file = file;
  state.picture = null;
  state.answers.clear();
  panels.point = null;
  $("result").hidden = true;
  return guarded(state.models.length ? ask : start);
}

async function ask() {
  state.stop.abort();
  state.stop = new AbortController();
  const { file, stop } = state, models = wanted();
  requireBytes(file);
  const drawn = state.picture ?? (await createImageBitmap(file).catch(() => null));
  if (drawn) requirePixels(drawn);
  if (stop.signal.aborted || state.file !== file) return;
  state.picture = drawn;
  const missing = models.filter(({ name }) => !state.answers.has(name));
  if (missing.length) say(`Asking ${listed(missing.map(({ name }) => name))} about ${file.name} …`, { busy: true });
  const done = await Promise.allSettled(missing.map((model) => answerOf(model, file, stop.signal)));
  if (stop.signal.aborted) return;
  done.forEach((one, i) => one.status === "fulfilled" && state.answers.set(missing[i].name, one.value));
  const failed = done.find(({ status }) => status === "rejected");
  if (state.answers.size) show(missing.length > 0);
  if (failed) throw failed.reason;
}

function requireBytes({ name, size }) {
  const most = limits().bytes;
  if (size <= most) return;
  const found = `it has ${megabytes(size)}, and this server takes ${megabytes(most)}; nothing was sent`;
  throw new Trouble(`${name} is too large`, found, "Choose a smaller picture, or save this one as JPEG");
}

function requirePixels({ width, height }) {
  const most = limits().pixels;
  if (width * height <= most) return;
  const found = `it has ${width} × ${height} pixels, and this server takes ${megapixels(most)}; nothing was sent`;
  throw new Trouble(`${state.file.name} is too large`, found, "Choose a smaller picture, or shrink this one; segtrial predict has no such limit");
}

/** Tell who listens; and who looks too, unless the page shows it anyway. */
function say(text, { busy = false, seen = true } = {}) {
  $("status").textContent = text;
  $("status").classList.toggle("busy", busy);
  $("status").classList.toggle("unseen", !seen || !text);
}

// ---- showing

const shown = () => wanted().map(({ name }) => state.answers.get(name)).filter(Boolean);

function show(fresh) {
  const answers = shown();
  if (!answers.length) return;
  const maps = answers.filter(({ labels }) => labels);
  state.apart = maps.length === 2 && sameSize(maps[0].labels, maps[1].labels) ? differences(...maps) : null;
  $("name").textContent = state.file.name;
  if (maps.length && state.picture && !sameSize(maps[0].labels, state.picture)) state.picture = null; // turned otherwise
  const blind = state.picture ? "" : " This browser cannot draw the file as the server reads it: there is no picture below.";
  $("told").textContent = `${listed(answers.map(facts), "; ")}.${blind}`;
  $("known").hidden = true;
  $("tools").hidden = maps.length === 0;
  $("views").hidden = !maps.some(({ confidence }) => confidence);
  $("marking").hidden = !state.apart;
  panels.set(state.picture, answers, state.apart);
  listClasses(answers);
  listPairs(answers);
  offerDownloads(answers);
  $("result").hidden = false;
  draw();
  if (fresh) say(answers.map(summary).join(" ") + (state.apart ? ` ${agreement()}` : ""), { seen: false });
}

const sameSize = (one, other) => one.width === other.width && one.height === other.height;

function facts({ model, width, height, seconds, mean_confidence: sure }) {
  const parts = [model];
  if (width) parts.push(`${width} × ${height} pixels`);
  if (seconds !== undefined) parts.push(`${seconds < 0.1 ? seconds.toFixed(3) : seconds.toFixed(2)} s`);
  if (typeof sure === "number") parts.push(`mean confidence ${percent(sure)}`);
  return parts.join(", ");
}

function summary({ model, task, classes }) {
  const most = bySize(classes).slice(0, 4).map(({ name, share }) => `${name} ${percent(share)}`);
  const said = task.startsWith("colorization") ? "coloured the picture" : listed(most) || "found no class";
  return `${model}: ${said}.`;
}

const bySize = (classes) => classes.filter(({ share }) => share > 0).sort((a, b) => b.share - a.share);
const agreement = () => `They agree on ${percent(1 - state.apart.share)} of the pixels.`;

function draw() {
  const view = chosen(), opacity = $("opacity").value / 100;
  $("percent").textContent = `${$("opacity").value} %`;
  $("scale").hidden = view !== "confidence" || $("views").hidden;
  $("ticks").hidden = $("tools").hidden || view === "confidence";
  panels.draw({ view, opacity, marked: $("mark").checked, hidden: state.hidden, lit: state.lit });
}

/** The table of classes: a tick, a colour and a name, and of each model the share. */
function listClasses(answers) {
  const rows = new Map();
  answers.forEach(({ classes }, i) => classes.forEach((each) => {
    if (!rows.has(each.name)) rows.set(each.name, { ...each, shares: answers.map(() => null) });
    rows.get(each.name).shares[i] = each.share;
  }));
  const most = ({ shares }) => Math.max(...shares);
  const there = [...rows.values()].filter((row) => most(row) > 0).sort((a, b) => most(b) - most(a));
  const absent = [...rows.values()].filter((row) => !(most(row) > 0));
  const ticked = answers.some(({ labels }) => labels);
  const head = document.createElement("thead"), body = document.createElement("tbody");
  head.append(made("tr"));
  head.rows[0].append(heading("Class", "col"), ...answers.map(({ model, labels }) => heading(answers.length > 1 ? model : labels ? "Share of pixels" : "Probability", "col")));
  body.append(...there.map((row) => classRow(row, ticked)));
  $("legend").replaceChildren(head, body);
  $("classes").hidden = rows.size === 0;
  $("absent").textContent = absent.length ? `Not in this picture: ${listed(absent.map(({ name }) => name))}.` : "";
}

function classRow({ name, color, shares }, ticked) {
  const row = made("tr"), label = made("label");
  if (ticked) {
    const tick = made("input", { type: "checkbox", checked: !state.hidden.has(name) });
    tick.dataset.name = name;
    tick.addEventListener("change", () => { hide([name], !tick.checked); });
    label.append(tick);
  }
  label.append(swatchOf(color), made("span", { textContent: name }));
  row.append(heading("", "row"));
  row.cells[0].append(label);
  row.append(...shares.map(shareCell));
  if (ticked) for (const [on, off] of [["pointerenter", "pointerleave"], ["focusin", "focusout"]]) {
    row.addEventListener(on, () => light(name));
    row.addEventListener(off, () => light(null));
  }
  return row;
}

function swatchOf(color) {
  const swatch = made("span", { className: "swatch" });
  swatch.style.setProperty("--color", `rgb(${color.join(" ")})`);
  return swatch;
}

function shareCell(share) {
  const cell = made("td"), bar = made("i");
  bar.style.setProperty("--share", share ?? 0);
  cell.append(made("span", { textContent: share === null ? "unknown to it" : percent(share) }), bar);
  return cell;
}

function light(name) {
  state.lit = name;
  draw();
}

function hide(names, hidden) {
  for (const name of names) hidden ? state.hidden.add(name) : state.hidden.delete(name);
  draw();
}

function tickAll(ticked) {
  const boxes = [...$("legend").querySelectorAll("input")];
  for (const box of boxes) box.checked = ticked;
  hide(boxes.map((box) => box.dataset.name), !ticked);
}

function listPairs(answers) {
  $("apart").hidden = !state.apart;
  if (!state.apart) return;
  $("agree").textContent = agreement();
  const head = made("tr");
  head.append(...answers.map(({ model }) => heading(model, "col")), heading("Share of pixels", "col"));
  const rows = state.apart.pairs.slice(0, 6).map(({ one, other, share }) => {
    const row = made("tr");
    row.append(...[one, other, percent(share)].map((text) => made("td", { textContent: text })));
    return row;
  });
  $("pairs").replaceChildren(...(rows.length ? [head, ...rows] : []));
}

// ---- saving

function offerDownloads(answers) {
  $("downloads").replaceChildren(...answers.flatMap((answer) => {
    const stem = `${state.file.name.replace(/\.[^.]*$/, "")}_${answer.model.replace(/[^\w.-]+/g, "-")}`;
    const offered = [];
    const whose = answers.length > 1 ? ` of ${answer.model}` : "";
    if (answer.labels) offered.push(saver(`Label PNG${whose}`, `${stem}_labels.png`, () => answer.png));
    if (answer.labels) offered.push(saver(`Overlay${whose}`, `${stem}_overlay.png`, () => wholeOverlay(answer)));
    if (answer.picture) offered.push(saver(`Coloured picture${whose}`, `${stem}_colored.png`, () => answer.png));
    return offered;
  }));
  $("saving").hidden = !$("downloads").children.length;
}

function saver(text, name, make) {
  const button = made("button", { type: "button", textContent: text });
  button.addEventListener("click", () => guarded(async () => {
    const link = made("a", { href: URL.createObjectURL(await make()), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    say(`Saved ${name}.`);
  }));
  return button;
}

/** The overlay at the picture's own size, with the opacity and the classes that are ticked. */
async function wholeOverlay({ model, labels, classes }) {
  const opacity = $("opacity").value / 100;
  if (!state.picture) return overlayOf(model, state.file, opacity);
  const canvas = canvasOf(labels.width, labels.height);
  compose(canvas, state.picture, classLayers(labels, labels.width, labels.height, classes, state.hidden, null), opacity);
  const blob = await new Promise((done) => canvas.toBlob(done));
  if (blob) return blob;
  throw new Trouble("The overlay cannot be saved", "this browser has no room for a canvas of its size", "Use segtrial predict");
}

// ---- what a person does

function made(tag, properties = {}) {
  return Object.assign(document.createElement(tag), properties);
}

const heading = (textContent, scope) => made("th", { textContent, scope });

function drawRamp() {
  const pen = $("ramp").getContext("2d");
  for (let value = 0; value < 256; value++) {
    pen.fillStyle = `rgb(${rampColor(value).join(" ")})`;
    pen.fillRect(value, 0, 1, 1);
  }
}

function choices() {
  $("file").addEventListener("change", () => {
    const [file] = $("file").files;
    $("file").value = ""; // so that the same file may be chosen again
    if (file) take(file);
  });
  for (const id of ["model", "other"])
    $(id).addEventListener("change", () => {
      if (id === "model") offerOthers();
      guarded(async () => {
        sayModel();
        if (!state.file) return;
        if (wanted().every(({ name }) => state.answers.has(name))) show(true);
        else await ask();
      });
    });
  $("opacity").addEventListener("input", draw);
  for (const control of [...document.querySelectorAll("input[name=view]"), $("mark")]) control.addEventListener("change", draw);
  $("all").addEventListener("click", () => tickAll(true));
  $("none").addEventListener("click", () => tickAll(false));
}

function drops() {
  const carriesFile = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  addEventListener("dragover", (event) => {
    if (!carriesFile(event)) return;
    event.preventDefault();
    $("veil").hidden = false;
  });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) $("veil").hidden = true; });
  addEventListener("drop", (event) => {
    $("veil").hidden = true;
    if (!carriesFile(event)) return;
    event.preventDefault();
    take(event.dataTransfer.files[0]);
  });
  addEventListener("paste", (event) => {
    const [file] = event.clipboardData?.files ?? [];
    if (file) take(file);
  });
}

drawRamp();
choices();
drops();
guarded(start);
