// Units of chats in pages: answers put together of parts, and the module for chats beside an engine. What texts of
// models mean is from llama.cpp's tests, as in tests/unit/answers.h.
import { Answer } from '../../web/page/answer.js';
import { checkOptions, rules } from '../../web/shared/options.js';
import { chatWith } from './chat-modules.mjs';
import { check, ensure, equal, failure } from './harness.mjs';

/** A template whose models write calls as Hermes 2 and reasoning as Qwen, without text of its own. */
const HERMES = '{# <tool_call> <think> #}{% for m in messages %}{{ m.role[0] + m.content }} {% endfor %}';
const CALL = '{"name": "special_function", "arguments": {"arg1": 1}}';

/** @param {object} [options] */
const checked = (options) => checkOptions(rules.chat, { template: HERMES, seed: 1, ...options });

const user = (/** @type {string} */ content) => ({ role: 'user', content });

/** What an answer of these pieces of text tells. @param {import('../../web/worker/chat.js').Chat} chat @param {string[]} pieces
 *  @param {any[]} [messages] */
function partsOf(chat, pieces, messages = [user('Hi')]) {
  const { read, close } = /** @type {any} */ (chat.begin(messages, checked(), 0));
  const steps = [...pieces.map((text) => ({ text, kind: 'token' })), { text: '', kind: 'done' }];
  const parts = steps.flatMap((step) => read(step, {}));
  close();
  return parts;
}

/** The parts of one kind and call in one. @param {any[]} parts */
function joined(parts) {
  /** @type {any[]} */
  const out = [];
  for (const { kind, index, text } of parts) {
    const last = out.at(-1);
    if (last?.[0] === kind && last[1] === index && ['content', 'reasoning', 'arguments'].includes(kind)) last[2] += text;
    else out.push([kind, index, text]);
  }
  return out;
}

