// Reading a stream of bytes through one buffer that is used again, for one stream after the other. Pieces that streams make
// themselves, or a buffer for each stream, are left to the garbage collector, which lets tens of megabytes pile up before it
// looks; and to fill them takes twice the time.

const PIECE_BYTES = 256 << 10; // stays in a core's own cache on its way to the engine's memory

/** Readers whose bytes are being waited for. Chromium frees a Blob's stream that nothing else refers to, and with it whoever
 *  waits for its bytes: the load then never ends. @type {Set<object>} */
const waited = new Set();

/** Buffers of readers that have ended. @type {ArrayBuffer[]} */
const spare = [];

export class PieceReader {
  /** @type {any} one of two kinds of reader */
  #reader;
  /** Null where the stream fills none of ours, or this reader has ended. @type {ArrayBuffer | null} */
  #buffer = null;

  /** @param {ReadableStream<Uint8Array>} stream */
  constructor(stream) {
    try {
      this.#reader = stream.getReader({ mode: 'byob' });
      this.#buffer = spare.pop() ?? new ArrayBuffer(PIECE_BYTES);
    } catch {
      this.#reader = stream.getReader();
    }
  }

  /** The next bytes, valid until the next call or the end; null at the end. @returns {Promise<Uint8Array | null>} */
  async read() {
    waited.add(this);
    try {
      const { value, done } = await this.#reader.read(this.#buffer ? new Uint8Array(this.#buffer) : undefined);
      if (this.#buffer) this.#buffer = value?.buffer ?? null; // it was handed over, and comes back
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

  /** Lets another reader have the buffer, unless it is the stream's: then it is lost with the stream. */
  #giveBack() {
    if (this.#buffer?.byteLength) spare.push(this.#buffer);
    this.#buffer = null;
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
