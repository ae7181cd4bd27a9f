// Chat templates in dist/nutshell-template.mjs, which is the interpreter of @huggingface/jinja with limits added by
// wasm/jinja.mjs: it renders what the package itself renders, each hostile template is stopped by the right limit, and no
// template can access JavaScript's own objects.
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { Template as Original } from '@huggingface/jinja';
import { check, ensure, equal, finish, skip } from './harness.mjs';
import { DATA, DIST } from './models.mjs';

const { Template } = await import(join(DIST, 'nutshell-template.mjs'));
const FAMOUS = join(DATA, 'chat-templates');

// --- the same as the package ------------------------------------------------------------------------------------------

/** What a template renders, or the fact that it fails (messages differ). */
function outcome(Class, source, variables) {
  try {
    return new Class(source).render(variables);
  } catch (error) {
    return { fails: error instanceof Error };
  }
}

/** @param {string} source @param {object} variables @param {string} [what] */
function same(source, variables, what = source) {
  equal(outcome(Template, source, variables), outcome(Original, source, variables), `${what}:`);
}

const TOOL = { type: 'function', function: { name: 'get_weather', description: 'Weather of a <place>', parameters: {
  type: 'object', required: ['city'], properties: {
    city: { type: 'string', description: 'the city', enum: ['Bern', 'Genève'] },
    days: { type: 'array', items: { type: 'object', properties: { day: { type: 'integer' } } } } } } } };
const CALL = { id: 'abcdefghi', type: 'function', function: { name: 'get_weather', arguments: { city: 'Bern', days: [1, 2] } } };
const CONVERSATIONS = {
  'one question': [{ role: 'user', content: 'Hi <b>é😀</b>' }],
  'a system prompt': [{ role: 'system', content: 'Be kind.' }, { role: 'user', content: ' Hi \n' }],
  'some turns': [{ role: 'system', content: '' }, { role: 'user', content: 'Hi' },
    { role: 'assistant', content: '<think>hm</think>Hello' }, { role: 'user', content: 'And?\nMore' }],
  tools: [{ role: 'user', content: 'Rain?' }, { role: 'assistant', content: '', tool_calls: [CALL] },
    { role: 'tool', name: 'get_weather', tool_call_id: 'abcdefghi', content: '{"t": 20}' },
    { role: 'assistant', content: 'No.', reasoning_content: 'It says 20.' }, { role: 'user', content: 'Thanks' }],
  parts: [{ role: 'user', content: [{ type: 'text', text: 'What is' }, { type: 'image' }, { type: 'text', text: 'this?' }] }],
};
const VARIABLES = [{}, { tools: [TOOL] }, { tools: [TOOL], enable_thinking: false, documents: [{ title: 'a', text: 'b' }] },
  { enable_thinking: true, thinking: true, reasoning_effort: 'low' }];
const TOKENS = { bos_token: '<s>', eos_token: '</s>' };

const famous = existsSync(FAMOUS) ? readdirSync(FAMOUS).filter((name) => name.endsWith('.jinja')) : [];
if (famous.length === 0) skip('templates of well-known models', 'shared/data/chat-templates is not here');
for (const name of famous) {
  const source = readFileSync(join(FAMOUS, name), 'utf8');
  await check(`${name} renders the same`, () => {
    for (const [what, messages] of Object.entries(CONVERSATIONS)) {
      for (const variables of VARIABLES) {
        for (const add_generation_prompt of [true, false]) {
          same(source, { ...TOKENS, ...variables, messages, add_generation_prompt }, what);
        }
      }
    }
  });
  await check(`${name} renders a megabyte`, () => {
    const content = 'Words. '.repeat(150);
    const messages = Array.from({ length: 999 }, (_, i) => ({ role: i % 2 ? 'assistant' : 'user', content }));
    same(source, { ...TOKENS, messages, tools: [], add_generation_prompt: true });
  });
}

