// Reading a Blob. Blob.arrayBuffer and streams that make their own pieces leave every byte to the garbage collector, which
// lets a model's whole size pile up before it looks; one buffer that is used again is also twice as fast.

const PIECE_BYTES = 256 << 10; // stays in a core's own cache on its way to the engine's memory

/** @param {ReadableStream<Uint8Array>} stream @returns {any} a reader */
function readerOf(stream) {
  try {
    return stream.getReader({ mode: 'byob' });
  } catch {
    return stream.getReader(); // where streams of Blobs fill no buffer of the caller's
  }
}

/**
 * @param {Blob} blob
 * @returns {AsyncGenerator<Uint8Array, void>} each piece is valid until the next one is asked for
 */
export async function* piecesOf(blob) {
  const reader = readerOf(blob.stream());
  try {
    for (let buffer = new ArrayBuffer(PIECE_BYTES); ;) {
      const { value, done } = await reader.read(new Uint8Array(buffer));
      if (done) return;
      yield value;
      buffer = value.buffer;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
