// Reads streams of bytes without leaving buffers to the garbage collector, which lets hundreds of megabytes
// pile up before it runs. Where streams can fill a buffer of ours, one buffer serves all streams that are
// read one after the other. Where they cannot (WebKit), each array that a stream gives is freed as soon as it
// was read.

const BUFFER_BYTES = 256 << 10; // fits a processor core's own cache on the way to the engine's memory

/** Readers that wait for bytes. Chromium frees the stream of a Blob that nothing else refers to together with
 * whoever waits for
 *  its bytes, and the load never ends. @type {Set<object>} */
const waiting = new Set();

/** Buffers of readers that have ended. @type {ArrayBuffer[]} */
const spare = [];

/** A port that leads nowhere: a buffer that is transferred to it is freed. */
const nowhere = new MessageChannel().port1;
nowhere.close();

/** Whether a stream that nobody reads yet can fill a buffer of the caller's. @param {ReadableStream} stream */
export function fillsBuffers(stream) {
  try {
    stream.getReader({ mode: 'byob' }).releaseLock();
    return true;
  } catch {
    return false;
  }
}

export class ByteReader {
  /** @type {any} one of two kinds of reader */
  #reader;
  /** Ours, to be filled; or that of the array that the stream gave last. @type {ArrayBuffer | null} */
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
    if (!this.#fills) this.#releaseBuffer();
    waiting.add(this);
    try {
      const target = this.#fills ? new Uint8Array(this.#buffer ?? new ArrayBuffer(BUFFER_BYTES)) : undefined;
      const { value, done } = await this.#reader.read(target);
      this.#buffer = value?.buffer ?? null; // the stream had it meanwhile
      if (!done) return value;
      this.#releaseBuffer();
      return null;
    } finally {
      waiting.delete(this);
    }
  }

  cancel() {
    this.#reader.cancel().catch(() => {});
    this.#releaseBuffer();
  }

  /** Lets another reader have the buffer, unless the stream has it: then it is lost with the stream. */
  #releaseBuffer() {
    const buffer = this.#buffer;
    this.#buffer = null;
    if (!buffer?.byteLength) return;
    if (this.#fills) spare.push(buffer);
    else nowhere.postMessage(null, [buffer]);
  }
}

/** @param {Blob} blob @returns {AsyncGenerator<Uint8Array, void>} arrays that are valid until the next one is asked for */
export async function* bytesOf(blob) {
  const reader = new ByteReader(blob.stream());
  try {
    for (let bytes; (bytes = await reader.read());) yield bytes;
  } finally {
    reader.cancel();
  }
}