/** Expressions that the package evaluates in its own way. */
const EXPRESSIONS = `
  1 + 2 * 3 - 4 / 5 // 2 % 3 ** 2 | -x | +t | not x and y or z | 1.0 ~ 2.5 ~ -0.0 ~ 1e3 | 2 ** 0.5 | 2 ** -1 | true ** 2
  s ~ 1 ~ l ~ o ~ none | l ~ l | s + 1 | l + s | l + l | l == l | l == '1,b,2.5,true' | ['1'] == 1 | [] == '' | l != s
  o == s | '1' == 1 | none == undefined | 'a' in s | 'A' not in s | 1 in l | '1' in l | [1] in l | 'k' in o | s in none_such
  s in o | s[0] | s[-1] | s[9] | l[0] | l[-1] | l.0 | o.k | o['k'] | o.none | s[1:] | s[:2] | s[:-1] | s[-2:] | s[5:2]
  s[::2] | s[::-1] | s[-1:0:-1] | l[1:] | l[::-1] | l[::0] | s[::0] | e[1:] | e[:2] | e[::-1] | e[-2:] | e[0] | s[100:]
  s[none_such:1] | s.upper() | s.lower() | s.title() | s.capitalize() | s.strip() | s.lstrip() | s.rstrip() | s.length
  l.length | o.length | s.split() | s.split(' ') | s.split('a', 1) | s.split(none, 1) | s.split('') | ''.split()
  s.split(s) | s.split('aa', 0) | s.replace('a', 'b') | s.replace('a', 'b', 1) | s.replace('a', 'b', count=1)
  s.replace('', '-') | s.replace('', '-', 2) | s.replace('a', 'b', -1) | s.replace('a', '') | s.replace('.', '$&')
  e.replace('\\ud83d', 'x') | s.replace('a', '$1') | s.replace('a') | s.startswith('A') | s.startswith(('x', 'A'))
  s.endswith('.') | s.endswith(['.', 1]) | s.startswith(1) | s.startswith() | o.get('k') | o.get('x') | o.get('x', 5)
  o.get(1) | o.items() | o.keys() | o.values() | o.dictsort() | o|dictsort(reverse=true) | o|dictsort(by='value')
  o|dictsort(true) | o|dictsort(by='x') | o|items | o|length | o|tojson | o|list | {}|items | {'a': 1}.a | l|first | l|last
  l|length | l|reverse | l|join | l|join(', ') | l|join(separator=1) | s|join('-') | e|join('-') | [[1, [2]], o]|join
  [3, 1, 2]|sort | ['b', 'A', 'a']|sort | ['b', 'A', 'a']|sort(case_sensitive=true) | [3, 1]|sort(reverse=true)
  [3, 'a']|sort | m|sort(attribute='n') | m|sort(attribute='d.e') | [[2, 1], [1, 2]]|sort(attribute=1) | [none, none]|sort
  [1, true, 0.5]|sort | [1, 1, 'a', 'a', s, s]|unique | m|map(attribute='n')|list | m|map(attribute='x', default=1)
  m|map('upper') | m|selectattr('n')|list | m|selectattr('n', 'equalto', '1')|list|length
  m|rejectattr('n', 'defined')|list | m|selectattr('n', 'odd') | m|selectattr(n) | s|tojson | e|tojson
  e|tojson(ensure_ascii=true) | m|tojson(indent=2) | m|tojson(indent=2, sort_keys=true) | []|tojson(indent=1)
  m|tojson(separators=(',', ':')) | l|tojson(indent='x') | f|tojson | namespace(a=1)|tojson | l|string | true|string
  1.0|string | t|indent | t|indent(2) | t|indent(2, true) | t|indent(2, true, true) | t|indent(width=1, first=true)
  t|indent(blank=true) | s|indent | s|trim | s|upper | s|lower | s|title | s|capitalize | s|length | s|int | '12a'|int
  'x'|int(7) | '1.5x'|float | 'x'|float(2) | 1.7|int | -1.5|abs | true|int | true|float | s|default(1)
  none_such|default(1) | ''|default(1, true) | ''|default(1, boolean=true) | s|nothing | x is defined | x is not defined
  x is none | l is iterable | o is mapping | s is string | 1 is number | 1.5 is integer | 3 is odd | s is lower
  'A' is upper | f is callable | l is sequence | true is boolean | true is true | s is nothing | 1 is odd is true | range(3)
  range(1, 4) | range(5, 1, -2) | range(0) | range(1.5) | range(3, 0) | range(0, 1, 0) | range(true) | range(none_such)
  1 if x else 2 | 1 if false | (1, 2) | () | [1, [2, {'a': none}]] | {'a': {'b': [true]}} | {1: 2} | f(1) | s(1) | none.x
  x.y.z | namespace(o).k | namespace([('a', 1)]).a | namespace(['ab']).a | namespace(1) | namespace(l)
  raise_exception('a') | raise_exception() | raise_exception(l) | 'a' 'b' | "\\x41\\u0042\\n" | '\\q' | 1.2.3 | a.b()
  [1, 2](1) | 5 // 0 | 5 % 0 | 1 < 'a' | 'a' < 'b'
`.split(/\s+\|\s+|\n/).map((text) => text.trim()).filter(Boolean);

