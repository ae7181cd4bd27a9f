// Where a job's file goes, piece by piece: into the cache of models, or into a Blob, whose bytes the browser
// keeps where it likes. A job writes in order, and then its header once more.
import { xxh32 } from '../shared/checksum.js';
import { IMPORT, MAX_CHUNK_BYTES as PIECE, newId } from '../worker/layout.js';

/**
 * @typedef {import('../worker/store.js').Store} Store
 * @typedef {object} Output
 * @property {(offset: number, bytes: Uint8Array) => Promise<void> | void} write
 * @property {() => Promise<Blob>} finish  all is written; the file, whose bytes are read when it is
 * @property {() => Promise<import('../nutshell.d.ts').CachedModel | null>} keep  the file was found good
 * @property {() => Promise<void>} drop  nothing is left
 */

/** In memory, as far as the browser does not put Blobs on the disk. @implements {Output} */
export class BlobOutput {
  #whole = new Blob();
  /** The newest bytes. */
  #piece = new Uint8Array(PIECE);
  #fill = 0;

  #flush() {
    this.#whole = new Blob([this.#whole, this.#piece.subarray(0, this.#fill)]);
    this.#fill = 0;
  }

  /** @param {number} offset @param {Uint8Array} bytes */
  write(offset, bytes) {
    if (offset !== this.#whole.size + this.#fill) {
      this.#flush();
      const own = /** @type {Uint8Array<ArrayBuffer>} */ (bytes);
      this.#whole = new Blob([this.#whole.slice(0, offset), own, this.#whole.slice(offset + bytes.length)]);
      return;
    }
    for (let rest = bytes; rest.length;) {
      const some = rest.subarray(0, PIECE - this.#fill);
      this.#piece.set(some, this.#fill);
      this.#fill += some.length;
      rest = rest.subarray(some.length);
      if (this.#fill === PIECE) this.#flush();
    }
  }

  async finish() {
    this.#flush();
    return this.#whole;
  }

  async keep() {
    return null;
  }

  async drop() {
    this.#whole = new Blob();
  }
}

/** In the cache, under a key of incomplete imports until the file was found good. @implements {Output} */
export class StoredOutput {
  #store;
  #manifest;
  /** Checksums of the chunks that are stored. @type {number[]} */
  #sums = [];
  #chunk = new Uint8Array(PIECE);
  #fill = 0;
  #size = 0;
  /** A stored chunk that is written to again. @type {{ index: number, bytes: Uint8Array } | null} */
  #again = null;

  /** @param {Store} store @param {import('../worker/store.js').Manifest} manifest */
  constructor(store, manifest) {
    this.#store = store;
    this.#manifest = manifest;
  }

  /** Rejects with 'quota' where so many bytes cannot be stored. @param {Store} store @param {string} name
   *  @param {number} bytes */
  static async begin(store, name, bytes) {
    await store.reserve(bytes, null);
    return new StoredOutput(store, await store.create({ key: IMPORT + newId(), url: null, name, size: 0, etag: null }));
  }

  /** @param {number} offset @param {Uint8Array} bytes */
  async write(offset, bytes) {
    for (let at = offset, rest = bytes; rest.length;) {
      const index = Math.floor(at / PIECE), from = at % PIECE;
      const some = rest.subarray(0, PIECE - from);
      (await this.#chunkOf(index)).set(some, from);
      at += some.length;
      rest = rest.subarray(some.length);
      this.#size = Math.max(this.#size, at);
      if (index !== this.#sums.length) continue;
      this.#fill = Math.max(this.#fill, from + some.length);
      if (this.#fill === PIECE) await this.#flush();
    }
  }

  /** @param {number} index */
  async #chunkOf(index) {
    if (index === this.#sums.length) return this.#chunk;
    if (this.#again?.index !== index) {
      await this.#flushAgain();
      const chunk = await this.#store.getChunk(this.#manifest, index);
      if (!chunk) throw new Error('a chunk is gone');
      this.#again = { index, bytes: new Uint8Array(await new Blob([chunk.bytes]).arrayBuffer()) };
    }
    return this.#again.bytes;
  }

  async #flush() {
    const bytes = this.#chunk.subarray(0, this.#fill), sum = xxh32(bytes);
    await this.#store.putChunk(this.#manifest, this.#sums.length, bytes, sum);
    this.#sums.push(sum);
    this.#fill = 0;
  }

  async #flushAgain() {
    if (!this.#again) return;
    const { index, bytes } = this.#again, sum = xxh32(bytes);
    await this.#store.putChunk(this.#manifest, index, bytes, sum);
    this.#sums[index] = sum;
    this.#again = null;
  }

  async finish() {
    await this.#flushAgain();
    if (this.#fill) await this.#flush();
    this.#manifest.size = this.#size;
    const chunks = [];
    for (let i = 0; i < this.#sums.length; i++) {
      const chunk = await this.#store.getChunk(this.#manifest, i);
      if (!chunk) throw new Error('a chunk is gone');
      chunks.push(chunk.bytes);
    }
    return new Blob(chunks);
  }

  async keep() {
    this.#manifest.key = `bytes:${this.#manifest.id}`;
    const id = await this.#store.complete(this.#manifest, this.#size, this.#sums);
    const manifest = await this.#store.byId(id);
    return manifest ? this.#store.entry(manifest) : null;
  }

  async drop() {
    await this.#store.remove(this.#manifest.id).catch(() => {}); // the next page that opens the cache does it
  }
}
