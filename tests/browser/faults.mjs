// What can go wrong between a server and a page, as a table. A fault occurs in the first response that contains a given byte of
// the file, or in all responses from then on.

/** @typedef {import('./server.mjs').Ask} Ask */

const MOVED = '/model/moved.gguf?big';
const OTHER_PART = 300_000; // bytes further on
const sleep = (/** @type {number} */ ms) => new Promise((done) => setTimeout(done, ms));

/** The headers of a range of a file. @param {Ask} ask @param {Record<string, string | number | null>} [others] null: left out */
function head({ reply, body, start, end }, others = {}) {
  const headers = { ETag: '"one"', 'Content-Type': 'application/octet-stream', 'Content-Length': end - start,
    'Content-Range': `bytes ${start}-${end - 1}/${body.length}`, ...others };
  reply.writeHead(206, Object.fromEntries(Object.entries(headers).filter(([, value]) => value !== null)));
}

/** Sends the bytes before the fault, with time to arrive. @param {Ask} ask @param {number} at */
async function sendUntil(ask, at) {
  await ask.send(ask.body.subarray(ask.start, at));
  await sleep(20);
}

/** @param {Ask} ask @param {Buffer} body */
async function sendWhole(ask, body) {
  ask.reply.writeHead(200, { 'Content-Length': body.length, ETag: ask.body === body ? '"one"' : '"two"' });
  await ask.send(body);
  ask.reply.end();
}

/** @param {Ask} ask @param {number} status */
const refuse = (ask, status) => ask.reply.writeHead(status, { 'Retry-After': '1' }).end('no');

/** Another version of the file: the same size, one byte of padding differs. @param {Buffer} body */
export function otherVersion(body) {
  const other = Buffer.from(body);
  other[body.length - 1] ^= 1;
  return other;
}

/**
 * @typedef {object} Fault
 * @property {string} name
 * @property {boolean} [lasts]  befalls all later answers too
 * @property {(ask: Ask, at: number) => unknown} answer
 * @property {string} [code]    of the error that the load ends with, or one of several; 'none': it ends well
 * @property {string} [codeAtStart]  where the fault is in the first part of the file
 * @property {'chunk' | 'file'} again  at most so much comes to the page twice, until the model is there
 */

/** @type {Fault[]} */
export const FAULTS = [
  {
    name: 'the connection is cut', again: 'chunk',
    async answer(ask, at) {
      head(ask);
      await sendUntil(ask, at);
      ask.reply.destroy();
    },
  },
  {
    name: 'nothing more comes', again: 'chunk',
    async answer(ask, at) {
      head(ask);
      await sendUntil(ask, at);
    },
  },
  {
    name: 'the answer ends early as if it were whole', again: 'chunk',
    async answer(ask, at) {
      head(ask, { 'Content-Length': null });
      await sendUntil(ask, at);
      ask.reply.end();
    },
  },
  {
    name: 'Content-Length is more than what comes', again: 'chunk',
    async answer(ask) {
      head(ask, { 'Content-Length': ask.end - ask.start + 1000 });
      await sendUntil(ask, ask.end);
      ask.reply.destroy();
    },
  },
  {
    name: 'a byte is wrong', code: 'wrong-checksum', codeAtStart: 'wrong-checksum, corrupt-model', again: 'file',
    async answer(ask, at) {
      const bytes = Buffer.from(ask.body.subarray(ask.start, ask.end));
      bytes[at - ask.start] ^= 4;
      head(ask);
      await ask.send(bytes);
      ask.reply.end();
    },
  },
  {
    name: 'another part comes than was asked for', again: 'chunk',
    async answer(ask) {
      const start = ask.start + OTHER_PART < ask.body.length ? ask.start + OTHER_PART : Math.max(ask.start - OTHER_PART, 0);
      const other = { ...ask, start, end: Math.min(start + ask.end - ask.start, ask.body.length) };
      head(other);
      other.reply.end(other.body.subarray(other.start, other.end));
    },
  },
  {
    name: 'Range is ignored from here on', lasts: true, again: 'file',
    answer: (ask) => sendWhole(ask, ask.body),
  },
  {
    name: 'another version of the file is there from here on', lasts: true, again: 'file',
    answer: (ask) => sendWhole(ask, otherVersion(ask.body)),
  },
  {
    name: 'the size in Content-Range is wrong', again: 'file',
    async answer(ask) {
      head(ask, { 'Content-Range': `bytes ${ask.start}-${ask.end - 1}/${ask.body.length + 1}` });
      await ask.send(ask.body.subarray(ask.start, ask.end));
      ask.reply.end();
    },
  },
  {
    name: 'an HTML page comes with status 200', codeAtStart: 'not-gguf', again: 'chunk',
    answer: ({ reply }) => reply.writeHead(200, { 'Content-Type': 'text/html' }).end('<!doctype html><h1>Sign in here</h1>'),
  },
  {
    name: 'the server redirects', again: 'chunk',
    answer: ({ reply }) => reply.writeHead(302, { Location: MOVED }).end(),
  },
  { name: 'status 503', again: 'chunk', answer: (ask) => refuse(ask, 503) },
  // Tolerated while other ranges are being fetched, which may be too many; of a single one it is the server's answer.
  { name: 'status 429', code: 'none, http-429', codeAtStart: 'http-429', again: 'chunk', answer: (ask) => refuse(ask, 429) },
  { name: 'status 404 from here on', lasts: true, code: 'http-404', again: 'chunk', answer: (ask) => refuse(ask, 404) },
  {
    name: 'the server is slow from here on', lasts: true, again: 'chunk',
    async answer(ask) {
      head(ask);
      for (let at = ask.start; at < ask.end; at += 65536) await ask.send(ask.body.subarray(at, Math.min(at + 65536, ask.end)), 1);
      ask.reply.end();
    },
  },
];

/**
 * Makes a fault occur in a server's responses.
 * @param {Fault} fault @param {number} at  byte of the file
 * @returns {(ask: Ask) => boolean} for TestServer.intercept
 */
export function plant({ answer, lasts }, at) {
  let met = false;
  return (ask) => {
    const here = ask.start <= at && at < ask.end;
    if (ask.request.url === MOVED || !(met ? lasts : here)) return false;
    met = true;
    Promise.resolve(answer(ask, at)).catch(() => ask.reply.destroy());
    return true;
  };
}
