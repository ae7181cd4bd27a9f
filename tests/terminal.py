"""Messages typed to `nutshell chat` on a pseudo terminal, whose screen is kept here: for tests/cli-test.mjs, which takes a
line "ok NAME" or "failed NAME: why" for each case.

    python3 tests/terminal.py NUTSHELL MODEL

What the screen must show follows from ECMA-48 and from the widths of Python's unicodedata. What the model was given is read
from the error of a template that shows its messages."""
import codecs, fcntl, json, os, pty, re, select, signal, struct, sys, termios, time, traceback, unicodedata

SHELL, MODEL = sys.argv[1:3]
SECONDS = 120  # that anything may take
# Fails with the messages from the n-th on, so that they can be read.
SHOW = "{%% if messages|length >= %d %%}{%% set all = messages|map(attribute='content')|list %%}" \
       "{{ raise_exception(all|tojson(ensure_ascii=true)) }}{%% endif %%}{{ messages[-1].content }}"
UP, DOWN, RIGHT, LEFT, HOME, END, DELETE = ('\x1b' + s for s in ('[A', '[B', '[C', '[D', '[H', '[F', '[3~'))
PASTE, PASTED = '\x1b[200~', '\x1b[201~'


def width(character):
    if unicodedata.category(character) in ('Mn', 'Me', 'Cf'):
        return 0
    return 2 if unicodedata.east_asian_width(character) in 'WF' else 1


class Screen:
    def __init__(self, columns, rows):
        self.columns, self.rows, self.row, self.column = columns, rows, 0, 0
        self.cells, self.rest = [[' '] * columns for _ in range(rows)], ''

    def line_feed(self):
        self.row += 1
        if self.row == self.rows:
            self.row -= 1
            self.cells = self.cells[1:] + [[' '] * self.columns]

    def put(self, c):
        w = width(c)
        if w == 0:
            self.cells[self.row][max(self.column - 1, 0)] += c
            return
        if self.column + w > self.columns:  # the wrap that waits for the next character
            self.column = 0
            self.line_feed()
        self.cells[self.row][self.column] = c
        if w == 2:
            self.cells[self.row][self.column + 1] = ''
        self.column += w

    def control(self, parameter, final):
        n = int(parameter) if parameter.isdigit() else 1
        if final == 'A':
            self.row = max(self.row - n, 0)
        elif final == 'C':
            self.column = min(min(self.column, self.columns - 1) + n, self.columns - 1)
        elif final == 'H':
            self.row = self.column = 0
        elif final == 'J':
            start = 0 if parameter == '2' else self.row
            keep = [] if parameter == '2' else self.cells[self.row][:self.column]
            self.cells[start:] = [[' '] * self.columns for _ in range(self.rows - start)]
            self.cells[start][:len(keep)] = keep
        elif final not in 'hl':
            raise AssertionError(f'the screen does not know {parameter!r} {final!r}')

    def write(self, text):
        text = self.rest + text
        at = 0
        while at < len(text):
            c = text[at]
            if c == '\x1b':
                found = re.compile(r'\x1b\[([?\d;]*)([@-~])').match(text, at)
                if not found:
                    break  # the rest of it comes later
                self.control(found[1], found[2])
                at = found.end()
                continue
            if c == '\r':
                self.column = 0
            elif c == '\n':
                self.line_feed()
            elif c >= ' ':
                self.put(c)
            at += 1
        self.rest = text[at:]

    def lines(self):
        return [''.join(line).rstrip() for line in self.cells]


