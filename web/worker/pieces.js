// Reading a stream of bytes through one buffer that is used again. Pieces that streams make themselves are left to the
// garbage collector, which lets a model's whole size pile up before it looks; and to fill them takes twice the time.

const PIECE_BYTES = 256 << 10; // stays in a core's own cache on its way to the engine's memory

/** Readers whose bytes are being waited for. Chromium frees a Blob's stream that nothing else refers to, and with it whoever
 *  waits for its bytes: the load then never ends. @type {Set<object>} */
const waited = new Set();

export class PieceReader {
  /** @type {any} one of two kinds of reader */
  #reader;
  #buffer = new ArrayBuffer(PIECE_BYTES);

  /** @param {ReadableStream<Uint8Array>} stream */
  constructor(stream) {
    try {
      this.#reader = stream.getReader({ mode: 'byob' });
    } catch {
      this.#reader = stream.getReader(); // where this kind of stream fills no buffer of the caller's
    }
  }

  /** The next bytes, valid until the next call; null at the end. @returns {Promise<Uint8Array | null>} */
  async read() {
    waited.add(this);
    try {
      const { value, done } = await this.#reader.read(new Uint8Array(this.#buffer));
      if (done) return null;
      this.#buffer = value.buffer;
      return value;
    } finally {
      waited.delete(this);
    }
  }

  cancel() {
    this.#reader.cancel().catch(() => {});
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
