"""Writes tests/golden/jinja.h: pieces of templates, and what Jinja2 makes of them with the settings of transformers.

Run by hand: `pip install jinja2==3.1.6 && python3 tests/golden/jinja.py`. A piece that raises has no text.
"""
import datetime, json, os
import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

EXPRESSIONS = r'''
1 + 2 * 3 - 4 / 5 // 2 % 3 ** 2 ~ -x ~ +y
not x and y or z
1.0 ~ 2.5 ~ -0.0 ~ 1e3 ~ 1e16 ~ 0.1
2 ** 0.5
2 ** -1
true ** 2
7 // 2 ~ -7 // 2 ~ 7 // -2 ~ -7 % 3 ~ 7 % -3 ~ 7.5 % 2 ~ -7.5 % 2 ~ -7.5 // 2
1 < 2 < 3 ~ (1 < 3 < 2) ~ (3 > 2 >= 2 != 1)
s ~ 1 ~ l ~ o ~ none
l ~ l
s + 1
l + s
l + l
(1, 2) + (3,)
l + (1,)
'ab' * 3 ~ 3 * 'ab' ~ [1] * 2 ~ 'a' * -1
l == l
['1'] == 1
[1, 2] == (1, 2)
{'a': 1, 'b': 2} == {'b': 2, 'a': 1}
o == s
'1' == 1
1 == 1.0 ~ (1 == true) ~ (0 == false) ~ ('' == false)
none == undefined
undefined == undefined2
'a' in s
'A' not in s
1 in l
'1' in l
[1] in l
'k' in o
s in none_such
none_such in s
1 in 'abc'
1 in 5
s in o
s[0] ~ s[-1] ~ s[9] ~ s[99]
l[0] ~ l[-1] ~ l.0
l[1.0]
l['a'] is defined
o.k ~ o['k'] ~ o.none ~ o['x']
o.x.y
s[1:] ~ s[:2] ~ s[:-1] ~ s[-2:] ~ s[5:2]
s[::2] ~ s[::-1] ~ s[-1:0:-1]
l[1:] ~ l[::-1]
l[::0]
e[1:] ~ e[:2] ~ e[::-1] ~ e[-2:] ~ e[0] ~ e|length
s[100:] ~ s[-100:2] ~ s[2:100:3]
o[1:] is defined
(1, 2, 3)[1:]
range(10)[2:5]
s.upper() ~ s.lower() ~ s.title() ~ s.capitalize() ~ s.swapcase()
"They're bill's friends-of x_y 3d".title()
"they're bill's friends-of x_y (ab"|title
'ÄÖÜßéΣa'.lower() ~ 'äöüßéσя'.upper() ~ 'éa'.capitalize()
'  a b '.strip() ~ '|' ~ '  a '.lstrip() ~ '|' ~ ' a  '.rstrip() ~ '|'
'xxaxx'.strip('x') ~ 'abcba'.lstrip('ab') ~ 'abcba'.rstrip('ab') ~ '\u00a0a\u2003'.strip()
s.length is defined
s.split()
s.split(' ')
s.split('a', 1)
s.split(none, 1)
s.split('')
''.split()
''.split('a')
s.split(s)
s.split('aa', 0)
' a  b c '.split(none, 1)
s.rsplit('a', 1)
' a  b c '.rsplit(none, 1)
'a,b,c'.rsplit(',')
'aaa'.rsplit('aa', 1)
'a\nb\r\nc\n\nd'.splitlines()
'a\nb\n'.splitlines(true)
'a-b-c'.partition('-')
'a-b-c'.rpartition('-')
'abc'.partition('-')
'abc'.rpartition('-')
s.replace('a', 'b')
s.replace('a', 'b', 1)
'aaa'.replace('', '-')
'aaa'.replace('', '-', 2)
s.replace('a', 'b', -1)
s.replace('a', '')
s.replace('a')
s.startswith('A') ~ s.startswith(('x', 'A')) ~ s.endswith('.') ~ s.endswith(('.', 'x'))
s.endswith(['.', 'x'])
s.startswith(1)
s.startswith()
s.startswith('b', 2) ~ s.startswith('an', 3, 4)
s.find('an') ~ s.find('zz') ~ s.rfind('an') ~ s.find('an', 4) ~ e.find('b')
s.index('an') ~ s.count('a') ~ s.count('an') ~ 'aaa'.count('') ~ s.count('a', 5)
s.index('zz')
'abc'.removeprefix('ab') ~ 'abc'.removesuffix('bc') ~ 'abc'.removeprefix('x')
'a'.center(5) ~ '|' ~ 'ab'.center(5, '*') ~ '|'
'a'.ljust(3) ~ '|' ~ 'a'.rjust(3, '.') ~ '42'.zfill(5) ~ '-42'.zfill(5)
'a\tb'.expandtabs(4)
'abc'.isalpha() ~ 'ab1'.isalnum() ~ '12'.isdigit() ~ ''.isdigit()
' '.isspace() ~ 'a'.islower() ~ 'A1'.isupper() ~ 'Ab'.istitle()
'-'.join(['a', 'b'])
'-'.join(l)
'-'.join('abc')
'{} {}'.format(1, 'a')
'{0} {1} {0}'.format(1, 'a')
'{a} {b[k]} {c.k}'.format(a=1, b=o, c=o)
'{:>5}|{:<5}|{:^5}|{:*^7}|{:05d}|{:.2f}|{:,}|{:x}|{:+d}'.format('a', 'b', 'c', 'd', 42, 3.14159, 1234567, 255, 5)
'{{}} {!r} {!s}'.format('a', 'b')
'{}'.format()
'{:e} {:g} {:%}'.format(12345.678, 0.0001, 0.25)
'%s %d %5.2f %-5s| %05d %x %r %%' % ('a', 42, 3.14159, 'b', 42, 255, 'c')
'%s' % l
'%s %s' % ('a',)
'%d' % 'a'
'%(k)s %(a)d' % o
'%s and %s'|format('a', 1)
o.get('k') ~ o.get('x') ~ o.get('x', 5)
o.get(1)
o.items()
o.keys()
o.values()
o.items()|list
o.pop('k')
l.append(1)
l.append is defined
l.index('b') ~ l.count(1)
o|dictsort
o|dictsort(reverse=true)
o|dictsort(by='value')
o|dictsort(true)
o|dictsort(by='x')
o|items|list
{}|items|list
none_such|items|list
o|length ~ l|length ~ s|length ~ none_such|length ~ range(3)|length ~ o|count
5|length
none|length
o|list
s|list
{'a': 1}.a
{'a': 1, 'a': 2}
{1: 'a', true: 'b', 1.0: 'c', '1': 'd'}
{'items': 1}.items is callable
{'items': 1}['items']
{[1]: 2}
{(1, 2): 3}[(1, 2)]
l|first ~ l|last ~ s|first ~ s|last
[]|first is defined
''|last
l|reverse|list
s|reverse
l|reverse is sequence
l|join
l|join(', ')
l|join(d=1)
s|join('-')
m|join(',', attribute='n')
[[1, [2]], o]|join
none|join
[3, 1, 2]|sort
['b', 'A', 'a', 'B']|sort
['b', 'A', 'a']|sort(case_sensitive=true)
[3, 1]|sort(reverse=true)
[3, 'a']|sort
m|sort(attribute='n')
m2|sort(attribute='d.e')|map(attribute='n')|list
[[2, 1], [1, 2]]|sort(attribute=1)
[none, none]|sort
[1, true, 0.5]|sort
[2, 1, 2, 3, 1]|sort(reverse=true)
[1, 1, 'a', 'A', 'a', s, s]|unique|list
['a', 'A']|unique(case_sensitive=true)|list
m2|unique(attribute='d.e')|list|length
m|map(attribute='n')|list
m|map(attribute='x', default=1)|list
m|map(attribute='d.e')|list
['a', 'b']|map('upper')|list
[' a ']|map('trim')|join
[1, 2]|map('string')|list
['a']|map('replace', 'a', 'b')|list
l|map|list
m|map('nothing')|list
m|selectattr('n')|list
m|selectattr('n', 'equalto', '1')|list|length
m|selectattr('n', '==', 1)|list|length
m|rejectattr('d', 'defined')|list
[1, 2, 3]|select('odd')|list
[1, 0, 3]|select|list
[1, 2, 3]|reject('odd')|list
[1, 2, 3]|select('>', 1)|list
[1, 2, 3]|select('in', [1, 3])|list
['a', 1]|select('string')|list
none|selectattr('a')|list
none_such|selectattr('a')|list
m|selectattr('n')|tojson
m|selectattr('n')|length
m|groupby('n')|length

[{'a': 1, 'b': 2}, {'a': 1, 'b': 3}, {'a': 0, 'b': 4}]|groupby('a')|map('last')|map('map', attribute='b')|map('list')|list
[1, 2, 3, 4, 5]|batch(2)|list
[1, 2, 3]|batch(2, 'x')|list
[1, 2, 3, 4, 5]|slice(2)|list
[1, 2, 3, 4, 5]|slice(3, 'x')|list
[1, 2, 3]|sum ~ m2|sum(attribute='n') ~ [[1], [2]]|sum(start=[])
[3, 1, 2]|min ~ [3, 1, 2]|max ~ ['b', 'A']|min ~ ['b', 'A']|max
[]|max is defined
m2|max(attribute='n')
s|tojson
e|tojson
e|tojson(ensure_ascii=true)
"a\"b\\c\n\t\x01\u007f/é<>&'"|tojson
m|tojson
m|tojson(indent=2)
m|tojson(indent=2, sort_keys=true)
[]|tojson(indent=1) ~ {}|tojson(indent=2) ~ [[]]|tojson(indent=1)
m|tojson(separators=(',', ':'))
{1: 2, none: 3, true: 4, 1.5: 5}|tojson
[1.0, 1e100, 0.1, 1e-7, true, none]|tojson
(1, 2)|tojson
range(2)|tojson
namespace(a=1)|tojson
none_such|tojson
l|string ~ true|string ~ 1.0|string ~ none|string
t|indent
t|indent(2)
t|indent(2, true)
t|indent(2, true, true)
t|indent('>>')
t|indent(width=1, first=true)
t|indent(blank=true)
s|indent ~ ''|indent(2, true)
'a\n\nb\n'|indent(2)
'  a '|trim ~ '|' ~ 'xax'|trim('x') ~ 5|trim
s|upper ~ s|lower ~ s|capitalize
1|upper
s|int ~ '12a'|int ~ 'x'|int(7) ~ ' 42 '|int ~ '1_000'|int ~ '-5'|int ~ '0x1A'|int(0, 16) ~ '1.9'|int ~ ''|int
'1.5x'|float ~ '1.5'|float ~ 'x'|float(2) ~ 3|float ~ '1e3'|float
1.7|int ~ -1.7|int ~ true|int ~ none|int
-1.5|abs ~ -3|abs
'a'|abs
1.5|round ~ 2.5|round ~ 2.675|round(2) ~ 1234.5|round(-2) ~ 1.21|round(1, 'ceil') ~ 1.29|round(1, 'floor') ~ 42|round
s|default(1) ~ none_such|default(1) ~ ''|default(1) ~ ''|default(1, true)
''|default(1, boolean=true) ~ none|default('x') ~ none_such|d ~ '|'
s|nothing
'<a href="x">\'&\''|e
'<p>a <b>b</b>\n c</p>'|striptags
'a b/c?d=é'|urlencode
'a b_c d-e'|wordcount
'Hello dear world, how are you today'|truncate(12) ~ 'Hello dear world'|truncate(9, true)
'Hello dear'|truncate(9) ~ 'Hello dear world'|truncate(9, false, '..', 0)
'ab'|center(6) ~ '|'
x is defined ~ (q is defined) ~ (q is not defined) ~ (q is undefined)
none is none ~ (x is none)
l is iterable ~ (s is iterable) ~ (5 is iterable) ~ (o is iterable) ~ (none_such is iterable) ~ (none is iterable)
o is mapping ~ (l is mapping) ~ (namespace() is mapping)
s is string ~ (1 is string)
1 is number ~ (1.5 is number) ~ (true is number) ~ ('1' is number)
1 is integer ~ (1.5 is integer) ~ (true is integer) ~ (1.5 is float) ~ (1 is float)
3 is odd ~ (4 is even) ~ (9 is divisibleby 3) ~ (9 is divisibleby(2))
'a' is odd
s is lower ~ ('ab' is lower) ~ ('A' is upper) ~ ('1' is upper)
range is callable ~ (5 is callable)
l is sequence ~ (s is sequence) ~ (o is sequence) ~ (5 is sequence) ~ (o.items() is sequence) ~ (none is sequence)
true is boolean ~ (1 is boolean) ~ (true is true) ~ (1 is true) ~ (false is false) ~ (0 is false)
1 is eq 1 ~ (1 is ne 1) ~ (1 is lt 2) ~ (2 is ge 2)
(1 is in [1]) ~ ('a' is in 'abc') ~ (1 is sameas 1) ~ (1 is equalto 1.0)
'upper' is filter ~ ('nothing' is filter) ~ ('odd' is test)
s is nothing
1 is odd is true
not 1 is odd
x is defined and y is defined or z
x is not none and 1
(x if x is defined else 'q') is string
range(3) ~ range(1, 4) ~ range(5, 1, -2) ~ range(0)
range(1, 4)|list ~ range(5, 1, -2)|list ~ range(3, 0)|list
range(1.5)
range(0, 1, 0)
range(none_such)
range(10**6)
1 if x else 2
1 if false
(1 if false) is defined
1 if x else 2 if y else 3
(1, 2) ~ () ~ (1,)
[1, [2, {'a': none}]] ~ {'a': {'b': [true]}} ~ {1: 2}
["it's", 'say "x"', 'both \' and "', 'é\n\t\\', '\x00\x7f\u200b\u2028😀']
s(1)
none.x is defined
none.x.y
x.y.z
q.y
namespace(o).k
namespace(a=1, b=2).b
namespace(a=1).c is defined
namespace(1)
dict(a=1, b=2) ~ dict({'x': 1}, y=2) ~ dict([('a', 1)])
joiner(', ') is callable
raise_exception('a')
raise_exception()
'a' 'b' "c"
"\x41\u0042\n\t\'\"\\" ~ '\q' ~ '\101'
1_000 + 0x1f + 0b11 + 0o17
1.2.3
[1, 2](1)
5 // 0
5 % 0
5 / 0
1 < 'a'
'a' < 'b' ~ ('B' < 'a') ~ ([1, 2] < [1, 3]) ~ (true < 2)
none < 1
none_such < 1
none_such + 1
-'a'
-true ~ +true ~ true + true
10 ** 3 ~ 4 / 2 ~ 7 / 2 ~ 3 * 1.5
9007199254740993 + 0 ~ 2 ** 53
'a' ~ none_such ~ 'b'
'a' if none_such else 'b'
none_such|string ~ none_such|upper ~ none_such|trim ~ none_such|join ~ none_such|list
none_such()
s.nothing()
strftime_now('%Y-%m-%d %H:%M:%S %d %b %B %a %A %y %j %I %p %e %% %F %T %-d %-m')
strftime_now('%c|%x|%X|%D|%R|%w|%u')
l|pprint
o|attr('k') is defined
'a'|safe ~ 'b'|string|safe
s|replace('a', 'b') ~ s|replace('a', 'b', 1) ~ 5|replace('5', 6)
x and y ~ (0 or 'a') ~ (0 and 1) ~ ('' or none)
not none_such ~ (not []) ~ (not 0.0) ~ (not {}) ~ (not range(0))
l[0:2][0] ~ o.items()|list|first|last ~ s.split()[0][0].upper()
(1, 2, 3)|list|tojson ~ [1, 2, 3][1:]|tojson
{'a': [1, 2]}.a[1] ~ {'a': {'b': 'c'}}['a'].b
o is mapping and 'k' in o and o.k is number
'%.3f' % 2.0005 ~ '%5s|%-5s|' % ('a', 'b') ~ '%+d' % 5 ~ '%c' % 'x' ~ '%e' % 1234.5 ~ '%g' % 1e-5
m[0]['d']['e'] ~ m[-1].n ~ (m|last).n
caller is defined
loop is defined
'a'.isdecimal() ~ 'a'.isascii() ~ 'é'.isascii() ~ '½'.isnumeric()
'abc'[1] ~ 'abc'[-1:] ~ 'abc'[3] ~ 'abc'[1:2]
'ab,cd'.split(',')|map('first')|join
s.split('a')|length
true or 1 / 0
false and 1 / 0
(false, true)|select|list
[0, 1, 2][-5] is defined
1.5 is number and not 1.5 is integer
'a\u00a0b'.split() ~ 'a\x1cb'.split()
1 == 1 == 1 ~ (1 == 1 != 2) ~ (1 in [1] in [[1]])
not (1, 2) == (1, 2)
8 % 3 ~ 2 ** 3 ** 2 ~ -2 ** 2
l|map('string')|join('+')
s|wordcount ~ 'x'|center(3)|length
'A' ~ 1 + 2 ~ 'B'
"a" ~ 2 * 3
'{}-{}'.format(*['a', 'b'])
dict(**{'a': 1})
'%s=%s' % ('a', [1, 'b'])
{'b': 1, 'a': 2}|dictsort|list|tojson
{'B': 1, 'a': 2}|dictsort(false)
[{'n': 'b'}, {'n': 'A'}]|sort(attribute='n')|map(attribute='n')|join
[1, 2, 3]|first ~ (1, 2)|last ~ range(5)|last ~ o|first
'abc' is string and 'abc'|length > 2
"a" in ["a", "b"] and "c" not in ["a"]
(messages is defined) ~ (messages|default([])|length)
tojson is defined
'a"b'|tojson|tojson
'abc'|batch(2)|map('join')|list
o.k|default('x') ~ o.nope|default('x') ~ o.nope.deep|default('x')
'line1\nline2'|replace('\n', '\\n')
(s, l)|length
'%s' % none ~ '%s' % true ~ '%d' % true
'%5d|%-5d|%+.1f' % (1, 2, 3.25)
'😀é'|length ~ '😀é'[0] ~ '😀é'|reverse ~ '😀é'.center(4, 'é')
'ß'|upper ~ 'ǆ'|length ~ 'İ'|length
1e400 ~ -1e400
1e22 ~ 1e21 ~ 123456789.123456789 ~ 1.0e-5 ~ 100000000000000000000.0
'''.strip().split('\n')

