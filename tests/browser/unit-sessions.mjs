// Several sessions of one model, without a browser: the engine's sessions, the worker that runs their generations at the same
// time, and the page's objects. Called by unit-test.mjs.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Model } from '../../web/page/model.js';
import { Session } from '../../web/page/session.js';
import { NutshellError } from '../../web/shared/errors.js';
import { checkOptions, rules } from '../../web/shared/options.js';
import { Demand } from '../../web/worker/demand.js';
import { Generator } from '../../web/worker/generator.js';
import { check, ensure, equal } from './harness.mjs';

/**
 * @typedef {import('../../web/worker/engine.js').Engine} Engine
 * @typedef {{ engine: Engine, memory: WebAssembly.Memory }} Loaded  an engine with the small model
 * @typedef {(options?: object) => Promise<Loaded>} Load
 */

const CONTEXT = 128;
const FLAGS = { addBos: true, parseSpecial: false };
const SAMPLED = { maxTokens: 30, temperature: 1.2, ignoreEos: true };
/** Of which the second takes two steps to read. */
const TASKS = [
  { prompt: 'Once upon a time', options: { ...SAMPLED, seed: 5 } },
  { prompt: 'Tom and Lily went to the park and saw a big dog. The dog was sad. '.repeat(4), options: { ...SAMPLED, seed: 6 } },
  { prompt: 'The sun', options: { ...SAMPLED, seed: 7, maxTokens: 12 } },
];

/** The error that a call fails with. @param {() => unknown} work */
async function failure(work) {
  try {
    await work();
  } catch (error) {
    return error;
  }
  throw new Error('it did not fail');
}

/** A generator of an engine, and the sessions of its steps in their order. @param {Engine} engine */
function traced(engine) {
  const steps = [];
  const seen = new Proxy(engine, {
    get(target, name) {
      if (name === 'generateStep') steps.push('?');
      const value = Reflect.get(target, name, target);
      if (typeof value !== 'function') return value;
      return (...args) => {
        if (name === 'generateStep') steps[steps.length - 1] = args[0];
        return value.apply(target, args);
      };
    },
  });
  return { generator: new Generator(seen, () => new Promise(setImmediate)), steps };
}

/** Runs a task to its end. @param {Generator} generator @param {number} session @param {AbortSignal} [signal] */
async function run(generator, session, { prompt, options }, signal = new AbortController().signal, emitted = () => {}) {
  let text = '';
  const demand = new Demand(signal);
  demand.took(Infinity);
  const request = { prompt, options: checkOptions(rules.generate, options), flags: FLAGS };
  const figures = await generator.run(session, async () => request, signal, demand, (piece) => {
    text += piece;
    emitted(text);
  });
  return { text, ...figures };
}

/** The text that a task gives in an engine of its own. @param {Load} load */
async function alone(load, task) {
  const { text } = await run(traced((await load()).engine).generator, 0, task);
  ensure(text.length > 10, `only "${text}"`);
  return text;
}

/** @param {Load} load */
async function checkRunning(load) {
  const expected = await Promise.all(TASKS.map((task) => alone(load, task)));

  await check('generations of three sessions alternate step by step, and give the texts that each gives alone', async () => {
    const { engine } = await load();
    const sessions = [0, engine.sessionNew(0), engine.sessionNew(100)];
    const { generator, steps } = traced(engine);
    const results = await Promise.all(sessions.map((session, i) => run(generator, session, TASKS[i])));
    equal(results.map(({ text }) => text), expected);
    const shared = steps.slice(0, 3 * (1 + 12)); // as long as the shortest runs
    equal(shared, Array.from(shared, (_, i) => sessions[i % 3]), 'order of steps:');
    equal(steps.filter((session) => session === sessions[1]).length, 2 + 30 + 1, 'steps of the second:');
  });
  await check('generations of one session run one after the other, and those of others meanwhile', async () => {
    const { engine } = await load(), other = engine.sessionNew(0);
    const { generator, steps } = traced(engine);
    const results = await Promise.all([[0, 0], [0, 2], [other, 1]].map(([session, i]) => run(generator, session, TASKS[i])));
    equal(results.map(({ text }) => text), [expected[0], expected[2], expected[1]]);
    const own = steps.flatMap((session, i) => (session === 0 ? [i] : []));
    ensure(own.slice(0, 30).every((at, i) => at <= 2 * i + 1), `order of steps: ${steps}`);
  });
  await check('one that is stopped, and one that fails, disturb no other', async () => {
    const { engine } = await load(), other = engine.sessionNew(0), small = engine.sessionNew(8);
    const { generator } = traced(engine), control = new AbortController();
    const stopped = run(generator, other, TASKS[0], control.signal, (text) => text.length > 5 && control.abort());
    const failed = failure(() => run(generator, small, TASKS[1]));
    const { text } = await run(generator, 0, TASKS[1]);
    equal([text, (await stopped).finishReason, (await failed).code], [expected[1], 'aborted', 'context-full']);
    equal((await run(generator, other, TASKS[2])).text, expected[2], 'the stopped session goes on:');
    equal((await run(generator, small, { ...TASKS[2], options: { ...SAMPLED, maxTokens: 3 } })).tokens, 3);
  });
  await check('work on a session waits for its generation, and its errors stop nothing', async () => {
    const { engine } = await load(), { generator } = traced(engine), order = [];
    const running = run(generator, 0, TASKS[2]).then(() => order.push('text'));
    const fail = () => { throw new RangeError('mine'); };
    const broken = failure(() => generator.whenIdle(0, fail)).then(({ message }) => order.push(message));
    const saved = generator.whenIdle(0, () => engine.sessionSave(0)).then(({ length }) => order.push(length > 1000));
    const elsewhere = generator.whenIdle(1, () => order.push('at once'));
    await Promise.all([running, broken, saved, elsewhere]);
    equal(order, ['at once', 'text', 'mine', true]);
  });
}

