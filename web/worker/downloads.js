// Fetches the chunks that are not in the cache. Where the source gives ranges of the file, several requests
// run at a time: more while that is quicker, fewer when the server refuses. Where it does not, one answer is
// read from its beginning to its end. The engine takes chunks in order; those that come early wait, and no
// more are fetched than may wait.
import { Aborted, NutshellError } from '../shared/errors.js';
import { isOfServer } from './http.js';

const REQUEST_BYTES = 4 << 20, REQUEST_CHUNKS = 4; // at most: what is on its way is lost when the page ends
const FILE_BYTES_PER_REQUEST = 64 << 20; // a file of so many bytes more allows one more request at a time
const UNSTORED = 2; // chunks that may wait to be stored while more are fetched
const RETRY_AFTER = [300, 1000, 3000]; // milliseconds, from the first again after each byte that arrives
const QUICKER = 1.15; // speed-up for which one more request is made at a time

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

/** Thrown in a request whose chunks are no longer wanted from it. */
class Unwanted extends Error {}

/**
 * Repeats work that may fail until it succeeds, cannot, or the source has no other place to try.
 * @template T
 * @param {import('./source.js').Source} source
 * @param {AbortSignal} signal
 * @param {() => Promise<T>} work
 * @param {() => number} progress  grows where a failed try was of use
 * @returns {Promise<T>}
 */
export async function retry(source, signal, work, progress = () => 0) {
  for (let failures = 0; ;) {
    const before = progress(), { place } = source;
    try {
      return await work();
    } catch (error) {
      if (progress() > before) failures = 0;
      if (signal.aborted || !(error instanceof NutshellError)) throw error;
      if (isTransient(error) && failures < RETRY_AFTER.length) await pause(RETRY_AFTER[failures++], signal);
      else if (source.leave(place)) failures = 0;
      else throw error;
    }
  }
}

