// The rule of growth patches: in existing files a patch only adds rows. No line is removed, and no line is added inside
// a function, or inside a macro that is not a list of rows. A small scanner of C tells where functions are.

/** The C text without comments, strings and character constants: each becomes spaces, lines stay. @param {string} text */
function blank(text) {
  return text.replace(/\/\*[^]*?\*\/|\/\/[^\n]*|"(?:\\[^]|[^"\\\n])*"|'(?:\\[^]|[^'\\\n])*'/g,
    (found) => found.replace(/[^\n]/g, ' '));
}

/** Replaces directives by empty lines; calls each(first, last, text) with their line numbers, from 0. */
function takeDirectives(lines, each) {
  for (let i = 0; i < lines.length; i++) {
    if (!/^\s*#/.test(lines[i])) continue;
    const first = i;
    while (lines[i].endsWith('\\') && i + 1 < lines.length) i++;
    each(first, i, lines.slice(first, i + 1).join('\n'));
    lines.fill('', first, i + 1);
  }
}

/** Whether the text since the last declaration, in front of a brace at depth 0, is the head of a function. */
const isFunctionHead = (head) => /\)\s*$/.test(head) && !head.includes('=');

/**
 * For each line of a C file what a patch must not add to: 'function', 'macro', or null.
 * @param {string} text
 * @returns {(string | null)[]}
 */
export function closedLines(text) {
  const lines = blank(text).split('\n');
  const closed = Array(lines.length).fill(null);
  takeDirectives(lines, (first, last, directive) => {
    const isList = /^\s*#\s*define\s+\w+\(X\)/.test(directive); // a list of rows: its only parameter is X
    if (/^\s*#\s*define/.test(directive) && last > first && !isList) closed.fill('macro', first, last + 1);
  });
  let depth = 0, inFunction = false, head = '';
  lines.forEach((line, i) => {
    for (const c of line) {
      if (c === '{' && depth === 0 && /\bextern\s*$/.test(head.trim())) { head = ''; continue; } // extern "C" {
      if (c === '{' && depth++ === 0) inFunction = isFunctionHead(head);
      if (inFunction) closed[i] = 'function';
      if (c === '}' && depth > 0 && --depth === 0) { inFunction = false; head = ''; continue; }
      if (depth === 0) head = c === ';' ? '' : head + c;
    }
    if (inFunction) closed[i] = 'function';
    head += ' ';
  });
  return closed;
}

/**
 * The hunks of a patch in git's format: the file, the number of its first line in the patched file, its lines.
 * @param {string} patch
 */
export function hunksOf(patch) {
  const hunks = [];
  let file = '';
  for (const line of patch.split('\n')) {
    const name = /^\+\+\+ b\/(.*)$/.exec(line), at = /^@@ -\d+(?:,\d+)? \+(\d+)/.exec(line);
    if (name) file = name[1];
    else if (at) hunks.push({ file, first: Number(at[1]), lines: [] });
    else if (/^[ +-]/.test(line) && !/^--- /.test(line) && hunks.length) hunks.at(-1).lines.push(line);
  }
  return hunks;
}

/**
 * What breaks the rule, as texts. `patched` gives the text of a file after the patch.
 * @param {string} patch
 * @param {(file: string) => string} patched
 */
export function violations(patch, patched) {
  const found = [];
  for (const mark of patch.matchAll(/^(deleted file|new file|rename from|copy from|old mode|GIT binary).*$/gm)) {
    found.push(`the patch says "${mark[0]}"; added files stand in files/, and others stay`);
  }
  for (const { file, first, lines } of hunksOf(patch)) {
    const closed = /\.(c|h|inc)$/.test(file) ? closedLines(patched(file)) : /\.d\.ts$/.test(file) ? [] : null;
    let at = first - 1; // of the next line of the patched file, from 0
    for (const line of lines) {
      if (line[0] === '-') found.push(`${file}:${at + 1}: removes a line: ${line.slice(1).trim()}`);
      if (line[0] === '+' && !closed) found.push(`${file}:${at + 1}: adds a line to a file that is neither C nor .d.ts`);
      else if (line[0] === '+' && closed[at]) {
        found.push(`${file}:${at + 1}: adds a line to a ${closed[at]}: ${line.slice(1).trim()}`);
      }
      if (line[0] !== '-') at++;
    }
  }
  return found;
}
