// The chunks that are not in the cache, fetched from a source. Where the source gives parts of the file, several are fetched
// at a time: more while that is quicker, fewer when the server refuses. Where it does not, one answer is read from its
// beginning to its end. The engine takes chunks in order; those that come early wait, and no more are fetched than may wait.
import { Aborted, NutshellError } from '../shared/errors.js';

const PART_BYTES = 4 << 20, PART_CHUNKS = 4; // of a request, at most: what is on its way is lost when the page ends
const SIZE_PER_LANE = 64 << 20; // bytes of a file
const UNSTORED = 2; // chunks that may wait to be stored while more are fetched
const RETRY_AFTER = [300, 1000, 3000]; // milliseconds, counted anew after each byte that arrives
const QUICKER = 1.15; // so much quicker, and one more part is fetched at a time

/** @param {number} milliseconds @param {AbortSignal} signal */
function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(done, milliseconds);
    signal.addEventListener('abort', done);
    function done() {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve(undefined);
    }
  });
}

/** @param {unknown} error a failure that may be gone the next time */
const isTransient = (error) => error instanceof NutshellError && (error.code === 'network' || /^http-5/.test(error.code));

/** @param {unknown} error @returns {error is NutshellError} */
const isOfServer = (error) => error instanceof NutshellError && /^(network|http-)/.test(error.code);

/** Thrown in a lane whose part is no longer wanted. */
class Stale extends Error {}

/**
 * Does what may fail until it succeeds, is in vain, or the source has no other place to try.
 * @template T
 * @param {import('./source.js').Source} source
 * @param {AbortSignal} signal
 * @param {() => Promise<T>} work
 * @param {() => number} progress  grows where a failed try was of use
 * @returns {Promise<T>}
 */
export async function persist(source, signal, work, progress = () => 0) {
  for (let failures = 0; ;) {
    const before = progress(), { place } = source;
    try {
      return await work();
    } catch (error) {
      if (progress() > before) failures = 0;
      if (signal.aborted || !(error instanceof NutshellError)) throw error;
      if (isTransient(error) && failures < RETRY_AFTER.length) await pause(RETRY_AFTER[failures++], signal);
      else if (source.turnAway(place)) failures = 0;
      else throw error;
    }
  }
}

/**
 * Chunks [at, last] that one lane fetches, one after the other.
 * @typedef {object} Part
 * @property {number} at       the chunk that is being filled
 * @property {number} last     Infinity: to the end of the file
 * @property {Uint8Array | null} buffer  of chunk `at`
 * @property {number} fill     bytes in it
 * @property {boolean} waits   until the engine has come nearer
 * @property {import('./source.js').Body | null} body  that it is filled from
 *
 * @typedef {object} Needs
 * @property {import('./source.js').Source} source  opened
 * @property {number} chunkBytes
 * @property {AbortSignal} signal
 * @property {(index: number) => boolean} has  whether this chunk need not be fetched
 * @property {(index: number, bytes: Uint8Array) => Promise<unknown>} arrived  when it resolves the bytes may be overwritten
 * @property {(bytes: number) => void} received  so many more have come
 */

export class Downloads {
  #needs;
  #cursor;
  #wanted;
  /** The answer that the source was opened with. @type {import('./source.js').Body | null} */
  #opened;
  /** The one answer of a source that gives no parts goes on to the file's end. */
  #streams = false;
  /** Parts that are being fetched. @type {Set<Part>} */
  #parts = new Set();
  /** Parts that were begun and given back. @type {Part[]} */
  #returned = [];
  /** Chunks that have come and were not taken. @type {Map<number, { bytes: Uint8Array, kept: Promise<unknown> }>} */
  #ready = new Map();
  #taken = false; // whether the engine has taken a chunk
  #unstored = 0; // chunks that have come and whose bytes are still needed to store them
  /** Buffers to be filled again. @type {Uint8Array[]} */
  #free = [];
  #allowed = 1; // parts at a time
  #growing = true;
  #speed = 0;
  #since = performance.now();
  #bytes = 0; // since then
  #ended = false; // the source has given all
  /** @type {{ error: unknown } | null} */
  #failure = null;
  /** Whoever waits for something to change. @type {(() => void)[]} */
  #waiting = [];

  /** @param {Needs} needs @param {number} first chunk that is wanted @param {import('./source.js').Body} opened there */
  constructor(needs, first, opened) {
    this.#needs = needs;
    this.#cursor = this.#wanted = first;
    this.#opened = opened;
    needs.signal.addEventListener('abort', () => this.stop());
    if (!needs.source.ranges) this.#stream(first);
  }