/** The rest of a text, greedily, by a session that may have read the beginning. @param {Engine} engine @param {string} prompt */
async function goOn(engine, session, prompt) {
  const task = { prompt, options: { maxTokens: 10, temperature: 0, ignoreEos: true } };
  return (await run(traced(engine).generator, session, task)).text;
}

/** @param {Load} load */
async function checkForks(load) {
  const story = 'Once upon a time there was a little girl who had a red ball and';
  const [first, second] = [`${story} she`, `${story} a cat`];
  const expected = [await goOn((await load()).engine, 0, first), await goOn((await load()).engine, 0, second)];
  const positions = (/** @type {Engine} */ engine, /** @type {number} */ session) => engine.session(session).positions;

  await check('a fork goes on from where the first is, and each goes its own way', async () => {
    const { engine } = await load();
    await goOn(engine, 0, story);
    const there = positions(engine, 0), fork = engine.sessionFork(0);
    equal([there > 20, positions(engine, fork), engine.session(fork).contextLength], [true, there, 128]);
    equal([await goOn(engine, fork, second), await goOn(engine, 0, first)], [expected[1], expected[0]]);
    engine.sessionFree(fork);
    equal(await goOn(engine, 0, second), expected[1], 'with the fork freed:');
  });
  await check('a saved session goes on in another instance, in a longer or shorter context', async () => {
    const { engine } = await load(), { engine: other } = await load({ contextLength: 100 });
    await goOn(engine, 0, story);
    const bytes = engine.sessionSave(0), there = positions(engine, 0);
    for (const session of [0, other.sessionNew(64), other.sessionNew(128)]) {
      await goOn(other, session, 'The sun');
      other.sessionRestore(session, bytes);
      equal([positions(other, session), other.sessionSave(session)], [there, bytes]);
      equal(await goOn(other, session, second), expected[1]);
    }
    const short = other.sessionNew(16);
    equal((await failure(() => other.sessionRestore(short, bytes))).code, 'context-full');
  });
  await check('bytes that are no saved session change nothing', async () => {
    const { engine } = await load(), { engine: smaller } = await load({ kvType: 'q8_0' });
    await goOn(smaller, 0, story);
    await goOn(engine, 0, story);
    const bytes = engine.sessionSave(0), there = positions(engine, 0);
    const flipped = (/** @type {number} */ at) => bytes.map((byte, i) => (i === at ? byte ^ 1 : byte));
    const wrong = [new Uint8Array(0), new Uint8Array(1000), bytes.slice(0, -1), Uint8Array.of(...bytes, 0), flipped(0),
      flipped(9), flipped(30), flipped(bytes.length >> 1), flipped(bytes.length - 1), smaller.sessionSave(0)];
    for (const [i, hostile] of wrong.entries()) {
      const error = await failure(() => engine.sessionRestore(0, hostile));
      equal(error.code, 'corrupt-session', `case ${i}: ${error.message}:`);
      equal(positions(engine, 0), there, `case ${i}:`);
    }
    equal([engine.sessionSave(0), await goOn(engine, 0, first)], [bytes, expected[0]]);
  });
}

