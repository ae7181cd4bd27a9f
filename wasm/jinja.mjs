// An esbuild plugin: @huggingface/jinja from its TypeScript sources, with the bounds of web/template/limits.js woven in, and
// without what pages have no use for. Each change below must find its place exactly as often as it says, so
// that another version of the package cannot lose one unnoticed. tests/browser/template-test.mjs shows that
// templates still render the same, and that hostile ones are stopped.
import { readFileSync } from 'node:fs';
import { basename, resolve } from 'node:path';

const SOURCES = resolve('node_modules/@huggingface/jinja/src');

/** What to change: file -> [what is there, what to put there, how often it is there (once)]. */
const CHANGES = {
  'index.ts': [
    ['import { format } from "./format";', ''],
    [/\tformat\(options[^]*?\n\t\}\n/, ''],
  ],
  'lexer.ts': [
    [/export const TOKEN_TYPES = [^]*?\}\);\n/, ''],
    ['export type TokenType = keyof typeof TOKEN_TYPES;', 'export type TokenType = string;'],
    // Its expression takes a time that grows with the square of the blanks.
    [/return template\.replace\(\s*\/\(\\s\*\)\{%[^]*?\);\n\}/, 'return withoutGeneration(template);\n}'],
  ],
  'parser.ts': [
    ['import { Token, TOKEN_TYPES }', 'import { Token }'],
    // One message with the place instead of thirty that name the rule.
    [/(function expect)\(type: string, error: string\)/, '$1(type)'],
    [/expect\((TOKEN_TYPES\.\w+), ".*?"\)/g, 'expect($1)', 31],
    [/throw new (?:SyntaxError|Error)\([^]*?\);/g, 'throw misread();', 23],
    ['let current = 0;', `let current = 0;
      const misread = () => new SyntaxError(\`cannot be read near "\${
        tokens.slice(Math.max(current - 5, 0), current + 1).map((token) => token.value).join(" ")}"\`);`],
    // What calls itself goes one level deeper.
    [/function (parse(?:Any|IfStatement|(?:If|LogicalNegation|UnarySign|Call)Expression))\((\w*)(.*?)\): (\w+) \{/g,
      'function $1($2$3): $4 { enter(); const parsed = $1Inside($2); leave(); return parsed; }\n'
      + 'function $1Inside($2$3): $4 {', 6],
  ],
  'utils.ts': [
    ['if (step === 0)', 'if (/object|string/.test(`${typeof start} ${typeof stop} ${typeof step}`)) '
      + 'throw new Error("range() takes numbers"); if (step === 0)'],
    ['result.push(i);', 'spend(); result.push(i);', 2],
    ['return strftime(new Date(), format);', 'spend(1000 + format.length); return strftime(new Date(), format);'],
    [/function escapeRegExp[^]*$/, ''],
  ],
  'runtime.ts': [
    [' range, replace,', ' range,'],
    // Shorter messages, that have more in common.
    [/Error\("(?:If set, )?([^"\n]*?) must be [^"\n]*"\)/g, 'Error("bad $1")', 31],
    [/if \(args\.length .*\) \{\s*throw new Error\("\w+\(\) requires at least .*"\);\s*\}/g, '', 3],
    [/"(?:0.0 cannot be raised to a negative power|Exponentiation result is .*)"/g, '"bad power"', 2],
    ['"namespace expected an object or an iterable of [key, value] pairs"', '"bad namespace entries"'],
    [/Unknown \w+Value filter:/g, 'Unknown filter:', 9],
    [' with non-string/non-number:', ' with non-string:'],
    [/unpack in set|unpack to non-identifier in set/g, (text) => text.replace(/ in set| to/g, ''), 2],
    // Values, expressions, scopes.
    [/constructor\(value: T = .*?\) \{\s*this\.value = value;/,
      'constructor(value, joined) { this.value = made(value, joined); this.joined = joined;'],
    [/(\tevaluate)(\(statement: .*\{\n)/, `$1(statement, environment) {
      enter();
      try {
        const result = this.evaluateInside(statement, environment);
        if (!result?.joined) read(result?.value);
        return result;
      } finally {
        leave();
      }
    }
    evaluateInside$2`],
    ['return new StringValue(result);', 'return new StringValue(result, true);', 2],
    ['constructor(public parent?: Environment) {}', 'constructor(public parent?: Environment) { spend(4); }'],
    [/private resolve\([^]*?catch \{[^]*?\}\n\t\}/, `lookupVariable(name: string) {
      for (let scope = this; scope; scope = scope.parent) {
        if (scope.variables.has(name)) {
          const value = scope.variables.get(name);
          return typeof value === "function" ? value() : value ?? new UndefinedValue();
        }
        spend(1 / 8);
      }
      return new UndefinedValue();
    }`],
    [/(\t\t\["none", .*\n)(?=\t\t\["defined")/, ''],
    // The variable loop only where it is read, a scope for each round only where it is looked at.
    ['const loop = new Map([', 'let loop; const lazyLoop = () => (loop ??= new ObjectValue(new Map(['],
    [/\] as \[string, AnyRuntimeValue\]\[\]\);\s*scope\.setVariable\("loop", new ObjectValue\(loop\)\);/,
      ']))); scope.setVariable("loop", lazyLoop);'],
    ['const loopScope = new Environment(scope);', 'spend(2); const loopScope = test && new Environment(scope);'],
    ['const visit = (node: unknown): void => {', 'const visit = (node) => { spend();'],
    ['keywordArguments.keys().next().value', '[...keywordArguments.keys()][0]'],
    // Texts.
    // Methods are made when they are asked for; those of texts and lists are not kept.
    [/private _builtins.*;(\s*override get builtins\(\).*\{\s*)return \(this\._builtins \?\?= (new Map[^]*?\]\))\);/g,
      '$1 return $2;', 2],
    ['return (this._builtins ??=', 'if (!this._builtins) spend(16); return (this._builtins ??='],
    ['this.value.startsWith(item.value)', 'this.value.startsWith(read(item.value))'],
    ['this.value.endsWith(item.value)', 'this.value.endsWith(read(item.value))'],
    ['result.push(match);', 'spend(); result.push(match);'],
    ['this.value.split(sep.value)', 'split(this.value, sep.value)'],
    [/operand\.value\s*\.split\("\\n"\)\s*\.map\([^]*?\.join\("\\n"\)/, 'indent(operand.value, 4)'],
    [/const lines = operand.value.split[^]*?(?=return new StringValue\(indented)/, ''],
    ['indented.join("\\n")', 'indent(operand.value, width.value, first.value, blank.value)'],
    [/slice\(Array\.from\(object\.value\), (.*?)\)\.join\(""\)/, 'sliceText(object.value, slice, $1)'],
    ['right.value.includes(left.value)', 'includes(right.value, left.value)', 2],
    ['left.value.toString() + right.value.toString()', 'concat(textOf(left.value), textOf(right.value)), true', 2],
    [/result \+= ((?:lastE|e)valuated\.\w+(?:\(\))?);/g, 'result = concat(result, $1);', 2],
    ['left.value == right.value', 'looselyEqual(left.value, right.value)'],
    ['left.value != right.value', '!looselyEqual(left.value, right.value)'],
    ['throw new Error(args);', 'throw new Error(textOf(args));'],
    // Texts that are looked into.
    [/(private applyFilter\(.*\{)/, '$1 flat(operand);'],
    ['const object = this.evaluate(expr.object, environment);', 'const object = flat(this.evaluate(expr.object, environment));'],
    ['property = this.evaluate(expr.property, environment);', 'property = flat(this.evaluate(expr.property, environment));'],
    ['const operand = this.evaluate(node.operand, environment);',
      'const operand = flat(this.evaluate(node.operand, environment));', 2],
    ['const right = this.evaluate(node.right, environment);',
      '$& if (!"+~".includes(node.operator.value)) flat(left), flat(right);'],
    ['mapping.set(evaluatedKey.value, this.evaluate(value, environment))',
      'mapping.set(flat(evaluatedKey).value, flat(this.evaluate(value, environment)))'],
    ['value.map((x) => this.evaluate(x, environment))', 'value.map((x) => flat(this.evaluate(x, environment)))', 2],
    ['positionalArguments.push(this.evaluate(argument, environment))',
      'positionalArguments.push(flat(this.evaluate(argument, environment)))'],
    ['addKeywordArgument(kwarg.key.value, this.evaluate(kwarg.value, environment))',
      'addKeywordArgument(kwarg.key.value, flat(this.evaluate(kwarg.value, environment)))'],
    ['value = value.value.get(part) ??', 'value = flat(value.value.get(part)) ??'],
    ['const a = item.value.get(attr.value);', 'const a = flat(item.value.get(attr.value)); read(a?.value); read(value?.value);'],
    // Lists.
    ['value = Array.from(operand.value);', 'spend(operand.value.length); value = Array.from(operand.value);'],
    ['operand.value.map((x) => x.value).join("")', 'join(operand.value.map((x) => x.value), "")'],
    ['value.join(separator.value)', 'join(value, separator.value)'],
    ['(x) => x.value === left.value', '(x) => read(x.value) === left.value'],
    ['seen.has(item.value)', 'seen.has(read(item.value))'],
    ['positionalArguments.push(item)', 'positionalArguments.push(read(item))'],
    ['keywordArguments.set(key, value);', 'spend(); keywordArguments.set(key, value);'],
    ['caseSensitive: boolean = false): number {', 'caseSensitive: boolean = false): number { spend();'],
    [/let (aStr|bStr) = (.*);/g, 'let $1 = $2; spend($1.length / 256);', 2],
    ['attributePath.split(".")', 'split(attributePath, ".")'],
    // JSON.
    ['let result = JSON.stringify(input.value);', 'grow(input.value.length); $&'],
    [/(function toJSON\([^]*?\): string \{)/, '$1 spend();'],
    ['" ".repeat(indent)', 'repeat(" ", indent)'],
    ['indentValue.repeat(depth)', 'repeat(indentValue, depth)'],
    [/core\.join\((`.*?`|itemSeparator)\)/g, 'join(core, $1)', 4],
    ['a.localeCompare(b)', '(spend((a.length + b.length) / 64), a.localeCompare(b))'],
  ],
};

/** Shorter names of kinds of tokens, which are to be read in messages. */
const TOKENS = {
  OpenStatement: '{%', CloseStatement: '%}', OpenExpression: '{{', CloseExpression: '}}', OpenParen: '(', CloseParen: ')',
  OpenSquareBracket: '[', CloseSquareBracket: ']', OpenCurlyBracket: '{', CloseCurlyBracket: '}', Comma: ',', Dot: '.',
  Colon: ':', Pipe: '|', Equals: '=', AdditiveBinaryOperator: '+', MultiplicativeBinaryOperator: '*',
  ExponentiationBinaryOperator: '**', ComparisonBinaryOperator: '<', NumericLiteral: 'number', StringLiteral: 'string',
  Text: 'text', Comment: 'comment', UnaryOperator: 'sign',
};

/** Kinds of expressions and values, which get by without the last word. */
const LONG = /"(\w+)(?:Expression|Literal|Value)"/g;

/** Names of the interpreter's own that become short ones: none that JavaScript's objects have too. */
export const SHORTENED = new RegExp(`^(${`evaluate\\w* evalProgram applyFilter lookupVariable setVariable declareVariable
  bindMacroArguments builtins _builtins __bool__ operator operand callee loopvar iterable defaultBlock alternate assignee
  callerArgs falseExpr trueExpr condition computed property negate argument variables parent global tests TESTS indent
  ensureAscii separators sortKeys defaultValue lstrip_blocks trim_blocks parsed value type body args left right lhs
  object key start stop step call joined`.split(/\s+/).join('|')})$`);

/** @param {string} file of the package @param {string} text */
function change(file, text) {
  for (const [there, instead, times = 1] of CHANGES[file] ?? []) {
    const found = typeof there === 'string' ? text.split(there).length - 1 : [...text.matchAll(new RegExp(there, 'g'))].length;
    if (found !== times) throw new Error(`@huggingface/jinja's ${file}: ${there} is there ${found} times, not ${times}`);
    text = text.replaceAll(typeof there === 'string' ? there : new RegExp(there, 'g'), instead);
  }
  return text.replace(/TOKEN_TYPES\.(\w+)/g, (_, name) => JSON.stringify(TOKENS[name] ?? name)).replace(LONG, '"$1"');
}

/** The classes of the syntax tree, which differ in their names and fields alone. @param {string} text */
function briefly(text) {
  const classes = [...text.matchAll(/^export class (\w+) extends (\w+).*\{([^]*?)^\}/gm)].map(([, name, parent, body]) => {
    const fields = parent === 'Literal' ? ['value'] : [...body.matchAll(/public (\w+)/g)].map(([, field]) => field);
    const type = /type = ("\w+");/.exec(body)[1].replace(LONG, '"$1"');
    return `export const ${name} = node(${[type, ...fields.map((field) => `/* @__KEY__ */ "${field}"`)]});`;
  });
  return `export class Statement {}
    const node = (type, ...fields) => class extends Statement {
      constructor(...values) {
        super();
        this.type = type;
        fields.forEach((field, i) => (this[field] = values[i]));
      }
    };
    ${classes.join('\n')}`;
}

const bounds = readFileSync('web/template/limits.js', 'utf8').matchAll(/^export (?:function|const) ([a-z]\w*)/gm);
const imports = `import { ${[...bounds].map(([, name]) => name)} } from ${JSON.stringify(resolve('web/template/limits.js'))};\n`;

export const jinja = {
  name: 'jinja',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^@huggingface\/jinja$/ }, () => ({ path: `${SOURCES}/index.ts` }));
    onLoad({ filter: /jinja\/src\/\w+\.ts$/ }, ({ path }) => {
      const file = basename(path);
      const text = readFileSync(path, 'utf8');
      return { contents: file === 'ast.ts' ? briefly(text) : imports + change(file, text), loader: 'ts' };
    });
  },
};
