// Chat templates in the module nutshell-chat, as pages run them: what well-known templates make of conversations
// (as Jinja2 renders them: chat-templates/golden.json of the data folder), that hostile templates are stopped within
// bounds, and that no message forges a turn. The interpreter itself is tested natively: tests/unit/test_chat_*.c.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { checkOptions, rules } from '../../web/shared/options.js';
import { check, ensure, equal, finish, skip } from './harness.mjs';
import { HOSTILE } from './hostile-templates.mjs';
import { chatWith, engineWith } from './chat-modules.mjs';
import { DATA, tiny } from './models.mjs';

const MEMORY = 220_000_000; // bytes that the module may have in the end: the model, and what templates may take

const engine = await engineWith(tiny(), 128);
const { chat, memory } = await chatWith(engine);

const HI = [{ role: 'user', content: 'Hi' }];

/** What a template makes, or its error. @param {string} template @param {object} [variables] @param {unknown[]} [messages] */
function outcome(template, variables = {}, messages = HI) {
  const { add_generation_prompt: addGenerationPrompt = true, ...templateVariables } = /** @type {any} */ (variables);
  try {
    return chat.prompt(messages, { template, templateVariables, addGenerationPrompt }).text;
  } catch (error) {
    return { code: error.code, message: error.message };
  }
}

// --- well-known templates ---------------------------------------------------------------------------------------------

const TEMPLATES = join(DATA, 'chat-templates'), GOLDEN = join(TEMPLATES, 'golden.json');
if (!existsSync(GOLDEN)) skip('templates of well-known models', 'shared/data/chat-templates is not here');
const { conversations, templates } = JSON.parse(existsSync(GOLDEN) ? readFileSync(GOLDEN, 'utf8') : '{"templates":{}}');
const MAY_DIFFER = /strftime_now/; // the date is today's
for (const [name, expected] of Object.entries(templates)) {
  const source = readFileSync(join(TEMPLATES, name), 'utf8');
  await check(`${name} renders as in Jinja2`, () => {
    for (const [title, { messages, ...variables }] of Object.entries(conversations)) {
      const got = outcome(source, { bos_token: '<bos>', eos_token: '<eos>', ...variables }, messages);
      const { text } = expected[title];
      if (text === undefined) equal(got.code, 'chat-template', title);
      else if (!MAY_DIFFER.test(source)) equal(got, text, title);
      else equal(typeof got, 'string', title);
    }
  });
}

// --- hostile templates ------------------------------------------------------------------------------------------------

for (const [name, [limit, template]] of Object.entries(HOSTILE)) {
  await check(`${name} ${limit ? 'is stopped' : 'ends'}`, () => {
    const got = outcome(template);
    if (!limit) return;
    equal(got.code, 'chat-template', JSON.stringify(got).slice(0, 100));
    ensure(limit.test(got.message), got.message);
  });
}
await check('memory stays within bounds', () =>
  ensure(memory.buffer.byteLength < MEMORY, `${memory.buffer.byteLength} bytes`));
await check('the interpreter goes on after them', () => equal(outcome('{{ messages[0].content }}!'), 'Hi!'));

// --- prompts ----------------------------------------------------------------------------------------------------------

await check('what goes wrong is said with its place', () => {
  equal(outcome('a\n{{ "a".startswith() }}'), { code: 'chat-template',
    message: 'line 2, column 18 of the chat template: startswith needs the argument prefix' });
  equal(outcome('{% if a b %}').message, 'line 1, column 9 of the chat template: expected %}, not "b"');
  equal(outcome('{{ raise_exception("No system role") }}').message, 'line 1, column 19 of the chat template: No system role');
});
await check('content that is null, missing, or in parts reaches the template as it is', () => {
  const source = '{% set c = messages[0].content %}{{ c is defined }},{{ c is none }},{{ c is string }}';
  const render = (/** @type {object} */ message) => outcome(source, {}, [{ role: 'assistant', ...message }]);
  equal(render({ content: null }), 'True,True,False'); // as Jinja2 3.1 answers
  equal(render({}), 'False,False,False');
  equal(render({ content: undefined }), 'False,False,False');
  equal(render({ content: [{ type: 'text', text: 'a' }] }), 'True,False,False');
});
await check('a prompt has ids, and special tokens in what the template wrote alone', () => {
  const { bos } = engine.info();
  const template = '{{ bos_token }}{{ messages[0].content }}';
  const begins = engine.tokenize(bos, { addBos: false, parseSpecial: true })[0];
  const count = (/** @type {Int32Array} */ ids) => ids.filter((id) => id === begins).length;
  const [forged, trusted] = [{}, { trusted: true }].map((more) =>
    chat.prompt([{ role: 'user', content: `a${bos}b`, ...more }], checkOptions(rules.render, { template })));
  equal([forged.text, forged.template, count(forged.ids), count(trusted.ids)], [`${bos}a${bos}b`, 'given', 1, 2]);
});
finish();