/** @param {Load} load */
async function checkHandles(load) {
  await check('a handle is the least that is free; one that was freed is refused', async () => {
    const { engine } = await load();
    equal([1, 2, 3].map(() => engine.sessionNew(16)), [1, 2, 3]);
    engine.sessionFree(2);
    for (const work of [() => engine.session(2), () => engine.sessionFork(2), () => engine.sessionSave(2),
      () => engine.sessionRestore(2, new Uint8Array(9)), () => engine.generateStep(2), () => engine.session(4),
      () => engine.session(-1), () => engine.generateBegin('a', checkOptions(rules.generate, {}), FLAGS, 2)]) {
      const error = await failure(work);
      equal([error.code, error.message], ['bad-state', 'there is no such session; open another']);
    }
    engine.generateEnd(2);
    for (const nothing of [2, 4, -1, 0]) engine.sessionFree(nothing);
    equal([engine.sessionFork(0), engine.sessionNew(0), engine.session(3).contextLength], [2, 4, 16]);
    engine.reset();
    equal((await failure(() => engine.session(0))).message, 'no model is loaded');
    equal((await failure(() => engine.sessionNew(16))).message, 'no model is loaded');
  });
  await check('a session takes memory for its own positions, and as many as it may have', async () => {
    const { engine } = await load();
    const [short, long] = [engine.session(engine.sessionNew(64)), engine.session(engine.sessionNew(128))];
    ensure(long.bytes < engine.session(0).bytes * 1.01 && short.bytes < 0.6 * long.bytes, `${short.bytes}, ${long.bytes} bytes`);
    for (const length of [1, 2 ** 31 - 1]) {
      const error = await failure(() => engine.sessionNew(length));
      equal(error.code, 'bad-argument', error.message);
    }
  });
  await check('where memory ends a session is refused, others go on, and there is room again when one is freed', async () => {
    const { engine, memory } = await load();
    const expected = await goOn(engine, 0, 'Once upon a time'), sessions = [];
    memory.grow = () => { throw new RangeError('no more'); };
    let error;
    for (let i = 0; !error && i < 1000; i++) {
      try {
        sessions.push(engine.sessionNew(0));
      } catch (thrown) {
        error = thrown;
      }
    }
    ensure(sessions.length > 1 && error, `${sessions.length} sessions fit`);
    equal(error.code, 'out-of-memory', error.message);
    equal((await failure(() => engine.sessionFork(0))).code, 'out-of-memory');
    for (const session of [0, sessions[0], sessions.at(-1)]) equal(await goOn(engine, session, 'Once upon a time'), expected);
    engine.sessionFree(sessions[0]);
    equal([engine.sessionFork(0), await goOn(engine, sessions[0], 'Once upon a time')], [sessions[0], expected]);
  });
}

// ---- the page's objects ------------------------------------------------------------------------------------------------

/** A host whose worker is played by the test: it answers all but generations at once. */
function playedHost() {
  const log = [];
  /** Of the generations. @type {{ id: number, onEvent: (event: any) => void, resolve: Function, reject: Function }[]} */
  const running = [];
  let id = 0, sessions = 0;
  const host = {
    ended: null,
    ask(op, request = {}, onEvent = () => {}, started = () => {}) {
      if (host.ended) return Promise.reject(host.ended);
      log.push([op, request.session ?? request.contextLength]);
      started(++id);
      const own = id;
      if (op === 'session' || op === 'fork') return Promise.resolve({ session: ++sessions, contextLength: 9, bytes: 5 });
      if (op === 'save') return Promise.resolve(new Uint8Array(3));
      if (op !== 'generate' && op !== 'chat') return Promise.resolve();
      return new Promise((resolve, reject) => running.push({ id: own, onEvent, resolve, reject }));
    },
    tell(target, op) {
      log.push([op, target]);
      if (op === 'stop') running.find((one) => one.id === target)?.resolve({ finishReason: 'aborted' });
    },
    end(reason) {
      host.ended = reason;
      for (const { reject } of running) reject(reason);
    },
  };
  return { model: new Model(/** @type {any} */ (host), /** @type {any} */ ({})), log, running };
}

const say = (one, text) => one.onEvent({ pieces: [text], figures: { tokens: 1 } });

