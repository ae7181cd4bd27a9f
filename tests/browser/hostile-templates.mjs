// Hostile chat templates, each with what has to stop it: a limit of src/chat/value.h, or the error that comes before. null:
// what was hostile to other interpreters and ends by itself here. Used by the test in Node.js and by the one in browsers.

/** A text that is doubled in a loop: 2^n characters. @param {number} n @param {string} [seed] */
const doubled = (n, seed = 'a') =>
  `{% set d = namespace(s='${seed}') %}{% for i in range(${n}) %}{% set d.s = d.s ~ d.s %}{% endfor %}{% set s = d.s %}`;

/** A list `a` with the same few things 2^n times. @param {string} things @param {number} n */
const many = (things, n) =>
  `{% set d = namespace(a=[${things}]) %}{% for i in range(${n}) %}{% set d.a = d.a + d.a %}{% endfor %}{% set a = d.a %}`;

/** A list of twice the same list of twice the same list …, n deep: n objects. @param {number} n */
const folded = (n) =>
  `{% set d = namespace(a=[0]) %}{% for i in range(${n}) %}{% set d.a = [d.a, d.a] %}{% endfor %}{% set a = d.a %}`;

/** Repeats the work for each of many numbers. @param {string} work @param {number} [times] */
const often = (work, times = 100_000) => `{% for i in range(${times}) %}${work}{% endfor %}`;

/** @param {string} open @param {string} inside @param {string} close @param {number} [n] */
const nest = (open, inside, close, n = 5000) => open.repeat(n) + inside + close.repeat(n);

const STEPS = /limit of \d+ (steps|bytes)/, ALL = STEPS, TEXT = /limit of \d+ bytes/, DEPTH = /limit of \d+ levels of nesting/;
const SOURCE = /the limit is \d+/, RANGE = /Range too big/;

