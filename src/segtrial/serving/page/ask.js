// A picture file and a model's name -> the server's answer, or a Trouble that says what, what was found, and the fix.

import { bytesOf, decode } from "./png.js";

const PATIENCE = 120_000; // milliseconds; the server gives up long before

export class Trouble extends Error {
  /** `again`: whether the same may succeed later. */
  constructor(what, found, fix, again = false) {
    super(`${what}: ${found}. ${fix}`);
    Object.assign(this, { what, found, fix, again });
  }
}

/** The models that the server has, each with its task, classes and limits. */
export async function listModels() {
  return (await (await asked("models")).json()).models;
}

/** Everything that `model` says of a picture: shares of classes, and label map, confidence or coloured picture. */
export async function answerOf(model, file, signal) {
  const answer = await (await predicted(model.name, file, "json", signal)).json();
  const png = answer.labels ? new Blob([bytesOf(answer.labels)], { type: "image/png" }) : null;
  const colors = model.task.startsWith("colorization"); // then the PNG holds colours, not classes
  const map = async (base64) => (base64 && !colors ? decode(bytesOf(base64)) : null);
  return {
    ...answer,
    classes: answer.classes.map((each) => ({ ...each, share: each.share ?? each.probability })),
    task: model.task,
    png,
    picture: colors ? await createImageBitmap(png) : null,
    labels: await map(answer.labels),
    confidence: await map(answer.confidence),
  };
}

/** The overlay's PNG as the server draws it, where this browser cannot draw the picture. */
export async function overlayOf(model, file, opacity) {
  return (await predicted(model, file, `overlay&opacity=${opacity}`)).blob();
}

function predicted(model, file, answer, signal) {
  let body = file;
  if (!file.type.startsWith("image/")) { // as a form, since the type of the body would be refused before a look inside
    body = new FormData();
    body.append("image", file);
  }
  const place = `predict?model=${encodeURIComponent(model)}&answer=${answer}`;
  return asked(place, { method: "POST", body, signal }, file.name);
}

async function asked(place, { signal, ...options } = {}, name = "") {
  const limit = AbortSignal.timeout(PATIENCE);
  let response;
  try {
    response = await fetch(place, { ...options, signal: signal ? AbortSignal.any([signal, limit]) : limit });
  } catch (error) {
    if (signal?.aborted) throw error;
    const found = error.name === "TimeoutError" ? `it was silent for ${PATIENCE / 1000} seconds` : "no connection";
    throw new Trouble("The server does not answer", found, "Start segtrial serve again, then try again", true);
  }
  if (!response.ok) throw await refusal(response, name);
  return response;
}

async function refusal(response, name) {
  const said = await response.json().catch(() => null);
  const { what, found, fix } = said?.error ?? {};
  const title = name ? `The server refused ${name}` : "The server refused";
  const busy = response.status >= 500; // it may be better in a moment
  if (what) return new Trouble(title, `${what}: ${found}`, fix, busy);
  return new Trouble(title, `it answered ${response.status} without saying why`, "Look at its terminal", busy);
}
