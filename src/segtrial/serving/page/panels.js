// A picture and one or two answers -> canvases side by side, with one crosshair that tells what lies under it.

import { IGNORE, canvasOf, classLayers, compose, confidenceLayer, marksLayer, shownSize } from "./draw.js";
import { percent } from "./words.js";

const STEPS = 64; // presses of an arrow key from one side of a picture to the other; with Shift a pixel each
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const KEYS = "Arrow keys move a crosshair; with Shift, by one pixel; Escape takes it away.";
const QUIET = 350; // milliseconds without a key after which the place is spoken

export class Panels {
  /** In `place`, with what lies under the crosshair in `under` to be read, and in `spoken` to be heard. */
  constructor(place, under, spoken) {
    Object.assign(this, { place, under, spoken, point: null, panels: [], layers: new Map() });
  }

  /** Build the canvases; `apart` is where two answers differ, or null. */
  set(picture, answers, apart) {
    const known = answers.find(({ labels }) => labels)?.labels;
    const { width, height } = known ?? picture ?? answers[0].picture;
    const { w, h } = shownSize(width, height);
    Object.assign(this, { picture, answers, apart, width, height, w, h });
    const drawn = answers.filter(({ labels, picture: coloured }) => labels || coloured);
    const made = [{ title: "Picture", answer: null }, ...drawn.map((answer) => ({ title: answer.model, answer }))];
    this.panels = made.filter(({ answer }) => answer || picture).map((panel) => ({ ...panel, ...this.figure(panel) }));
    this.place.replaceChildren(...this.panels.map(({ figure }) => figure));
    this.place.dataset.count = this.panels.length;
    this.layers.clear();
    this.marks = apart ? marksLayer(apart, w, h) : null;
    this.move(this.point);
  }

  figure({ title, answer }) {
    const figure = document.createElement("figure"), stage = document.createElement("div");
    const caption = document.createElement("figcaption"), cross = document.createElement("div");
    const canvas = canvasOf(this.w, this.h);
    stage.className = "stage";
    cross.className = "cross";
    caption.textContent = title;
    stage.append(canvas, cross);
    figure.append(caption, stage);
    if (answer?.labels) this.listen(stage, answer);
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", answer ? `Answer of ${title}` : "The picture");
    if (!answer) this.follow(stage);
    return { figure, canvas, cross };
  }

  listen(stage, answer) {
    this.follow(stage);
    stage.tabIndex = 0;
    stage.setAttribute("role", "application");
    stage.setAttribute("aria-label", `Answer of ${answer.model}, pixel by pixel. ${KEYS}`);
    stage.addEventListener("keydown", (event) => this.key(event));
    stage.addEventListener("focus", () => stage.matches(":focus-visible") && this.go(this.point ?? this.middle()));
  }

  follow(stage) {
    const at = (event) => {
      const box = stage.getBoundingClientRect();
      const along = (part, size) => Math.min(size - 1, Math.max(0, Math.floor(part * size)));
      this.move({
        x: along((event.clientX - box.left) / box.width, this.width),
        y: along((event.clientY - box.top) / box.height, this.height),
      });
    };
    stage.addEventListener("pointermove", at);
    stage.addEventListener("pointerdown", at);
    stage.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && this.move(null));
  }

  middle() {
    return { x: Math.floor(this.width / 2), y: Math.floor(this.height / 2) };
  }

  key(event) {
    if (event.key === "Escape") this.move(null);
    const arrow = ARROWS[event.key];
    if (!arrow || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    const step = event.shiftKey ? 1 : Math.max(1, Math.round(Math.max(this.width, this.height) / STEPS));
    const { x, y } = this.point ?? this.middle();
    const within = (value, size) => Math.min(size - 1, Math.max(0, value));
    this.go({ x: within(x + arrow[0] * step, this.width), y: within(y + arrow[1] * step, this.height) });
  }

  /** Move by key: what is there is spoken once the keys rest. */
  go(point) {
    this.move(point);
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => { this.spoken.textContent = this.under.textContent; }, QUIET);
  }

  move(point) {
    this.point = point;
    for (const { cross } of this.panels) {
      cross.hidden = point === null;
      if (point === null) continue;
      cross.style.setProperty("left", `${(100 * (point.x + 0.5)) / this.width}%`);
      cross.style.setProperty("top", `${(100 * (point.y + 0.5)) / this.height}%`);
    }
    this.under.classList.toggle("pointing", point !== null);
    this.under.textContent = point ? this.words(point) : this.hint();
  }

  hint() {
    const pointed = this.panels.some(({ answer }) => answer?.labels);
    return pointed ? "Point at a pixel, or tab to an answer and use the arrow keys." : "";
  }

  words({ x, y }) {
    const at = y * this.width + x;
    const said = this.panels.filter(({ answer }) => answer?.labels).map(({ answer }) => {
      const value = answer.labels.values[at];
      const name = value === IGNORE ? "no class" : (answer.classes.find(({ id }) => id === value)?.name ?? `class ${value}`);
      const sure = answer.confidence ? `, ${percent(answer.confidence.values[at] / 255)} sure` : "";
      return this.answers.length > 1 ? `${answer.model} says ${name}${sure}` : `${name}${sure}`;
    });
    const apart = this.apart?.values[at] ? " They differ here." : "";
    return `x ${x}, y ${y}: ${said.join("; ")}.${apart}`;
  }

  /** Draw all: opacity from 0 to 1; classes that are hidden, and the one that is lit, by name. */
  draw({ view, opacity, marked, hidden, lit }) {
    const key = JSON.stringify([view, [...hidden], lit]);
    if (key !== this.drawnOf) this.layers.clear(); // else only the opacity or the marks have changed
    this.drawnOf = key;
    for (const { canvas, answer } of this.panels) {
      if (!answer) compose(canvas, this.picture, {}, 0);
      else if (answer.picture) compose(canvas, answer.picture, {}, 0);
      else compose(canvas, this.picture, this.layersOf(answer, view, hidden, lit, marked), opacity);
    }
  }

  layersOf(answer, view, hidden, lit, marked) {
    if (!this.layers.has(answer)) {
      const layers = view === "confidence" && answer.confidence
        ? { areas: confidenceLayer(answer.confidence, this.w, this.h) }
        : classLayers(answer.labels, this.w, this.h, answer.classes, hidden, lit);
      this.layers.set(answer, layers);
    }
    return { ...this.layers.get(answer), marks: marked ? this.marks : null };
  }
}