BLOCKS = [
    '{% for a in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}'
    '{{ loop.last }}{{ loop.length }}{{ loop.previtem }}{{ loop.nextitem }}{{ loop.depth }}{{ loop.depth'
    '0 }}{{ a }}{% else %}none{% endfor %}{{ a }}',
    '{% for a in l if a != "b" %}{{ loop.index }}{{ loop.length }}{{ a }}{% endfor %}',
    '{% for k, v in o.items() %}{{ k }}={{ v }}{% if not loop.last %}, {% endif %}{% endfor %}',
    '{% for k, v in o|items %}{{ k }}={{ v }};{% endfor %}', '{% for k, v in o|dictsort %}{{ k }}={{ v }};{% endfor %}',
    '{% for a in l %}{% for b in l %}{{ loop.index }}{% endfor %}{{ loop.index }}{% endfor %}',
    '{% for a in l %}{% set outer = loop %}{% for b in l %}{{ outer.index }}{{ loop.index }} {% endfor %}{% endfor %}',
    '{% for a in [] %}{% else %}empty{% endfor %}', '{% for a in o %}{{ a }}{% endfor %}',
    '{% for a in none_such %}x{% else %}y{% endfor %}',
    '{% for a in none %}x{% endfor %}', '{% for a in 5 %}x{% endfor %}',
    '{% for a in s %}{{ a }}-{% endfor %}', '{% for a, b in l %}{{ a }}{% endfor %}',
    '{% for a, b in [(1, 2), [3, 4]] %}{{ a }}{{ b }};{% endfor %}',
    '{% for (a, b), c in [((1, 2), 3)] %}{{ a }}{{ b }}{{ c }}{% endfor %}',
    '{% for a in l %}{% if loop.first %}{% continue %}{% endif %}{{ a }}{% break %}{% endfor %}',
    '{% for a in l %}x{{ a }}{% if loop.index == 2 %}{% break %}{% endif %}y{% endfor %}z',
    '{% for a in [1, 2, 3] %}{% for b in [1, 2, 3] %}{% if b == 2 %}{% break %}{% endif %}'
    '{{ a }}{{ b }} {% endfor %}{% endfor %}',
    '{% set x = 1 %}{% for a in l %}{% set x = a %}{{ x }}{% endfor %}{{ x }}', '{% set a, b = 1, 2 %}{{ a }}{{ b }}',
    '{% set x = 1 %}{% for a in l %}{{ x }}{% set x = a %}{{ x }};{% endfor %}{{ x }}',
    '{% set x = 1 %}{% if true %}{% set x = 2 %}{% endif %}{{ x }}',
    '{% set a, b = 1 %}', '{% set a, b = [1, 2, 3] %}',
    '{% set n = namespace(x=0) %}{% for a in l %}{% set n.x = n.x + 1 %}{% endfor %}{{ n.x }}',
    '{% set n = namespace() %}{% set n.a, n.b = 1, 2 %}{{ n.a }}{{ n.b }}{{ n.c is defined }}',
    '{% set o.k = 1 %}', '{% set s.x = 1 %}', '{% set x %}a{{ s }}b{% endset %}{{ x|length }}{{ x }}',
    '{% set x|upper|replace("A", "b") %}a{{ s }}{% endset %}{{ x }}',
    '{% set x %}{% set y = 5 %}{{ y }}{% endset %}{{ x }}{{ y }}',
    '{% set n = namespace(x=1) %}{% set n.x %}abc{% endset %}{{ n.x }}',
    '{% set x = 1, 2 %}{{ x }}', '{% set x = (1 if false) %}{{ x is defined }}',
    '{% set x = [] %}{% set x = x + [1] %}{{ x }}',
    '{% set x = []|first %}{{ x }}|{{ x is defined }}', '{{ []|first }}', '{% set ns.x = 1 %}',
    '{% macro m(a, b=2) %}{{ a }}{{ b }}{{ varargs }}{{ kwargs }}{% endmacro %}'
    '{{ m(1) }}{{ m(1, 3) }}{{ m(1, 2, 3, c=4) }}{{ m(*l) }}',
    '{% macro m(a, b=2) %}{{ a }}{{ b }}{% endmacro %}{{ m(1, 2, 3) }}',
    '{% macro m(a, b=2) %}{{ a }}{{ b }}{% endmacro %}{{ m(b=1, a=5) }}{{ m(7) }}{{ m() }}',
    '{% macro m(a) %}{{ a }}{% endmacro %}{{ m(x=1) }}',
    '{% macro m(k, K, a) %}{{ a }}{{ k }}{% endmacro %}{{ m(**o) }}',
    '{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, a=2) }}',
    '{% macro m(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ m(1) }}',
    '{% macro m(n) %}{{ n }}{% if n %}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(9) }}',
    '{% macro m() %}{{ g }}{% endmacro %}{% set g = 5 %}{{ m() }}',
    '{% macro m() %}{{ a }}{% endmacro %}{% for a in l %}{{ m() }}{% endfor %}',
    '{% for a in l %}{% macro m() %}{{ a }}{% endmacro %}{{ m() }}{% endfor %}{{ m is defined }}',
    '{% macro m() %}{% set q = 1 %}{% endmacro %}{{ m() }}{{ q is defined }}',
    '{% macro m() %}a{% endmacro %}{{ m()|upper ~ m().upper() }}',
    '{% macro m() %}<{{ caller(1) }}>{% endmacro %}{% call(x) m() %}{{ x }}{{ s }}{% endcall %}',
    '{% macro m(a) %}<{{ caller() }}{{ a }}>{% endmacro %}{% call m(5) %}inner{% endcall %}',
    '{% macro m() %}<{{ caller }}>{% endmacro %}{{ m() }}',
    '{% macro m() %}x{% endmacro %}{% call m() %}y{% endcall %}',
    '{% macro m() %}{% if caller %}{{ caller() }}{% else %}none{% endif %}{% endmacro %}'
    '{{ m() }}{% call m() %}y{% endcall %}',
    '{% call s() %}{% endcall %}', '{% filter upper %}a{{ s }}{% endfilter %}',
    '{% filter upper|trim %} a {% endfilter %}',
    '{% filter replace("a", "b") %}a{{ s }}{% endfilter %}', '{% filter nothing %}{% endfilter %}',
    '{% with a = 1, b = x %}{{ a }}{{ b }}{% set c = 5 %}{% endwith %}{{ a is defined }}{{ c is defined }}',
    '{% with %}a{% endwith %}',
    '{% if q %}a{% elif r is defined %}b{% elif s %}c{% else %}d{% endif %}', '{# a comment #}a {#- b -#} c',
    '{% for i in range(3) recursive %}{{ i }}{% if i == 1 %}{{ loop([7, 8]) }}{% endif %}{% endfor %}',
    '{% for i in [1, 1, 2] %}{{ loop.changed(i) }}{{ loop.cycle("a", "b") }}{% endfor %}',
    '{% set j = joiner("; ") %}{% for i in l %}{{ j() }}{{ i }}{% endfor %}',
    '{% set g = [1, 2, 3]|select("odd") %}{{ g|list }}{{ g|list }}',
    '{% for a in [3, 4]|map("string") %}{{ loop.length }}{{ loop.last }}{{ a }}{% endfor %}',
    ' a {%- if s -%} b {%- endif -%} c\n', '  {% if s %}\n  a\n  {% endif %}\n{{ s }}\n\n',
    '{%- set x = 1 -%}  {{- x -}}  ',
    'a\n  {% if true %}\n    b\n  {% endif %}\n  c', 'a\n  {%+ if true %}\n    b\n  {% endif +%}\n  c',
    '  {{ x }}\n  {# c #}\n  d', '\n\n{% if true %}\n\na{% endif %}\n\n',
    'a  {% if true %}  b  {% endif %}  c', '\t{% if true %}\tb\n\t{% endif %}\n', 'a\r\nb\r{{ x }}\r\n',
    '{{ x }}\n', '{{ x }}\n\n', 'x\n',
    '{% raw %}{{ a }}{% if %}{% endraw %}', 'a {%- raw -%} {{ a }} {%- endraw -%} b',
    '  {% raw %}\n  a\n  {% endraw %}\n  b', '{% raw %}', '{#', '{# a {# b #} c #}',
    '{{ "{{ }}" }}{{ \'%}\' }}', '{{ {"a": {"b": 1}}["a"].b }}', '{{ {"a": {"b": {}}} }}',
    'a {% generation %} b {% endgeneration %} c',
    'a {%- generation -%} b {%- endgeneration -%} c', '{% generation %}{{ s }}{% endgeneration %}',
    '{% generation %}{% set x = 9 %}{% endgeneration %}{{ x }}',
    '{{', '{{ 1', '{% if %}', '{% if 1 %}', '{% endif %}', '{% for a in %}{% endfor %}', '{{ 1 + }}',
    '{{ (1 }}', '{{ a[ }}',
    '{{ {"a" 1} }}', '{% nothing %}', '{{ m(**o, 1) }}', '{{ m(a=1, 2) }}', '{{ }}', '{% %}', '{{ 1 2 }}',
    '{{ a b }}', '{% if 1 %}a{% else %}b{% else %}c{% endif %}',
    '{% macro m(1) %}{% endmacro %}', '{{ a[1:2:3:4] }}', '', '{% break %}', '{% set 1 = 2 %}',
    '{% set true = 2 %}', '{% for 1 in l %}{% endfor %}', '{{ "a }}', '{{ $ }}', '}}', '%} {',
    '{{ 1, 2 }}', '{% if 1, %}a{% endif %}', '{{ l[0], l[1] }}', '{{ not not 1 }}', '{{ - - 1 }}',
    '{{ 1 if 1 else 2 if 0 }}', '{{ x|default("a")|upper|lower }}',
    '{{-1}}', '{{- 1 -}}', '{{ -1 }}', '{{+1}}', '{%if x%}a{%endif%}', '{%-if x-%} a {%-endif-%}',
    '{{x}}{{y}}', '{{ "a" if x }}', '{{ "%s" }}', "{{ 'it''s' }}",
    '{% set x = "a" %}{% set y = x %}{% set x = "b" %}{{ y }}{{ x }}',
    '{% if x == 1 and y == 1 or not z %}a{% endif %}',
    '{% if l and o %}a{% endif %}{% if [] or {} %}b{% endif %}',
    '{% block a %}x{{ s }}{% endblock %}', '{% block a %}x{% endblock a %}',
    '{% autoescape false %}<{% endautoescape %}', '{% do x %}', '{% include "a" %}', '{% import "a" as b %}',
    '{% extends "a" %}',
    '{% set messages = [{"role": "user", "content": "hi"}] %}{% for message in messages %}'
    '{{ "<|" + message["role"] + "|>" + message["content"] }}{% endfor %}',
    '{{ [1, 2, 3][:2]|join("-") ~ "x"[0] }}', '{{ o["k"] }}{{ o.get("zz", {}).get("y") }}',
    '{{ l|join(", ") if l else "none" }}', '{{ "a" "b" ~ "c" }}', '{{ (x) }}{{ ((x)) }}', '{{ x.__class__ }}',
    '{{ s.__class__ is defined }}',
    # The scope of a round ends with it, and functions keep theirs.
    '{% for a in [1, 2, 3] %}{{ b is defined }}{% set b = a %}{{ b }}{% endfor %}{{ b is defined }}',
    '{% for a in l %}{% if loop.first %}{% set c = a %}{% endif %}{{ c }},{% endfor %}',
    '{% for a in range(3) %}{% set b, c, d, e, f, g, h, i, j = range(9) %}{{ k is defined }}{% set k = a %}'
    '{{ j + k }}{% endfor %}',
    '{% for a in [1, 2, 3] %}{% macro m() %}{{ a }}{% endmacro %}{{ m() }}{% endfor %}',
    '{% for a in [1, 2] %}{% for b in [3, 4] %}{{ loop.index }}{% set c = a * b %}{{ c }}{% endfor %}{{ c is defined }}'
    '{% endfor %}',
    '{% for a in [1, 2, 3, 4] if a % 2 == 0 %}{{ a }}{{ loop.index }}{{ b is defined }}{% set b = a %}{% endfor %}',
    '{% for a in [[1, [2]], [3]] recursive %}{% set b = a %}{% if a is iterable %}({{ loop(a) }}){% else %}{{ b }}'
    '{% endif %}{% endfor %}',
    "{% set n = namespace(f=none) %}{% for a in [[1, 2], [3]] recursive %}{% set n.f = loop %}{{ a }};{% endfor %}{{ n.f([4]) }}",
    # Names that go on behind a zero byte are no others.
    "{{ s['upper\\x00        '] is defined }}{{ o['get\\x00'] is defined }}{{ l['append\\x00    '] is defined }}",
    "{{ {'get\\x00': 1}['get\\x00'] }}{{ {'a\\x00b': 1, 'a\\x00c': 2}['a\\x00c'] }}",
]

