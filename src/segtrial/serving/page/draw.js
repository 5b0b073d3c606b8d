// A picture, label maps and confidences in; what is drawn, counted and read off below a pointer out.

/** No class: where a network was not asked, or nothing holds. */
export const IGNORE = 255;

const LARGEST_SHOWN = 2_000_000; // pixels of a canvas on the page: more than a panel has, and quick to fill
const ENOUGH_SHOWN = 640; // pixels across, up to which a small picture is enlarged, so that marks are fine

// Every 32nd colour of the ramp that `segtrial predict` draws confidences with: even steps of lightness.
const RAMP = [
  [30, 16, 91], [67, 40, 97], [97, 66, 102], [125, 92, 106], [152, 120, 110],
  [179, 149, 113], [205, 177, 114], [232, 208, 115], [255, 239, 114],
];

/** The extent of the canvas that shows a picture of `width` x `height`. */
export function shownSize(width, height) {
  const enlarged = Math.max(1, Math.floor(ENOUGH_SHOWN / Math.max(width, height)));
  const scale = Math.min(enlarged, Math.sqrt(LARGEST_SHOWN / (width * height)));
  return { w: Math.max(1, Math.round(width * scale)), h: Math.max(1, Math.round(height * scale)) };
}

export function canvasOf(w, h) {
  const canvas = document.createElement("canvas");
  canvas.width = w;
  canvas.height = h;
  return canvas;
}

/** Values -> colours: a table of 256 entries, each [red, green, blue, alpha]. */
function table(entry) {
  const bytes = new Uint8ClampedArray(256 * 4);
  for (let value = 0; value < 256; value++) bytes.set(entry(value), 4 * value);
  return new Uint32Array(bytes.buffer);
}

/** The canvas of a map (nearest pixels), each value in the colour of `colors`; with `only`, nothing elsewhere. */
function painted(map, w, h, colors, only) {
  const pixels = new Uint32Array(w * h);
  for (let y = 0, to = 0; y < h; y++) {
    const row = Math.floor(((y + 0.5) * map.height) / h) * map.width;
    for (let x = 0; x < w; x++, to++) {
      const from = row + Math.floor(((x + 0.5) * map.width) / w);
      if (!only || only(from, x, y)) pixels[to] = colors[map.values[from]];
    }
  }
  const canvas = canvasOf(w, h);
  canvas.getContext("2d").putImageData(new ImageData(new Uint8ClampedArray(pixels.buffer), w, h), 0, 0);
  return canvas;
}

/** Colours of classes, by index: those of `hidden` names are left out, and all but the one `pointed` at are faint. */
function classColors(classes, hidden, pointed) {
  const lit = hidden.has(pointed) ? null : pointed;
  const rows = new Map(classes.map((each) => [each.id, each]));
  return table((value) => {
    const one = rows.get(value);
    if (!one || hidden.has(one.name)) return [0, 0, 0, 0];
    return [...one.color, lit === null || lit === one.name ? 255 : 40];
  });
}

/** The layers of a label map: its areas, and the one-pixel borders that keep poles visible. */
export function classLayers(labels, w, h, classes, hidden, lit) {
  const colors = classColors(classes, hidden, lit);
  const { width, height, values } = labels;
  const border = (at) =>
    (at % width < width - 1 && values[at] !== values[at + 1]) ||
    (at + width < width * height && values[at] !== values[at + width]);
  return { areas: painted(labels, w, h, colors), borders: painted(labels, w, h, colors, border) };
}

export function confidenceLayer(confidence, w, h) {
  return painted(confidence, w, h, table((value) => [...rampColor(value), 255]));
}

export function rampColor(value) {
  const place = (value / 255) * (RAMP.length - 1), low = Math.min(RAMP.length - 2, Math.floor(place));
  return RAMP[low].map((channel, i) => Math.round(channel + (place - low) * (RAMP[low + 1][i] - channel)));
}

/** Black and white stripes, with gaps, where `apart` is 1: seen on any colour, and without seeing colours. */
export function marksLayer(apart, w, h) {
  const pen = Math.max(2, Math.round(Math.max(w, h) / 320));
  const colors = table((value) => (value === 1 ? [0, 0, 0, 255] : value === 2 ? [255, 255, 255, 255] : [0, 0, 0, 0]));
  const band = { width: w, height: h, values: new Uint8Array(w * h) };
  for (let y = 0, to = 0; y < h; y++) {
    const row = Math.floor(((y + 0.5) * apart.height) / h) * apart.width;
    for (let x = 0; x < w; x++, to++) {
      const stripe = Math.floor((x + y) / pen) % 4;
      const differs = apart.values[row + Math.floor(((x + 0.5) * apart.width) / w)];
      if (differs && stripe < 2) band.values[to] = stripe + 1;
    }
  }
  return painted(band, w, h, colors);
}

/** Draw the picture and the layers over it; opacity from 0 to 1. Borders are full from one half on. */
export function compose(canvas, picture, layers, opacity) {
  const pen = canvas.getContext("2d");
  const { width, height } = canvas;
  pen.globalAlpha = 1;
  pen.clearRect(0, 0, width, height);
  pen.imageSmoothingEnabled = picture === null || width <= picture.width; // a small picture shows its pixels
  if (picture) pen.drawImage(picture, 0, 0, width, height);
  const draw = (layer, alpha) => {
    pen.globalAlpha = alpha;
    if (layer && alpha > 0) pen.drawImage(layer, 0, 0, width, height);
  };
  draw(layers.areas, opacity);
  draw(layers.borders, Math.min(1, 2 * opacity));
  draw(layers.marks, 1);
  pen.globalAlpha = 1;
}

/** Where two answers name different classes: { values (0 or 1), width, height, share, pairs }, most frequent first. */
export function differences(one, other) {
  const names = [one, other].map(({ classes }) => new Map(classes.map(({ id, name }) => [id, name])));
  const counts = new Map();
  const { width, height } = one.labels, total = width * height;
  const values = new Uint8Array(total);
  const same = new Uint8Array(256 * 256);
  for (let a = 0; a < 256; a++)
    for (let b = 0; b < 256; b++) same[a * 256 + b] = names[0].get(a) === names[1].get(b) ? 1 : 0;
  let apart = 0;
  for (let at = 0; at < total; at++) {
    const pair = one.labels.values[at] * 256 + other.labels.values[at];
    if (same[pair]) continue;
    values[at] = 1;
    apart++;
    counts.set(pair, (counts.get(pair) ?? 0) + 1);
  }
  const pairs = [...counts].sort((x, y) => y[1] - x[1]).map(([pair, count]) => ({
    one: names[0].get(pair >> 8) ?? "no class", other: names[1].get(pair & 255) ?? "no class", share: count / total,
  }));
  return { values, width, height, share: apart / total, pairs };
}