async function checkPage() {
  await check('sessions in the page: each has its own generation, its handle goes with every request', async () => {
    const { model, log, running } = playedHost();
    const chat = await model.session({ contextLength: 9 }), fork = await chat.fork();
    equal([chat.contextLength, chat.bytes, chat.stats, log], [9, 5, null, [['session', 9], ['fork', 1]]]);
    const texts = [model, chat, fork].map((one) => one.generate('a'));
    const pieces = texts.map((text) => text.next());
    for (const [i, one] of running.entries()) say(one, String(i));
    equal((await Promise.all(pieces)).map(({ value }) => value), ['0', '1', '2']);
    equal(log.slice(2), [['generate', 0], ['generate', 1], ['generate', 2]]);
    equal([chat.stats === texts[1].stats, model.stats === texts[0].stats], [true, true]);
    for (const work of [() => chat.generate('b').next(), () => chat.chat([{ role: 'user', content: '' }]).next(),
      () => chat.save(), () => chat.fork(), () => chat.restore(new Uint8Array(1))]) {
      const error = await failure(work);
      equal(error.code, 'busy');
      ensure(/model\.session\(\)/.test(error.message), error.message);
    }
    await texts[1].return();
    equal([[...await chat.save()], await chat.restore(new ArrayBuffer(4))], [[0, 0, 0], undefined]);
    equal(log.slice(5), [['stop', 4], ['save', 1], ['restore', 1]]);
  });
  await check('sessions in the page: arguments are checked', async () => {
    const { model, log } = playedHost();
    const chat = await model.session();
    equal(log, [['session', 0]]);
    for (const work of [() => chat.restore('text'), () => chat.restore(), () => chat.restore([1]), () => model.session(5),
      () => model.session({ contextLength: 0 }), () => model.session({ threads: 2 })]) {
      equal((await failure(work)).code, 'bad-argument');
    }
    equal(log.length, 1, 'requests:');
  });
  await check('sessions in the page: one that is freed while it generates', async () => {
    const { model, log, running } = playedHost();
    const chat = await model.session(), text = chat.generate('a'), unborn = chat.generate('b');
    const own = model.generate('a'), [first] = [text.next(), own.next()];
    say(running[0], 'x');
    equal((await first).value, 'x');
    const next = text.next();
    await Promise.all([chat.free(), chat.free()]);
    equal((await failure(() => next)).code, 'freed');
    equal([await text.next(), text.stats.finishReason], [{ done: true }, 'aborted']);
    equal(log.slice(3), [['stop', 2], ['free', 1]]);
    for (const work of [() => unborn.next(), () => chat.generate('b').next(), () => chat.save(), () => chat.fork(),
      () => chat.restore(new Uint8Array(1))]) equal((await failure(work)).code, 'freed');
    say(running[1], 'y');
    await chat.free();
    equal([log.length, own.stats.finishReason ?? null], [5, null]);
  });
  await check('sessions in the page: a model that is unloaded while they generate', async () => {
    const { model, log } = playedHost();
    const chat = await model.session(), other = await model.session();
    const waiting = [chat, model].map((one) => failure(() => one.generate('a').next()));
    await model.unload();
    equal((await Promise.all(waiting)).map(({ code }) => code), ['unloaded', 'unloaded']);
    for (const work of [() => other.generate('a').next(), () => other.save(), () => chat.fork(), () => model.session()]) {
      equal((await failure(work)).code, 'unloaded');
    }
    const before = log.length;
    await chat.free();
    await other[Symbol.asyncDispose ?? 'none']?.();
    equal(log.length, before, 'requests:');
  });
}

/** Names that an object shows: methods and getters of its classes, and its fields. @param {object} object */
function shown(object) {
  const names = new Set(Object.keys(object));
  for (let one = Object.getPrototypeOf(object); one !== Object.prototype; one = Object.getPrototypeOf(one)) {
    for (const name of Object.getOwnPropertyNames(one)) names.add(name);
  }
  names.delete('constructor');
  return [...names].sort();
}

async function checkTypes() {
  await check('nutshell.d.ts has the members of models and sessions', () => {
    const types = readFileSync(join(import.meta.dirname, '../../web/nutshell.d.ts'), 'utf8');
    const declared = (name) => {
      const [, parent, body] = new RegExp(`^export interface ${name} (?:extends (\\w+) )?\\{$([^]*?)^\\}$`, 'm').exec(types);
      const own = [...body.matchAll(/^  (?:readonly )?(\w+)(?=[(:])/gm)].map(([, member]) => member);
      return [...new Set([...own, ...(parent ? declared(parent) : [])])].sort(); // one that is overloaded is there twice
    };
    const session = new Session(/** @type {any} */ ({}), { session: 1, contextLength: 1, bytes: 1 });
    for (const [name, object] of Object.entries({ Model: playedHost().model, Session: session })) {
      equal(shown(object), declared(name), `${name}:`);
    }
    ensure(declared('Session').includes('fork') && declared('Model').includes('session'), 'the declarations were not found');
  });
}

/** @param {Load} loaded */
export async function checkSessions(loaded) {
  /** @type {Load} */
  const load = (options) => loaded({ contextLength: CONTEXT, ...options });
  await checkRunning(load);
  await checkForks(load);
  await checkHandles(load);
  await checkPage();
  await checkTypes();
}