/** Description -> what stops it, the template. @type {Record<string, [limit: RegExp | null, template: string]>} */
export const HOSTILE = {
  // Work
  'loops inside of loops': [STEPS, often(often(often('')))],
  'a range of a thousand million': [RANGE, '{% for i in range(10**9) %}{% endfor %}'],
  'a range whose steps are too small to count': [null, '{{ range(10**17, 10**17 + 10) }}'],
  'a list that doubles': [STEPS, '{% set d = namespace(a=[1]) %}{% for i in range(60) %}{% set d.a = d.a + d.a %}{% endfor %}'],
  'macros that call themselves twice': [STEPS,
    '{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}'],
  'macros that are defined again and again': [null, often(`{% macro m() %}${'{{ 1 }}'.repeat(5000)}{% endmacro %}`)],
  'a date again and again': [null, often('{% set x = strftime_now("%B %b") %}')],
  'a loop that is left again and again': [RANGE, `{% set a = range(10**6) %}${often('{% for x in a %}{% break %}{% endfor %}')}`],
  'a loop over nothing of much': [RANGE, `{% set a = range(10**6) %}${often('{% for x in a if false %}{% endfor %}')}`],
  'names that are looked up from far below': [STEPS,
    `${often('{% for x in [1] %}'.repeat(60) + '{{ none_such }}'.repeat(400) + '{% endfor %}'.repeat(60))}`],
  'much text in texts': [ALL, doubled(22) + often('{% if s ~ "b" in s ~ "c" %}{% endif %}')],
  'a needle nearly found at every place': [STEPS, `${doubled(22)}{% set n = s[:10**6] ~ 'b' %}{{ n in s }}`],
  'a needle replaced that is nearly found at every place': [STEPS,
    `${doubled(22)}{% set n = s[:10**6] ~ 'b' %}{{ s.replace(n, '') }}`],
  'a separator nearly found at every place': [STEPS, `${doubled(22)}{% set n = s[:10**6] ~ 'b' %}{{ s.split(n) }}`],
  'a text split into millions': [STEPS, `${doubled(21, 'ab')}{{ s.split('a') }}`],
  'a text of millions of words': [STEPS, `${doubled(21, 'a ')}{{ s.split() }}`],
  'lines of millions': [STEPS, `${doubled(22)}{{ s.replace('a', '\\n')|indent }}`],
  'long texts compared': [STEPS, `${doubled(20)}{% set t = s[1:] ~ 'b' %}${often('{% if s == t %}{% endif %}')}`],
  'long texts sorted': [STEPS, `${doubled(20)}${many(`s, s[1:] ~ 'b'`, 12)}{{ a|sort|length }}`],
  'long keys sorted': [ALL, `${doubled(16)}{% set o = {s ~ 1: 1, s ~ 2: 2} %}${often('{% set x = o|tojson(sort_keys=true) %}')}`],
  'long texts told apart': [STEPS, `${doubled(20)}${many(`s, s[1:] ~ 'a'`, 14)}{{ a|unique|length }}`],
  'a long text looked for in a list': [STEPS, `${doubled(20)}${many(`s, s[1:] ~ 'b'`, 14)}{{ (s[1:] ~ 'c') in a }}`],
  'long beginnings': [/a text or a tuple/, `${doubled(20)}${many(`s ~ 'b'`, 14)}{{ s.startswith(a) }}`],
  'long paths': [STEPS,
    `${doubled(16, 'a.')}{% set n = namespace() %}{% set n.a = n %}${many('n', 14)}{{ a|map(attribute=s) }}`],
  'attributes of many': [STEPS,
    `${many(`{'a': 1}`, 20)}${often(`{% if a|selectattr('a', 'equalto', 'b') %}{% endif %}`)}`],
  'arguments of many': [STEPS,
    `{% set a = range(10**5) %}{% macro m() %}{{ varargs|length }}{% endmacro %}${often('{{ m(*a) }}')}`],
  'text of characters that are two': [STEPS, `${doubled(20, '😀')}${often('{% set x = s[::-1] %}')}`],
  'JSON of lists in lists': [ALL, `${folded(60)}{{ a|tojson }}`],
  'text of lists in lists': [ALL, `${folded(60)}{{ a }}`],
  'text added to lists in lists': [ALL, `${folded(60)}{{ a ~ '' }}`],
  'lists in lists compared with text': [null, `${folded(60)}{{ a == 'b' }}`],
  'lists in lists joined': [ALL, `${folded(60)}{{ [a, a]|join(',') }}`],
  'lists in lists as an error': [ALL, `${folded(60)}{{ raise_exception([a, a]) }}`],
  'rounds kept': [RANGE, `{% set k = namespace(l=[]) %}${often('{% set k.l = [k.l, loop] %}', 10 ** 6)}`],
  'methods kept': [RANGE, `{% set k = namespace(l=[]) %}${often('{% set k.l = [k.l, (i ~ "x").strip] %}', 10 ** 6)}`],
  'scopes kept': [RANGE, `{% macro m() %}{% set k.l = [k.l, caller] %}{% endmacro %}{% set k = namespace(l=[]) %}${
    often('{% call m() %}{% endcall %}', 10 ** 6)}`],
  // Text
  'a text that doubles': [TEXT, doubled(60)],
  'a text that doubles by adding': [TEXT, doubled(60).replace('d.s ~ d.s', 'd.s + d.s')],
  'a text that doubles in blocks': [TEXT, `{% set d = namespace(s='a') %}{% for i in range(60) %}`
    + '{% set d.s %}{{ d.s }}{{ d.s }}{% endset %}{% endfor %}'],
  'output without an end': [TEXT, doubled(22) + often('{{ s }}')],
  'a text put in for each letter': [ALL, `${doubled(20)}{{ s.replace('a', s) }}`],
  'a text put in between letters': [ALL, `${doubled(20)}{{ s.replace('', s[:100]) }}`],
  'a list joined by a long text': [TEXT, `${doubled(20)}{{ range(1000)|join(s) }}`],
  'letters joined by a text': [TEXT, `${doubled(20)}{{ s|join(s) }}`],
  'long texts joined': [TEXT, `${doubled(20)}${many(`s`, 10)}{{ a|join }}`],
  'a list of long texts compared with text': [null, `${doubled(20)}${many(`s`, 10)}{{ a == 'b' }}`],
  'a list of long texts as an error': [TEXT, `${doubled(20)}${many(`s`, 10)}{{ raise_exception(a) }}`],
  'a wide indent': [TEXT, `{{ 'a'|indent(10**9, true) }}`],
  'lines indented': [TEXT, `${doubled(16)}{{ s.replace('a', 'a\\n')|indent(10**5) }}`],
  'JSON indented widely': [TEXT, '{{ [1]|tojson(indent=10**9) }}'],
  'JSON indented deeply': [TEXT, `{% set d = namespace(a=[0]) %}{% for i in range(100) %}{% set d.a = [d.a] %}{% endfor %}{{
    d.a|tojson(indent=10**6) }}`],
  'JSON with long separators': [/cannot be written as JSON/, `${doubled(20)}{{ range(100)|tojson(separators=(s, s)) }}`],
  'JSON of long texts': [ALL, `${doubled(20)}${many(`s`, 10)}{{ a|tojson }}`],
  'texts changed again and again': [ALL, doubled(22) + often('{% set x = s|upper %}')],
  'texts cut again and again': [ALL, doubled(22) + often('{% set x = s[1:] %}')],
  'texts joined, looked into and kept': [ALL, `${doubled(22)}{% set k = namespace(l=[]) %}${
    often(`{% set x = s ~ i %}{% if 'b' in x %}{% endif %}{% set k.l = [k.l, x] %}`)}`],
  // Nesting
  'a macro that calls itself': [DEPTH, '{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}'],
  'a caller that calls itself': [DEPTH, '{% macro m() %}{{ caller() }}{% endmacro %}'
    + '{% macro n() %}{% call m() %}{{ n() }}{% endcall %}{% endmacro %}{{ n() }}'],
  'a namespace in itself': [/a namespace cannot be written/, '{% set d = namespace() %}{% set d.d = d %}{{ d|tojson }}'],
  'a namespace in itself, as text': [DEPTH, '{% set d = namespace() %}{% set d.d = d %}{{ d }}'],
  'lists inside of lists': [DEPTH,
    '{% set d = namespace(a=[]) %}{% for i in range(10**5) %}{% set d.a = [d.a] %}{% endfor %}{{ d.a }}'],
  'a sum of thousands': [null, `{{ 1${' + 1'.repeat(20_000)} }}`],
  'parentheses': [DEPTH, `{{ ${nest('(', '1', ')')} }}`],
  'parentheses without an end': [DEPTH, `{{ ${'('.repeat(200_000)}`],
  'brackets': [DEPTH, `{{ ${nest('[', '', ']')} }}`],
  'braces': [DEPTH, `{{ ${nest('{"a": ', '1', '}')} }}`],
  'indices': [DEPTH, `{{ ${nest('a[', '0', ']')} }}`],
  'calls in calls': [DEPTH, `{{ ${nest('f(', '0', ')')} }}`],
  'calls of calls': [/'f' is undefined/, `{{ f${'()'.repeat(5000)} }}`],
  'no, no, no': [DEPTH, `{{ ${'not '.repeat(20_000)}1 }}`],
  'less than nothing': [DEPTH, `{{ ${'- '.repeat(20_000)}1 }}`],
  'or else': [DEPTH, `{{ ${'1 if 0 else '.repeat(5000)}1 }}`],
  'else if': [null, `{% if 0 %}${'{% elif 0 %}'.repeat(5000)}{% endif %}`],
  'blocks in blocks': [DEPTH, nest('{% if 1 %}', '', '{% endif %}')],
  'loops in loops in loops': [DEPTH, nest('{% for a in b %}', '', '{% endfor %}')],
  'macros in macros': [DEPTH, nest('{% macro m() %}', '', '{% endmacro %}')],
  // What C would do badly
  'a number that overflows': [/does not fit/, '{{ 9223372036854775807 * 9223372036854775807 }}'],
  'a power that overflows': [/does not fit/, '{{ 10 ** 1000000 }}'],
  'the least number divided': [/does not fit/, '{{ (-9223372036854775807 - 1) // -1 }}'],
  'a text repeated': [TEXT, `{{ 'abcdefgh' * 10**9 }}`],
  'a list repeated': [STEPS, '{% set x = [1] * 10**9 %}'],
  'a wide format': [null, `{{ '%999999999d' % 1 }}{{ '{:>999999999}'.format(1) }}`],
  'a text of many places': [/cannot be written/, `{{ '%.999999f' % 1e300 }}`],
  'a range at the end of numbers': [null,
    '{% for i in range(9223372036854775000, 9223372036854775807, 9223372036854775000) %}{% endfor %}'],
  'a slice far outside': [null, `{{ 'abc'[-9223372036854775807:9223372036854775807:9223372036854775807] }}`],
  'a text that grows by one': [STEPS, `{% set d = namespace(s='') %}${often(often(`{% set d.s = 'a' ~ d.s %}`))}`],
  'columns as wide as can be': [TEXT, `{{ 'a'.ljust(10**12) }}`],
  'centred in a wide column': [TEXT, `{{ 'a'.center(9223372036854775807) }}`],
  'keys that collide': [STEPS, `{% set d = namespace(o={}) %}${often('{% set d.o = dict(d.o, **{i|string: i}) %}')}`],
  'macros in their own defaults': [DEPTH, '{% macro m(a=m()) %}{% endmacro %}{{ m() }}'],
  'a loop that calls itself': [DEPTH, '{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}'],
  'a filter in itself': [DEPTH,
    `{% set d = namespace(a=['a']) %}${often('{% set d.a = [d.a] %}', 5000)}{{ d.a|map('join')|map('join')|list }}`],
  // Size
  'megabytes of parentheses': [SOURCE, `{{ ${'('.repeat(4_000_000)}`],
  'megabytes of text': [SOURCE, 'a'.repeat(4_000_000)],
};