/**
 * The chunks `at` to `last`, which are fetched one after the other.
 * @typedef {object} ChunkRequest
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
  /** The next chunk that no request is for. */
  #cursor;
  /** The chunk that the engine takes next. */
  #wanted;
  /** The answer that the source was opened with. @type {import('./source.js').Body | null} */
  #opened;
  /** The source gives no ranges: its one answer goes on to the file's end. */
  #streams = false;
  /** @type {Set<ChunkRequest>} */
  #running = new Set();
  /** Requests that failed beside others; they are made again. @type {ChunkRequest[]} */
  #failed = [];
  /** Chunks that have come and were not taken. @type {Map<number, { bytes: Uint8Array, kept: Promise<unknown> }>} */
  #ready = new Map();
  #taken = false; // whether the engine has taken a chunk
  #unstored = 0; // chunks that have come and whose bytes are still needed to store them
  /** Buffers to be filled again. @type {Uint8Array[]} */
  #free = [];
  #allowed = 1; // requests at a time
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
      || [...this.#running, ...this.#failed].some(({ at, last }) => index >= at && index <= last);
  }

  /** A chunk, valid until `release`; null after the file's end. They are asked for in order. @param {number} index */
  async chunk(index) {
    this.#wanted = index;
    if (index < this.#cursor && !this.covers(index)) this.#failed.unshift(newRequest(index, index));
    this.#changed();
    for (;;) {
      this.#startRequests();
      const ready = this.#ready.get(index);
      if (ready) return ready.bytes;
      if (this.#failure) throw this.#failure.error;
      if (index >= this.#count || (this.#ended && this.#running.size === 0)) return null;
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
    for (const { body } of this.#running) body?.cancel();
    this.#opened?.cancel();
    this.#changed();
  }

  #changed() {
    for (const wake of this.#waiting.splice(0)) wake();
  }

  #change() {
    return new Promise((resolve) => this.#waiting.push(() => resolve(undefined)));
  }

  /* ---- what to fetch ---- */

  /** Chunks of the file; Infinity while its size is unknown. */
  get #count() {
    const { source, chunkBytes } = this.#needs;
    return source.size ? Math.ceil(source.size / chunkBytes) : Infinity;
  }

  /** Chunks that may wait for the engine. */
  get #ahead() {
    return this.#streams ? 1 : this.#allowed * chunksPerRequest(this.#needs.chunkBytes);
  }

  /** The next chunks to fetch, as many as one request is for; null where that is for later. @returns {ChunkRequest | null} */
  #nextRequest() {
    const again = this.#failed.shift();
    if (again) return again;
    const { has, chunkBytes } = this.#needs;
    while (this.#cursor < this.#count && has(this.#cursor)) this.#cursor++;
    const first = this.#cursor, most = chunksPerRequest(chunkBytes);
    if (first >= this.#count || first > this.#wanted + this.#ahead) return null;
    while (this.#cursor < this.#count && this.#cursor - first < most && !has(this.#cursor)) this.#cursor++;
    return newRequest(first, this.#cursor - 1);
  }

  /** The source gives no ranges: all from this chunk on comes in one answer. @param {number} index */
  #stream(index) {
    this.#streams = true;
    this.#growing = false;
    this.#allowed = 1;
    this.#cursor = Infinity;
    for (const request of [...this.#running, ...this.#failed]) {
      request.body?.cancel();
      this.#needs.received(-request.fill);
    }
    this.#running.clear();
    this.#failed = [newRequest(index, Infinity)];
    this.#changed();
  }

  /** Whether a chunk may be fetched: while few wait for the engine or the disk. Until the engine has taken
   * one nothing is
   *  stored, so that the wanted chunk must come whatever waits. @param {number} index */
  #mayCome(index) {
    if (!this.#taken && index <= this.#wanted) return true;
    return index <= this.#wanted + this.#ahead && this.#unstored < UNSTORED;
  }

  /** Waits until the request's next chunk may come. @param {ChunkRequest} request */
  async #mayGoOn(request) {
    while (!this.#failure && this.#running.has(request) && !this.#mayCome(request.at)) {
      request.waits = true;
      this.#startRequests(); // others may be nearer
      await this.#change();
    }
    request.waits = false;
    this.#check(request);
  }

  /** @param {ChunkRequest} request */
  #check(request) {
    if (this.#failure || !this.#running.has(request)) throw new Unwanted();
  }

  /* ---- requests ---- */

  /** Requests that are not waiting. */
  get #busy() {
    return [...this.#running].filter(({ waits }) => !waits).length;
  }

  #startRequests() {
    while (this.#busy < this.#allowed && !this.#failure) {
      const request = this.#nextRequest();
      if (!request) return;
      this.#run(request);
    }
  }

  /** @param {ChunkRequest} request */
  async #run(request) {
    const { source, signal } = this.#needs;
    this.#running.add(request);
    const isOneOfMany = this.#busy > 1;
    try {
      const read = () => this.#read(request);
      if (isOneOfMany) await read();
      else await retry(source, signal, read, () => this.#position(request));
      this.#running.delete(request);
      this.#tune();
    } catch (error) {
      if (error instanceof Unwanted) return;
      if ((isOneOfMany || this.#busy > 1) && isOfServer(error)) this.#postpone(request, error);
      else this.stop(error);
    } finally {
      this.#running.delete(request);
      this.#changed();
    }
    if (!this.#failure) this.#startRequests();
  }

  /**
   * A failure beside other requests may mean that the server wants fewer of them.
   * @param {ChunkRequest} request
   * @param {NutshellError} error
   */
  #postpone(request, error) {
    this.#allowed = Math.max(1, this.#busy >> 1);
    if (error.code !== 'network') this.#growing = false;
    this.#failed.push(request);
    this.#failed.sort((a, b) => a.at - b.at);
  }

  /** One more request at a time while the last one more made it quicker, and what is on its way is a small
   * share of the file. */
  #tune() {
    const { maxRequests, size } = this.#needs.source;
    const most = Math.min(maxRequests, Math.max(2, size / FILE_BYTES_PER_REQUEST));
    const now = performance.now(), speed = this.#bytes / (now - this.#since);
    this.#growing &&= this.#allowed + 1 <= most && speed > this.#speed * QUICKER;
    if (this.#growing) this.#allowed++;
    this.#speed = speed;
    this.#bytes = 0;
    this.#since = now;
  }

  /** The byte that comes next. @param {ChunkRequest} request */
  #position(request) {
    return request.at * this.#needs.chunkBytes + request.fill;
  }

  /** Fills the request's chunks from one answer. @param {ChunkRequest} request */
  async #read(request) {
    await this.#mayGoOn(request);
    const { source } = this.#needs;
    const start = this.#position(request);
    request.body = await this.#open(request, start);
    try {
      let skip = start - request.body.offset;
      for (let bytes; !this.#isFull(request) && (bytes = await request.body.read());) {
        this.#check(request);
        if (skip < bytes.length) await this.#put(request, bytes.subarray(skip));
        skip = Math.max(skip - bytes.length, 0);
      }
    } catch (error) {
      this.#check(request); // where it was cancelled
      throw error;
    } finally {
      request.body.cancel();
      request.body = null;
    }
    // The first answer may be for less than a request; after one that ended early without an error the rest
    // is asked for.
    const goesOn = source.ranges && !this.#isFull(request) && this.#position(request) > start;
    await (goesOn ? this.#read(request) : this.#bodyEnded(request));
  }

  /** @param {ChunkRequest} request @param {number} start */
  async #open(request, start) {
    const { source, chunkBytes } = this.#needs, opened = this.#opened;
    this.#opened = null;
    if (opened && request.fill === 0) return opened;
    const end = (request.last + 1) * chunkBytes;
    const body = await source.open(start, source.size ? Math.min(end, source.size) : end);
    if (this.#running.has(request) && (source.ranges || this.#streams)) return body;
    body.cancel();
    if (this.#running.has(request)) this.#stream(this.#wanted);
    throw new Unwanted();
  }

  /** @param {ChunkRequest} request */
  #isFull(request) {
    return request.at > request.last || request.at >= this.#count;
  }

  /** @param {ChunkRequest} request @param {Uint8Array} bytes */
  async #put(request, bytes) {
    const { chunkBytes, source, received } = this.#needs;
    for (let taken = 0; taken < bytes.length && !this.#isFull(request);) {
      const most = source.size ? Math.min(chunkBytes, source.size - request.at * chunkBytes) : chunkBytes;
      const n = Math.min(bytes.length - taken, most - request.fill);
      request.buffer ??= this.#free.pop() ?? new Uint8Array(chunkBytes);
      request.buffer.set(bytes.subarray(taken, taken + n), request.fill);
      taken += n;
      request.fill += n;
      this.#bytes += n;
      received(n);
      if (request.fill === most) await this.#chunkFilled(request);
    }
  }

  /** Hands the filled chunk on, and waits until the next one may come. @param {ChunkRequest} request */
  async #chunkFilled(request) {
    const bytes = /** @type {Uint8Array} */ (request.buffer).subarray(0, request.fill), index = request.at++;
    request.buffer = null;
    request.fill = 0;
    this.#unstored++;
    const kept = this.#needs.arrived(index, bytes).then(() => {
      this.#unstored--;
      this.#changed();
    });
    this.#ready.set(index, { bytes, kept });
    this.#changed();
    if (!this.#isFull(request)) await this.#mayGoOn(request);
  }

  /** @param {ChunkRequest} request */
  async #bodyEnded(request) {
    const { source } = this.#needs, at = this.#position(request);
    if (this.#isFull(request)) return;
    if (source.size) {
      throw new NutshellError('network', `${source.url ?? source.name} ended after ${at} of ${source.size} bytes: load it again, `
        + 'which goes on');
    }
    source.size = at;
    this.#ended = true;
    if (request.fill) await this.#chunkFilled(request);
  }
}

/** How many chunks one request is for, at most. @param {number} chunkBytes */
export const chunksPerRequest = (chunkBytes) => Math.min(REQUEST_CHUNKS, REQUEST_BYTES / chunkBytes);

/** @param {number} at @param {number} last @returns {ChunkRequest} */
function newRequest(at, last) {
  return { at, last, buffer: null, fill: 0, waits: false, body: null };
}
