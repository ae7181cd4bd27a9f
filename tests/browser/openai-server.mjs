// A server with OpenAI's API as far as cascades use it, which answers with given texts, and fails in the ways that real ones do.
import { createServer } from 'node:http';

/**
 * @typedef {object} Script  what it does with the next requests
 * @property {string[]} [texts]    of the events, one each
 * @property {number[]} [logprobs] beside them
 * @property {number} [status]     instead of an answer
 * @property {Record<string, string>} [headers]
 * @property {string[]} [raw]      bytes of the stream instead of events
 * @property {boolean} [cut]       ends the connection behind that
 * @property {boolean} [silent]    says nothing more behind that, and goes on waiting, until a page asks for `cut`
 * @property {string} [redirect]
 */

export class OpenAiServer {
  /** @type {{ path: string, headers: import('node:http').IncomingHttpHeaders, body: any }[]} */
  requests = [];
  /** Connections that the other side has closed before the end. */
  left = 0;
  /** @type {Script} */
  script = {};
  /** @type {Set<import('node:http').ServerResponse>} */
  #silent = new Set();
  #server = createServer((request, reply) => this.#answer(request, reply).catch((error) => reply.destroy(error)));

  static async start() {
    const server = new OpenAiServer();
    await new Promise((done) => server.#server.listen(0, '127.0.0.1', () => done(undefined)));
    server.url = `http://127.0.0.1:${/** @type {any} */ (server.#server.address()).port}/v1`;
    return server;
  }

  async close() {
    this.#server.closeAllConnections();
    await new Promise((done) => this.#server.close(done));
  }

  /** @param {Script} script */
  play(script) {
    this.script = script;
    this.requests = [];
    this.left = 0;
  }

  /** @param {import('node:http').IncomingMessage} request @param {import('node:http').ServerResponse} reply */
  async #answer(request, reply) {
    const { texts = [], logprobs, status, headers = {}, raw, cut, silent, redirect } = this.script;
    reply.setHeader('Access-Control-Allow-Origin', '*').setHeader('Access-Control-Allow-Headers', '*, Authorization');
    reply.setHeader('Access-Control-Expose-Headers', '*');
    if (request.method === 'OPTIONS') return reply.writeHead(204).end();
    if (request.url?.endsWith('/cut')) return this.#cut(reply);
    let text = '';
    for await (const some of request.setEncoding('utf8')) text += some;
    this.requests.push({ path: request.url ?? '', headers: request.headers, body: JSON.parse(text) });
    if (redirect) return reply.writeHead(307, { Location: redirect }).end();
    if (status) return reply.writeHead(status, headers).end(JSON.stringify({ error: { message: 'as the test wants it' } }));
    const { script } = this; // a connection of the script before may close late
    reply.on('close', () => { this.left += reply.writableEnded || script !== this.script ? 0 : 1; });
    reply.writeHead(200, { 'Content-Type': 'text/event-stream' });
    for (const event of raw ?? eventsOf(request.url ?? '', texts, logprobs)) {
      reply.write(event);
      await new Promise((done) => setTimeout(done, 5)); // a packet each
    }
    if (silent) return this.#silent.add(reply);
    return cut ? reply.destroy() : reply.end();
  }

  /** Ends the connections that wait, once the page has read what came: a cut drops what is still on its way.
   * @param {import('node:http').ServerResponse} reply */
  #cut(reply) {
    for (const silent of this.#silent) silent.destroy();
    this.#silent.clear();
    return reply.writeHead(204).end();
  }
}

/** @param {string} path @param {string[]} texts @param {number[]} [logprobs] */
function eventsOf(path, texts, logprobs) {
  const isChat = path.includes('/chat/');
  const event = (/** @type {any} */ choice) => `data: ${JSON.stringify({ choices: [choice] })}\n\n`;
  const one = (/** @type {string} */ text, /** @type {number} */ i) => (isChat
    ? { delta: { content: text }, logprobs: logprobs ? { content: [{ token: text, logprob: logprobs[i] }] } : null }
    : { text, logprobs: logprobs ? { token_logprobs: [logprobs[i]] } : null });
  return [': a comment\n\n', ...texts.map((text, i) => event(one(text, i))),
    event({ ...(isChat ? { delta: {} } : { text: '' }), finish_reason: 'stop' }), 'data: {"choices":[],"usage":{}}\n\n',
    'data: [DONE]\n\n'];
}
