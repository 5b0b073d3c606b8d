// The bytes of a PNG -> its own numbers: class indices or grey values, one byte a pixel.
//
// A canvas would give colours, of which two classes may have the same, and which some browsers alter on purpose.

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const GREY = 0, PALETTE = 3;

/** base64 -> bytes. */
export function bytesOf(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

/** Bytes of a PNG with a palette or grey values, of 8 bits -> { width, height, values }; throws for any other. */
export async function decode(bytes) {
  if (SIGNATURE.some((byte, i) => bytes[i] !== byte)) throw new Error("not a PNG");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const packed = [];
  let header;
  for (let at = 8; at + 8 <= bytes.length; ) {
    const length = view.getUint32(at);
    const kind = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    const data = bytes.subarray(at + 8, at + 8 + length);
    if (kind === "IHDR") header = data;
    if (kind === "IDAT") packed.push(data);
    at += 12 + length; // length, kind, data, checksum
  }
  const width = view.getUint32(16), height = view.getUint32(20);
  const [depth, color, , , interlaced] = header.subarray(8);
  if (![GREY, PALETTE].includes(color) || depth !== 8 || interlaced) throw new Error("a PNG of another kind");
  return { width, height, values: unfilter(await inflate(packed), width, height) };
}

async function inflate(parts) {
  const stream = new Blob(parts).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Rows as they are, of rows written as differences (PNG, third edition, section 9); a pixel is a byte. */
function unfilter(raw, width, height) {
  const out = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    const from = y * (width + 1) + 1, to = y * width;
    const filter = raw[from - 1];
    for (let x = 0; x < width; x++) {
      const left = x ? out[to + x - 1] : 0;
      const above = y ? out[to + x - width] : 0;
      const corner = x && y ? out[to + x - width - 1] : 0;
      out[to + x] = raw[from + x] + predicted(filter, left, above, corner);
    }
  }
  return out;
}

function predicted(filter, left, above, corner) {
  if (filter === 0) return 0;
  if (filter === 1) return left;
  if (filter === 2) return above;
  if (filter === 3) return (left + above) >> 1;
  const near = left + above - corner;
  const toLeft = Math.abs(near - left), toAbove = Math.abs(near - above), toCorner = Math.abs(near - corner);
  if (toLeft <= toAbove && toLeft <= toCorner) return left;
  return toAbove <= toCorner ? above : corner;
}