class Chat:
    """The shell on a terminal of its own, or another program."""

    def __init__(self, *options, template=None, columns=40, rows=12, program=None):
        command = program or [SHELL, 'chat', MODEL, '--temperature', '0', '--max-tokens', '4', *options]
        if template:
            path = f'build/terminal-{os.getpid()}.jinja'
            with open(path, 'w') as f:
                f.write(template)
            command += ['--template', path]
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update(TERM='xterm', LC_ALL='C.UTF-8', PS1='$ ')
            time.sleep(0.05)  # until the terminal has its size
            os.execvp(command[0], command)
        self.template = path if template else None
        self.screen, self.output, self.status = Screen(columns, rows), '', None
        self.decoder = codecs.getincrementaldecoder('utf-8')('replace')
        self.resize(columns, rows)
        self.before = termios.tcgetattr(self.fd)

    def resize(self, columns, rows):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack('HHHH', rows, columns, 0, 0))

    def keys(self, *texts):
        for text in texts:
            os.write(self.fd, text.encode() if isinstance(text, str) else text)
        return self

    def read(self, seconds):
        if not select.select([self.fd], [], [], seconds)[0]:
            return False
        try:
            text = self.decoder.decode(os.read(self.fd, 65536))
        except OSError:  # the other side is closed
            return False
        self.output += text
        self.screen.write(text)
        return True

    def until(self, holds, what):
        """Reads until the condition holds."""
        end = time.time() + SECONDS
        while not holds():
            assert time.time() < end, f'not {what}: {self.screen.lines()} {self.screen.row, self.screen.column}'
            self.read(0.05)
        return self

    def shows(self, text, times=1):
        return self.until(lambda: self.output.count(text) >= times, f'shown: {text!r}')

    def looks(self, lines, row, column):
        """The screen has these lines at its top or, where it scrolled, in it, and the cursor stands there."""
        def holds():
            return self.screen.lines()[:len(lines)] == lines and (self.screen.row, self.screen.column) == (row, column)
        return self.until(holds, f'looking like {lines} {row, column}')

    def ends(self):
        while self.read(SECONDS):
            pass
        self.modes_are_back()
        self.status = os.waitpid(self.pid, 0)[1]
        if self.template:
            os.remove(self.template)
        return self

    def modes_are_back(self):
        assert termios.tcgetattr(self.fd) == self.before, 'the terminal is not as before'
        assert self.output.count('\x1b[?2004h') == self.output.count('\x1b[?2004l'), 'pasting is not as before'

    def got(self, *messages):
        """The template failed with these messages."""
        self.ends()
        found = re.search(r'\[".*"\]', re.sub(r'\r\n', '', self.output.split('chat-template', 1)[-1]))
        assert found, self.output
        shown = json.loads(found[0])
        assert [shown[i] for i in range(0, len(shown), 2)] == list(messages), shown


def typed(keys, message):
    Chat(template=SHOW % 1).shows('> ').keys(keys, '\r').got(message)


def editing():
    typed('World' + HOME + 'Hello ' + END + '!' + LEFT + LEFT + DELETE + RIGHT + '?', 'Hello Worl!?')
    typed('\x1bOB\x1bOHend\x01be' + '\x1b[1~x\x1b[4~y\x1b[7~\x1b[8~z', 'xbeendyz')
    typed('one two  \x17\x17three four\x02\x02\x0b\x06!', 'three fo!')
    typed('one two\x1b[1;5D\x15a \x1b[1;5C\x1b[1;5D\x1b\x62b\x7fc\x08d', 'da two')
    typed('one\x1b\x1b[D\x1b[1;9Q\x1bOqx', 'onxe')  # keys that are not known do nothing


def characters():
    chat = Chat(columns=20, template=SHOW % 1).shows('> ')
    chat.keys('日本語').looks(['> 日本語'], 0, 8)
    chat.keys(LEFT).looks(['> 日本語'], 0, 6)
    chat.keys('\x7f').looks(['> 日語'], 0, 4)
    chat.keys('e\u0301\u0323').looks(['> 日e\u0301\u0323語'], 0, 5)
    chat.keys(LEFT, 'ö😀').looks(['> 日ö😀e\u0301\u0323語'], 0, 7)
    chat.keys(DELETE).looks(['> 日ö😀語'], 0, 7)
    chat.keys(HOME, RIGHT).looks(['> 日ö😀語'], 0, 4)
    chat.keys(b'\xff\xc3(\xe3\x81\xf0\x9f\x98x\xc0\xaf', END)  # what is no UTF-8 is left out
    chat.looks(['> 日(xö😀語'], 0, 11)
    chat.keys('\r').got('日(xö😀語')


def long_lines():
    chat = Chat(columns=12, rows=8, template=SHOW % 1).shows('> ')
    chat.keys('0123456789').looks(['> 0123456789', ''], 1, 0)
    chat.keys('abc').looks(['> 0123456789', 'abc'], 1, 3)
    chat.keys(HOME).looks(['> 0123456789', 'abc'], 0, 2)
    chat.keys('xy').looks(['> xy01234567', '89abc'], 0, 4)
    chat.keys(END, '語語語語').looks(['> xy01234567', '89abc語語語', '語'], 2, 2)
    chat.resize(9, 8)
    chat.screen = Screen(9, 8)
    chat.keys(' ').until(lambda: chat.screen.lines()[:4] == ['> xy01234', '56789abc', '語語語語', ''], 'of the new size')
    chat.keys('\r').got('xy0123456789abc語語語語 ')