VALUES = {'s': 'A banana, a cat.', 't': 'a\n\n b\nc', 'e': 'a😀b\u00e9c', 'l': [1, 'b', 2.5, True], 'o': {'k': 1, 'K': 2, 'a': 0},
          'x': 1,
          'y': 1, 'z': 2, 'm': [{'n': 1, 'd': {'e': 2}}, {'d': {'e': 1}, 'n': '1'}, {'n': 0}],
          'm2': [{'n': 1, 'd': {'e': 2}}, {'n': 2, 'd': {'e': 1}}, {'n': 3, 'd': {'e': 2}}]}


class Generation(Extension):  # as transformers' AssistantTracker
    tags = {'generation'}

    def parse(self, parser):
        lineno = next(parser.stream).lineno
        body = parser.parse_statements(['name:endgeneration'], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method('_call'), [], [], body).set_lineno(lineno)

    def _call(self, caller):
        return caller()


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def environment():
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
    env.filters['tojson'] = tojson
    env.globals['raise_exception'] = raise_exception
    env.globals['strftime_now'] = datetime.datetime(2026, 1, 2, 3, 4, 5).strftime
    return env


def quoted(text):
    """A C string, in pieces that fit lines; an escape of three digits takes no more of them."""
    chars = [chr(b) if 32 <= b < 127 and chr(b) not in '"\\?' else f'\\{b:03o}' for b in text.encode()]
    pieces, piece = [], ''
    for c in chars:
        if len(piece) + len(c) > 90:
            pieces.append(piece)
            piece = ''
        piece += c
    return '\n        '.join(f'"{p}"' for p in pieces + [piece])


def row(env, source):
    try:
        text = quoted(env.from_string(source).render(**VALUES))
    except Exception:
        text = 'NULL'
    line = f'    {{{quoted(source)}, {text}}},\n'
    return line if len(line) < 105 else line.replace(', ' + text + '}', ',\n        ' + text + '}')


if __name__ == '__main__':
    env = environment()
    sources = ['{{ %s }}' % e for e in EXPRESSIONS] + BLOCKS
    with open(os.path.join(os.path.dirname(__file__), 'jinja.h'), 'w') as out:
        out.write('/* Written by jinja.py, with Jinja2 %s. NULL: it raises. */\n// clang-format off\n' % jinja2.__version__)
        out.write('static const char jinja_values[] =\n        %s;\n' % quoted(json.dumps(VALUES, ensure_ascii=False)))
        out.write('static const struct { const char *source, *text; } jinja_rows[] = {\n')
        out.writelines(row(env, s) for s in sources)
        out.write('};\n')