const BLOCKS = [
  '{% for a in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}'
    + '{{ loop.last }}{{ loop.length }}{{ loop.previtem }}{{ loop.nextitem }}{{ a }}{% else %}none{% endfor %}{{ loop }}{{ a }}',
  '{% for a in l if a != "b" %}{{ loop.index }}{{ a }}{% endfor %}',
  '{% for k, v in o.items() %}{{ k }}={{ v }}{% endfor %}',
  '{% for a in l %}{% for b in l %}{{ loop.index }}{% endfor %}{{ loop.index }}{{ loop }}{% endfor %}',
  '{% macro m() %}{{ loop.index }}{% endmacro %}{% for a in l %}{{ m() }}{% endfor %}{{ m() }}',
  '{% for loop in l %}{{ loop }}{% endfor %}', '{% for a in l %}{% set loop = 5 %}{{ loop }}{% endfor %}',
  '{% for a in [] %}{% else %}empty{% endfor %}', '{% for a in o %}{{ a }}{% endfor %}',
  '{% for a in s %}{{ a }}{% endfor %}', '{% for a, b in l %}{{ a }}{% endfor %}',
  '{% for a in l %}{% if loop.first %}{% continue %}{% endif %}{{ a }}{% break %}{% endfor %}',
  '{% set x = 1 %}{% for a in l %}{% set x = a %}{{ x }}{% endfor %}{{ x }}', '{% set a, b = 1, 2 %}{{ a }}{{ b }}',
  '{% set a, b = 1 %}', '{% set n = namespace(x=0) %}{% for a in l %}{% set n.x = n.x + 1 %}{% endfor %}{{ n.x }}',
  '{% set o.k = 1 %}', '{% set s.x = 1 %}', '{% set x %}a{{ s }}b{% endset %}{{ x|length }}{{ x }}',
  '{% set x = []|first %}{{ x }}|{{ x is defined }}', '{{ []|first }}',
  '{% set x = 1 %}{% for a in l %}{% set x = []|first %}{{ x }}{% endfor %}{{ x }}',
  '{% macro m(a, b=2) %}{{ a }}{{ b }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1) }}{{ m(1, 3) }}'
    + '{{ m(1, 2, 3, c=4) }}{{ m(*l) }}',
  '{% macro m(a, b=2) %}{{ a }}{{ b }}{% endmacro %}{{ m(1, 2, 3) }}',
  '{% macro m(a) %}{{ a }}{% endmacro %}{{ m(x=1) }}{{ m(**o) }}',
  '{% macro m(a) %}{{ a }}{% endmacro %}{{ m(a=1, a=2) }}',
  '{% macro m(n) %}{{ n }}{% if n %}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(9) }}',
  '{% macro m() %}<{{ caller(1) }}>{% endmacro %}{% call(x) m() %}{{ x }}{{ s }}{% endcall %}',
  '{% call s() %}{% endcall %}', '{% filter upper %}a{{ s }}{% endfilter %}',
  '{% filter replace("a", "b") %}a{{ s }}{% endfilter %}', '{% filter nothing %}{% endfilter %}',
  '{% if x %}a{% elif y is defined %}b{% elif s %}c{% else %}d{% endif %}', '{# a comment #}a {#- b -#} c',
  ' a {%- if s -%} b {%- endif -%} c\n', '  {% if s %}\n  a\n  {% endif %}\n{{ s }}\n\n', '{%- set x = 1 -%}  {{- x -}}  ',
  '{{ "{{ }}" }}{{ \'%}\' }}', '{{ {"a": {"b": 1}}["a"].b }}', 'a {% generation %} b {% endgeneration %} c',
  'a {%- generation -%} b {%- endgeneration -%} c', 'a{% generation -%}{% generation %} {%- endgeneration %} d',
  '{% generation %}{{ s }}{% endgeneration %}', '{%generation%}', '{% generation', 'a \n {%- endgeneration %} \n b', '{{',
  '{{ 1', '{% if %}', '{% if 1 %}', '{% endif %}', '{% for a in %}{% endfor %}', '{{ 1 + }}', '{{ (1 }}', '{{ a[ }}',
  '{{ {"a" 1} }}', '{% nothing %}', '{{ m(**o, 1) }}', '{{ m(a=1, 2) }}', '{{ m(*l, *l) }}',
  '{% macro m(a, a) %}{% endmacro %}', '{% macro m(1) %}{% endmacro %}', '{{ a[1:2:3:4] }}', '{#', '',
];

const VALUES = {
  s: 'A banana, a cat.', t: 'a\n\n b\nc', e: 'a😀b\ud83dc', l: [1, 'b', 2.5, true], o: { k: 1, K: 2, a: 0 }, y: 1,
  z: 2, m: [{ n: 1, d: { e: 2 } }, { d: { e: 1 }, n: '1' }, { n: 0 }], f: (x) => x,
};

await check(`${EXPRESSIONS.length} expressions come out the same`, () => {
  ensure(EXPRESSIONS.length > 230, 'the table was not read');
  for (const text of EXPRESSIONS) same(`{{ ${text} }}`, VALUES);
});
await check(`${BLOCKS.length} blocks come out the same`, () => {
  for (const text of BLOCKS) same(text, VALUES);
});
await check('what goes wrong is said in few words', () => {
  const said = (source) => {
    try { return new Template(source).render({}); } catch (error) { return error.message; }
  };
  equal(said('{% if a b %}'), 'cannot be read near "{% if a b %}"');
  equal(said('{{ "a".startswith() }}'), 'bad startswith() argument');
  equal(said('{{ [1]|upper }}'), 'Unknown filter: upper');
  equal(said('{{ "a".upper().x.y() }}'), 'Cannot call something that is not a function: got Undefined');
});

