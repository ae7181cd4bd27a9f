// Reading a stream of bytes so that nothing is left to the garbage collector, which lets hundreds of megabytes pile up before it
// looks: through one buffer that is used again, for one stream after the other; or, where streams fill no buffer of the
// caller's (WebKit), with each of their pieces freed as soon as it was read.

const PIECE_BYTES = 256 << 10; // stays in a core's own cache on its way to the engine's memory

/** Readers whose bytes are being waited for. Chromium frees a Blob's stream that nothing else refers to, and with it whoever
 *  waits for its bytes: the load then never ends. @type {Set<object>} */
const waited = new Set();

/** Buffers of readers that have ended. @type {ArrayBuffer[]} */
const spare = [];

/** A port that leads nowhere: what is handed over to it is freed. */
const nowhere = new MessageChannel().port1;
nowhere.close();

/** Whether a stream that nobody reads yet fills buffers of the caller's. @param {ReadableStream} stream */
export function fillsBuffers(stream) {
  try {
    stream.getReader({ mode: 'byob' }).releaseLock();
    return true;
  } catch {
    return false;
  }
}

export class PieceReader {
  /** @type {any} one of two kinds of reader */
  #reader;
  /** Of ours, to be filled; or of the piece that the stream gave last. @type {ArrayBuffer | null} */
  #buffer = null;
  #fills;

  /** @param {ReadableStream<Uint8Array>} stream */
  constructor(stream) {
    this.#fills = fillsBuffers(stream);
    this.#reader = stream.getReader(this.#fills ? { mode: 'byob' } : undefined);
    if (this.#fills) this.#buffer = spare.pop() ?? null;
  }

  /** The next bytes, valid until the next call or the end; null at the end. @returns {Promise<Uint8Array | null>} */
  async read() {
    if (!this.#fills) this.#giveBack();
    waited.add(this);
    try {
      const room = this.#fills ? new Uint8Array(this.#buffer ?? new ArrayBuffer(PIECE_BYTES)) : undefined;
      const { value, done } = await this.#reader.read(room);
      this.#buffer = value?.buffer ?? null; // it was handed over, and comes back
      if (!done) return value;
      this.#giveBack();
      return null;
    } finally {
      waited.delete(this);
    }
  }

  cancel() {
    this.#reader.cancel().catch(() => {});
    this.#giveBack();
  }

  /** Lets another reader have the buffer, unless the stream has it: then it is lost with that. */
  #giveBack() {
    const buffer = this.#buffer;
    this.#buffer = null;
    if (!buffer?.byteLength) return;
    if (this.#fills) spare.push(buffer);
    else nowhere.postMessage(null, [buffer]);
  }
}

/** @param {Blob} blob @returns {AsyncGenerator<Uint8Array, void>} each piece is valid until the next one is asked for */
export async function* piecesOf(blob) {
  const reader = new PieceReader(blob.stream());
  try {
    for (let piece; (piece = await reader.read());) yield piece;
  } finally {
    reader.cancel();
  }
}