  /** Whether a chunk that has not been taken comes from here, though it may be stored by now. @param {number} index */
  covers(index) {
    return this.#streams || this.#ready.has(index)
      || [...this.#parts, ...this.#returned].some(({ at, last }) => index >= at && index <= last);
  }

  /** A chunk, valid until `release`; null after the file's end. They are asked for in order. @param {number} index */
  async chunk(index) {
    this.#wanted = index;
    if (index < this.#cursor && !this.covers(index)) this.#returned.unshift(newPart(index, index));
    this.#changed();
    for (;;) {
      this.#startLanes();
      const ready = this.#ready.get(index);
      if (ready) return ready.bytes;
      if (this.#failure) throw this.#failure.error;
      if (index >= this.#count || (this.#ended && this.#parts.size === 0)) return null;
      await this.#change();
    }
  }

  /** The chunk was taken; its buffer is used again once it is stored. @param {number} index */
  release(index) {
    const ready = this.#ready.get(index);
    this.#taken = true;
    this.#ready.delete(index);
    ready?.kept.then(() => this.#free.push(new Uint8Array(ready.bytes.buffer)));
  }

  /** No more is wanted. @param {unknown} [error] */
  stop(error = new Aborted()) {
    this.#failure ??= { error };
    for (const { body } of this.#parts) body?.cancel();
    this.#opened?.cancel();
    this.#changed();
  }

  #changed() {
    for (const wake of this.#waiting.splice(0)) wake();
  }

  #change() {
    return new Promise((resolve) => this.#waiting.push(() => resolve(undefined)));
  }

  /* ---- which parts ---- */

  /** Chunks of the file; Infinity while its size is unknown. */
  get #count() {
    const { source, chunkBytes } = this.#needs;
    return source.size ? Math.ceil(source.size / chunkBytes) : Infinity;
  }

  /** Chunks that may wait for the engine. */
  get #ahead() {
    return this.#streams ? 1 : this.#allowed * chunksOfPart(this.#needs.chunkBytes);
  }

  /** The next chunks to fetch, as many as one request is for; null where that is for later. @returns {Part | null} */
  #nextPart() {
    const back = this.#returned.shift();
    if (back) return back;
    const { has, chunkBytes } = this.#needs;
    while (this.#cursor < this.#count && has(this.#cursor)) this.#cursor++;
    const first = this.#cursor, most = chunksOfPart(chunkBytes);
    if (first >= this.#count || first > this.#wanted + this.#ahead) return null;
    while (this.#cursor < this.#count && this.#cursor - first < most && !has(this.#cursor)) this.#cursor++;
    return newPart(first, this.#cursor - 1);
  }

  /** The source gives no parts: all from this chunk on comes in one answer. @param {number} index */
  #stream(index) {
    this.#streams = true;
    this.#growing = false;
    this.#allowed = 1;
    this.#cursor = Infinity;
    for (const part of [...this.#parts, ...this.#returned]) {
      part.body?.cancel();
      this.#needs.received(-part.fill);
    }
    this.#parts.clear();
    this.#returned = [newPart(index, Infinity)];
    this.#changed();
  }

  /** Whether a chunk may be fetched: while few wait for the engine or the disk. Until the engine has taken one nothing is
   *  stored, so that the wanted one must come whatever waits. @param {number} index */
  #mayCome(index) {
    if (!this.#taken && index <= this.#wanted) return true;
    return index <= this.#wanted + this.#ahead && this.#unstored < UNSTORED;
  }

  /** @param {Part} part */
  async #turn(part) {
    while (!this.#failure && this.#parts.has(part) && !this.#mayCome(part.at)) {
      part.waits = true;
      this.#startLanes(); // others may be nearer
      await this.#change();
    }
    part.waits = false;
    this.#check(part);
  }

  /** @param {Part} part */
  #check(part) {
    if (this.#failure || !this.#parts.has(part)) throw new Stale();
  }

  /* ---- lanes ---- */

  /** Parts that are being fetched now. */
  get #busy() {
    return [...this.#parts].filter(({ waits }) => !waits).length;
  }

  #startLanes() {
    while (this.#busy < this.#allowed && !this.#failure) {
      const part = this.#nextPart();
      if (!part) return;
      this.#lane(part);
    }
  }

  /** @param {Part} part */
  async #lane(part) {
    const { source, signal } = this.#needs;
    this.#parts.add(part);
    const isOneOfMany = this.#busy > 1;
    try {
      const read = () => this.#read(part);
      if (isOneOfMany) await read();
      else await persist(source, signal, read, () => this.#position(part));
      this.#parts.delete(part);
      this.#tune();
    } catch (error) {
      if (error instanceof Stale) return;
      if ((isOneOfMany || this.#busy > 1) && isOfServer(error)) this.#giveBack(part, error);
      else this.stop(error);
    } finally {
      this.#parts.delete(part);
      this.#changed();
    }
    if (!this.#failure) this.#startLanes();
  }

  /**
   * A failure beside other lanes may mean that the server wants fewer of them.
   * @param {Part} part
   * @param {NutshellError} error
   */
  #giveBack(part, error) {
    this.#allowed = Math.max(1, this.#busy >> 1);
    if (error.code !== 'network') this.#growing = false;
    this.#returned.push(part);
    this.#returned.sort((a, b) => a.at - b.at);
  }

  /** One more lane while the last one more made it quicker, and what is on its way stays a small part of the file. */
  #tune() {
    const { lanes, size } = this.#needs.source, most = Math.min(lanes, Math.max(2, size / SIZE_PER_LANE));
    const now = performance.now(), speed = this.#bytes / (now - this.#since);
    this.#growing &&= this.#allowed + 1 <= most && speed > this.#speed * QUICKER;
    if (this.#growing) this.#allowed++;
    this.#speed = speed;
    this.#bytes = 0;
    this.#since = now;
  }

  /** @param {Part} part */
  #position(part) {
    return part.at * this.#needs.chunkBytes + part.fill;
  }

  /** One answer: fills the part's chunks with it. @param {Part} part */
  async #read(part) {
    await this.#turn(part);
    const { source } = this.#needs;
    const start = this.#position(part);
    part.body = await this.#open(part, start);
    try {
      let skip = start - part.body.offset;
      for (let piece; !this.#isFull(part) && (piece = await part.body.read());) {
        this.#check(part);
        if (skip < piece.length) await this.#put(part, piece.subarray(skip));
        skip = Math.max(skip - piece.length, 0);
      }
    } catch (error) {
      this.#check(part); // where it was cancelled
      throw error;
    } finally {
      part.body.cancel();
      part.body = null;
    }
    // The first answer may be for less than a part; one that broke off without a word is asked for the rest.
    const goesOn = source.ranges && !this.#isFull(part) && this.#position(part) > start;
    await (goesOn ? this.#read(part) : this.#bodyEnded(part));
  }

  /** @param {Part} part @param {number} start */
  async #open(part, start) {
    const { source, chunkBytes } = this.#needs, opened = this.#opened;
    this.#opened = null;
    if (opened && part.fill === 0) return opened;
    const end = (part.last + 1) * chunkBytes;
    const body = await source.open(start, source.size ? Math.min(end, source.size) : end);
    if (this.#parts.has(part) && (source.ranges || this.#streams)) return body;
    body.cancel();
    if (this.#parts.has(part)) this.#stream(this.#wanted);
    throw new Stale();
  }

  /** @param {Part} part */
  #isFull(part) {
    return part.at > part.last || part.at >= this.#count;
  }

  /** @param {Part} part @param {Uint8Array} piece */
  async #put(part, piece) {
    const { chunkBytes, source, received } = this.#needs;
    for (let taken = 0; taken < piece.length && !this.#isFull(part);) {
      const most = source.size ? Math.min(chunkBytes, source.size - part.at * chunkBytes) : chunkBytes;
      const n = Math.min(piece.length - taken, most - part.fill);
      part.buffer ??= this.#free.pop() ?? new Uint8Array(chunkBytes);
      part.buffer.set(piece.subarray(taken, taken + n), part.fill);
      taken += n;
      part.fill += n;
      this.#bytes += n;
      received(n);
      if (part.fill === most) await this.#full(part);
    }
  }

  /** Hands the filled chunk on; the lane goes on when the next one may come. @param {Part} part */
  async #full(part) {
    const bytes = /** @type {Uint8Array} */ (part.buffer).subarray(0, part.fill), index = part.at++;
    part.buffer = null;
    part.fill = 0;
    this.#unstored++;
    const kept = this.#needs.arrived(index, bytes).then(() => {
      this.#unstored--;
      this.#changed();
    });
    this.#ready.set(index, { bytes, kept });
    this.#changed();
    if (!this.#isFull(part)) await this.#turn(part);
  }

  /** @param {Part} part */
  async #bodyEnded(part) {
    const { source } = this.#needs, at = this.#position(part);
    if (this.#isFull(part)) return;
    if (source.size) {
      throw new NutshellError('network', `${source.url ?? source.name} ended after ${at} of ${source.size} bytes: load it again, `
        + 'it goes on from there');
    }
    source.size = at;
    this.#ended = true;
    if (part.fill) await this.#full(part);
  }
}

/** How many chunks one request is for, at most. @param {number} chunkBytes */
export const chunksOfPart = (chunkBytes) => Math.min(PART_CHUNKS, PART_BYTES / chunkBytes);

/** @param {number} at @param {number} last @returns {Part} */
function newPart(at, last) {
  return { at, last, buffer: null, fill: 0, waits: false, body: null };
}