// --- no way to JavaScript's objects -----------------------------------------------------------------------------------

await check('no name leads to what JavaScript keeps in its objects', () => {
  const things = ['messages', 'messages[0]', 's', '1', '1.5', 'true', 'none', 'none_such', 'range', 'namespace', 'namespace()',
    '[]', '{}', '(1, 2)', 's.upper', '{}.get', 'm', 'caller', 'messages|map(attribute="x")|first'];
  const names = ['constructor', '__proto__', 'prototype', 'valueOf', 'hasOwnProperty', '__defineGetter__', 'call', 'bind',
    'apply', 'value', 'builtins'];
  for (const thing of things) {
    for (const name of names) {
      const source = `{% macro m() %}{% endmacro %}{{ (${thing}).${name} is defined }}{{ (${thing})['${name}'] is defined }}`
        + `{{ [${thing}]|map(attribute='0.${name}')|first is defined if (${thing}) is mapping else false }}`;
      const text = outcome(Template, source, { s: 'a', messages: [{ role: 'user', content: 'a' }] });
      equal(typeof text === 'string' ? text.toLowerCase() : text, 'falsefalsefalse', `(${thing}).${name}:`);
    }
  }
  for (const name of names) equal(outcome(Template, `{{ ${name} is defined }}`, {}), 'false', name);
});
await check('keys of that kind are keys like others', () => {
  const messages = JSON.parse('[{"role": "user", "content": "a", "__proto__": {"x": 1}, "constructor": 2}]');
  equal(outcome(Template, '{{ messages[0].__proto__.x }}{{ messages[0].constructor }}{{ messages[0].x }}', { messages }), '12');
  equal(outcome(Template, '{% set n = namespace() %}{% set n.__proto__ = {"x": 1} %}{{ n.__proto__.x }}{{ n.x }}', {}), '1');
  equal(outcome(Template, '{% set o = {"__proto__": {"x": 1}} %}{{ o.__proto__.x }}{{ o.x }}{{ {}.x }}', {}), '1');
  equal([/** @type {any} */ ({}).x, Object.keys(Object.prototype)], [undefined, []]);
});

// --- hostile templates ------------------------------------------------------------------------------------------------

/** Runs in a thread that ends when it takes too much memory for a page. @param {string} name */
function attack(name) {
  const code = `
    const { parentPort, workerData: { name, template, dist } } = require('node:worker_threads');
    (async () => {
      const { HOSTILE } = await import(${JSON.stringify(new URL('hostile-templates.mjs', import.meta.url).href)});
      const { Template } = await import(dist);
      let said = 'nothing', again = '';
      try { new Template(HOSTILE[name][1]).render({ messages: [] }); } catch (error) { said = error.message; }
      again = new Template('{{ messages[0] }}').render({ messages: ['well'] });
      parentPort.postMessage({ said, again });
    })();`;
  return new Promise((done) => {
    const thread = new Worker(code, { eval: true, workerData: { name, dist: join(DIST, 'nutshell-template.mjs') },
      resourceLimits: { maxOldGenerationSizeMb: 512, stackSizeMb: 1 } });
    thread.once('message', (answer) => thread.terminate().then(() => done(answer)));
    thread.once('error', (error) => done({ said: String(error), again: '' }));
  });
}

const { HOSTILE } = await import('./hostile-templates.mjs');
for (const [name, [limit]] of Object.entries(HOSTILE)) {
  await check(`stopped: ${name}`, async () => {
    const since = Date.now();
    const { said, again } = await attack(name);
    ensure(new RegExp(`^stopped at the limit of \\d+ ${limit}$`).test(said), said);
    equal(again, 'well');
    ensure(Date.now() - since < 60_000, `it took ${(Date.now() - since) / 1000} s`);
  });
}
await check('blanks are read in a time that grows with their number', () => {
  const since = Date.now();
  equal(new Template(`a${' '.repeat(240_000)}b`).render({}).length, 240_002);
  equal(new Template(`a${'{% '.repeat(80_000)}`.slice(0, 4) + 'generation %}').render({}), 'a');
  ensure(Date.now() - since < 5000, `it took ${Date.now() - since} ms`);
});
await check('a range wants numbers', () => {
  equal(outcome(Template, '{{ range(1, 0, "0") }}', {}), { fails: true });
  equal(outcome(Template, '{{ range(0, ["00001"]) }}', {}), { fails: true });
});

finish();