def pasting():
    chat = Chat(columns=20, rows=6, template=SHOW % 1).shows('> ')
    chat.keys('a ', PASTE + 'one\rtwo\tx\r\nthree\x03\x04\x1b[Dé' + PASTED).looks(['> a one', 'two    x', 'threeé'], 2, 6)
    chat.keys(HOME).looks(['> a one', 'two    x', 'threeé'], 2, 0)
    chat.keys('\x7f').looks(['> a one', 'two    xthreeé'], 1, 8)
    chat.keys('\r').got('a one\ntwo\txthreeé')
    many = '\r'.join(f'line {i}' for i in range(20))
    chat = Chat(columns=20, rows=6, template=SHOW % 1).shows('> ')
    chat.keys(PASTE + many + PASTED).looks([f'line {i}' for i in range(14, 20)], 5, 7)
    chat.keys('\r').got(many.replace('\r', '\n'))


def history():
    chat = Chat(template=SHOW % 7).shows('> ')
    for i, text in enumerate(['first', 'second', 'second']):
        chat.keys(text, '\r').shows('\x1b[?2004h', i + 2)
    chat.keys('draft', UP).until(lambda: '> second' in chat.screen.lines()[chat.screen.row], 'the last')
    chat.keys(UP, UP, '!').until(lambda: '> first!' in chat.screen.lines()[chat.screen.row], 'the first')
    chat.keys(DOWN, DOWN, DOWN, 'ed').until(lambda: '> drafted' in chat.screen.lines()[chat.screen.row], 'the draft')
    chat.keys('\x10\x10', '\r').got('first', 'second', 'second', 'first')


def ending():
    chat = Chat().shows('> ').keys('abc', HOME, '\x04\x04\x04').looks(['>'], 0, 2).keys('\x04').ends()
    assert chat.status == 0, chat.status
    chat = Chat(template=SHOW % 1).shows('> ').keys('forget\x03kept', '\r')
    chat.got('kept')
    assert os.WEXITSTATUS(chat.status) == 1, chat.status


def stopping():
    # The answer has no end, so that a busy machine cannot have written all of it before the key comes.
    endless = ('--max-tokens', '100000000', '--ignore-eos', '--overflow', 'shift')
    chat = Chat(*endless).shows('> ').keys('Tell me a story', '\r').shows('\x1b[?2004l')
    begin = chat.output.index('\x1b[?2004l')
    chat.until(lambda: len(chat.output) > begin + 40, 'an answer').keys('\x03').shows('(stopped)').shows('\x1b[?2004h', 2)
    chat.keys('\x04').ends()
    assert chat.status == 0, chat.status


def signals():
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        chat = Chat().keys('abc').looks(['> abc'], 0, 5)
        assert termios.tcgetattr(chat.fd) != chat.before, 'nothing is changed while a message is typed'
        os.kill(chat.pid, number)
        chat.ends()
        assert os.WTERMSIG(chat.status) == number, chat.status


def suspending():
    chat = Chat(program=['bash', '--norc', '--noediting', '-i'], columns=100).shows('$ ')
    chat.keys(f'{SHELL} chat {MODEL}\n').shows('> ').keys('abc').shows('> abc').keys('\x1a').shows('Stopped')
    chat.shows('\x1b[?2004l')
    chat.keys('fg\n').shows('> abc', 2).keys('\x03\x04').shows('$ ', 3).keys('exit\n')
    chat.ends()


for case in (editing, characters, long_lines, pasting, history, ending, stopping, signals, suspending):
    try:
        case()
        print(f'ok {case.__name__}')
    except Exception as failure:  # noqa: BLE001: every failure is told
        where = traceback.extract_tb(failure.__traceback__)
        lines = ', '.join(str(frame.lineno) for frame in where)
        print(f'failed {case.__name__}: lines {lines}: {type(failure).__name__} {failure}'.replace('\n', ' '))
