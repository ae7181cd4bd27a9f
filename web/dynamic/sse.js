// Server-sent events, as far as OpenAI's API uses them: the data of each event of a stream.

const MOST_LINE = 1 << 20; // characters of a line: more is no event of a chat, and would fill the memory

/** The lines of a text that arrives in pieces; they end by \n, \r\n or \r.
 *  @param {ReadableStream<Uint8Array>} stream @returns {AsyncGenerator<string, void>} */
async function* linesOf(stream) {
  const reader = stream.getReader(), decoder = new TextDecoder();
  let rest = '';
  try {
    for (;;) {
      const { value, done } = await reader.read();
      rest += done ? decoder.decode() : decoder.decode(value, { stream: true });
      const lines = rest.split(done ? /\r\n|\n|\r/ : /\r\n|\n|\r(?=[^\n])/); // a \r at the end may be half of \r\n
      rest = lines.pop() ?? '';
      yield* lines;
      if (rest.length > MOST_LINE) throw new Error(`a line has more than ${MOST_LINE} characters`);
      if (done) break;
    }
    if (rest) yield rest;
  } finally {
    reader.cancel().catch(() => {});
  }
}

/**
 * The data of each event; comments and other fields are left out. An event that the end of the stream cuts off is given too:
 * whoever reads it finds out whether it is whole.
 * @param {ReadableStream<Uint8Array>} stream
 * @returns {AsyncGenerator<string, void>}
 */
export async function* eventsOf(stream) {
  /** @type {string[]} */
  let data = [];
  for await (const line of linesOf(stream)) {
    if (line.startsWith('data:')) data.push(line.slice(line[5] === ' ' ? 6 : 5));
    if (line !== '' || !data.length) continue;
    yield data.join('\n');
    data = [];
  }
  if (data.length) yield data.join('\n');
}