/** @param {any} loaded @param {any} played of unit-test.mjs */
export async function checkAnswers(loaded, played) {
  const part = (/** @type {string} */ kind, text = '', index = 0) => ({ kind, text, index });
  const PARTS = [part('reasoning', 'Let me '), part('reasoning', 'see.'), part('content', 'I '), part('call', 'f'),
    part('no-call'), part('content', 'ask.'), part('call', 'f'), part('arguments', '{"a"'), part('arguments', ':1}'),
    part('call-end', 'c1'), part('call', 'g', 1), part('arguments', '{}', 1), part('call-end', 'c2', 1)];
  const MESSAGE = { role: 'assistant', content: 'I ask.', reasoning_content: 'Let me see.', tool_calls: [
    { id: 'c1', type: 'function', function: { name: 'f', arguments: '{"a":1}' } },
    { id: 'c2', type: 'function', function: { name: 'g', arguments: '{}' } }] };

  await check('an answer gives the content, and puts all of it together to a message', async () => {
    const { generation, worker, log } = played(undefined, Answer);
    const first = generation.next();
    worker.say(...PARTS);
    equal(await first, { value: 'I ', done: false });
    equal(generation.message, { role: 'assistant', content: 'I ', reasoning_content: 'Let me see.' }, 'as far as it was taken:');
    const rest = generation.text();
    await new Promise(setImmediate);
    worker.resolve({ finishReason: 'eos', dropped: [1, 2] });
    equal([await rest, generation.message, generation.stats.dropped], ['ask.', MESSAGE, [1, 2]]);
    equal(log, ['begin', 'took 8 of 7', 'end']);
  });

  await check('the parts of an answer, all of them in order; leaving their loop stops the worker', async () => {
    const { generation, worker } = played(undefined, Answer);
    setImmediate(() => { worker.say(...PARTS); worker.resolve({}); });
    const taken = [];
    for await (const one of generation.parts()) taken.push(one);
    equal([taken, generation.message], [PARTS, MESSAGE]);
    const { generation: left, worker: other, log } = played(undefined, Answer);
    setImmediate(() => other.say(...PARTS));
    for await (const one of left.parts()) if (one.kind === 'arguments') break;
    equal([log.at(-1), left.message.tool_calls], ['end', undefined]);
  });

  const { engine } = await loaded({ contextLength: 256 });
  const { chat } = await chatWith(engine);

  await check('an answer is taken apart while it comes, the same in any pieces', () => {
    const text = `<think>I need a call</think>Prüfe é🙂.\n<tool_call>\n${CALL}\n</tool_call>`;
    const whole = joined(partsOf(chat, [text])), single = joined(partsOf(chat, [...text]));
    equal(whole, single);
    equal(whole.map(([kind, , value]) => [kind, value.trim()]), [['reasoning', 'I need a call'], ['content', 'Prüfe é🙂.'],
      ['call', 'special_function'], ['arguments', '{"arg1": 1}'], ['call-end', whole.at(-1)[2]]]);
  });

  await check('what is no call is content, and ids that are made up are new in the conversation', () => {
    const [broken] = [joined(partsOf(chat, ['<tool_call>\n{"name": "f", "arguments": 1}\n</tool_call>']))];
    equal(broken.filter(([kind]) => kind === 'content').map(([, , text]) => text).join(''),
      '<tool_call>\n{"name": "f", "arguments": 1}\n</tool_call>');
    const call = `<tool_call>\n${CALL}\n</tool_call>`;
    const before = [user('Hi'), { role: 'assistant', content: '', tool_calls: [{ function: { name: 'f', arguments: {} } }] },
      { role: 'tool', content: '1' }];
    const ids = [partsOf(chat, [call]), partsOf(chat, [call], before)].map((parts) => parts.at(-1).text);
    ensure(ids[0] !== ids[1] && ids.every((id) => /^\w{9}$/.test(id)), `${ids}`);
  });

  await check('arguments that are JSON reach the template as an object, and tools as the variable', () => {
    const template = '{{ messages[0].tool_calls[0].function.arguments.a }} {{ tools[0].function.name }}';
    const call = (/** @type {unknown} */ value) => ({ role: 'assistant', content: null,
      tool_calls: [{ type: 'function', function: { name: 'f', arguments: value } }] });
    const render = (/** @type {unknown} */ value) => chat.prompt([call(value)],
      checkOptions(rules.render, { template, tools: [{ type: 'function', function: { name: 'g' } }] })).text;
    equal([render('{"a": 1}'), render({ a: 1 }), render('{"a'), render('7')], ['1 g', '1 g', ' g', ' g']);
  });

  await check('messages that do not fit: an error, the oldest left out, or the context shifts', async () => {
    const messages = [{ role: 'system', content: 'x' }, ...Array.from({ length: 60 }, (_, i) => (
      { role: i % 2 ? 'assistant' : 'user', content: `This is message number ${i} of them.` })), user('And now?')];
    const begin = (/** @type {object} */ options) => {
      const request = /** @type {any} */ (chat.begin(messages, checked({ maxTokens: 30, ...options }), 0));
      const { prompt, flags, shown, more: figures } = request;
      try {
        const tokens = engine.generateBegin(prompt, request.options, flags, 0, shown);
        const read = request.read(engine.generateStep(), figures);
        engine.generateEnd();
        return { tokens, figures, read };
      } finally {
        request.close();
      }
    };
    equal((await failure(async () => begin({}))).code, 'context-full');
    const trimmed = begin({ overflow: 'trim' }), { dropped } = trimmed.figures;
    equal(dropped, Array.from(dropped, (_, i) => i + 1), 'the oldest, without the system text:');
    const rest = messages.filter((_, i) => !dropped.includes(i));
    equal(chat.prompt(rest, checked()).ids.length, trimmed.tokens);
    ensure(trimmed.tokens < 256 - 30 && trimmed.tokens > 100 && dropped.length < 60, `${trimmed.tokens} ${dropped.length}`);
    equal(chat.prompt(messages.slice(0, 3), checked(), 200).dropped, [], 'nothing where all fits:');
    const shifted = begin({ overflow: 'shift' });
    equal([shifted.figures.dropped, shifted.tokens > 256], [[], true]);
  });
}
