/* The terminal of POSIX: its modes, its size, its signals. */
#include "cli/console.h"

#ifdef __wasi__

bool console_is_there(void) {
    return false;
}
nut_status console_read(console *c, const char *prompt, const char **line, bool *more, nut_error *err) {
    (void)c, (void)prompt, (void)line, (void)more;
    return cli_error(err, NUT_E_UNSUPPORTED, "there are no terminals here; give the messages as lines");
}
void console_watch(void) {}
void console_unwatch(void) {}
bool console_interrupted(void) {
    return false;
}

#else

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

bool console_is_there(void) {
    const char *kind = getenv("TERM");
    return isatty(STDIN_FILENO) && isatty(STDERR_FILENO) && kind && *kind && strcmp(kind, "dumb") != 0;
}

static void put(const char *bytes, size_t n) {
    for (ssize_t some; n; bytes += some, n -= (size_t)some) {
        some = write(STDERR_FILENO, bytes, n);
        if (some < 0 && errno != EINTR) return;
        if (some < 0) some = 0;
    }
}

/* ---- modes and signals ---- */

static struct termios modes_before;
static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE, SIGALRM, SIGABRT};
enum { N_ENDS = sizeof ends / sizeof *ends };
static struct sigaction ends_before[N_ENDS], resize_before;

/* Only what a handler of signals may call. */
static void restore_modes(void) {
    static const char off[] = "\x1b[?2004l";
    const int kept = errno;
    put(off, sizeof off - 1);
    tcsetattr(STDIN_FILENO, TCSADRAIN, &modes_before);
    errno = kept;
}

static void end_by(int signal) {
    restore_modes();
    for (int i = 0; i < N_ENDS; i++)
        if (ends[i] == signal) sigaction(signal, &ends_before[i], NULL);
    raise(signal);
}

static void wake(int signal) {
    (void)signal; // read() ends with EINTR
}

static void catch_signals(void) {
    struct sigaction a = {.sa_handler = end_by};
    sigemptyset(&a.sa_mask);
    for (int i = 0; i < N_ENDS; i++) {
        sigaction(ends[i], NULL, &ends_before[i]);
        if (ends_before[i].sa_handler != SIG_IGN) sigaction(ends[i], &a, NULL);
    }
    a.sa_handler = wake;
#ifdef SIGWINCH
    sigaction(SIGWINCH, &a, &resize_before);
#endif
}

static void release_signals(void) {
    for (int i = 0; i < N_ENDS; i++) sigaction(ends[i], &ends_before[i], NULL);
#ifdef SIGWINCH
    sigaction(SIGWINCH, &resize_before, NULL);
#endif
}

/* From here on every key comes as it is pressed, and nothing is echoed; what is pasted is marked. */
static bool take_modes(void) {
    static const char on[] = "\x1b[?2004h";
    if (tcgetattr(STDIN_FILENO, &modes_before)) return false;
    struct termios m = modes_before;
    m.c_iflag &= (tcflag_t) ~(BRKINT | ICRNL | INLCR | IGNCR | ISTRIP | IXON);
    m.c_lflag &= (tcflag_t) ~(ECHO | ICANON | IEXTEN | ISIG);
    m.c_cc[VMIN] = 1;
    m.c_cc[VTIME] = 0;
    catch_signals();
    if (tcsetattr(STDIN_FILENO, TCSADRAIN, &m)) return release_signals(), false;
    put(on, sizeof on - 1);
    return true;
}

static void give_back(void) {
    restore_modes();
    release_signals();
}

/* ---- a message ---- */

static void draw(console *c, const char *prompt) {
    size_t columns = 80, rows = 24;
#ifdef TIOCGWINSZ
    struct winsize size;
    if (!ioctl(STDERR_FILENO, TIOCGWINSZ, &size) && size.ws_col && size.ws_row)
        columns = size.ws_col, rows = size.ws_row;
#endif
    editor_draw(&c->editor, prompt, columns < 8 ? 8 : columns, rows);
    put(c->editor.screen.bytes, c->editor.screen.n);
}

/* Stops the process, until the shell lets it go on. */
static bool stop(console *c, const char *prompt) {
    give_back();
    put("\r\n", 2);
    raise(SIGTSTP);
    c->editor.row = 0;
    if (!take_modes()) return false;
    draw(c, prompt);
    return true;
}

/* What the bytes that are there do; EDITOR_MORE: more of them are needed. */
static editor_event feed(console *c, const char *prompt) {
    static const char clear[] = "\x1b[H\x1b[2J";
    while (c->at < c->n_input) {
        const editor_event event = editor_feed(&c->editor, c->input[c->at++]);
        if (event == EDITOR_CLEAR) put(clear, sizeof clear - 1);
        if (event == EDITOR_SUSPEND && !stop(c, prompt)) return EDITOR_END;
        if (event == EDITOR_LINE || event == EDITOR_END) return event;
    }
    return EDITOR_MORE;
}

static editor_event edit(console *c, const char *prompt) {
    editor_event event;
    draw(c, prompt);
    while ((event = feed(c, prompt)) == EDITOR_MORE && !c->editor.failed) {
        if (c->n_input) draw(c, prompt);
        c->at = c->n_input = 0;
        const ssize_t n = read(STDIN_FILENO, c->input, sizeof c->input);
        if (n > 0) c->n_input = (size_t)n;
        if (n < 0 && errno == EINTR) draw(c, prompt); // of another size, perhaps
        if (n == 0 || (n < 0 && errno != EINTR)) return EDITOR_END;
    }
    c->editor.at = c->editor.text.n;
    draw(c, prompt);
    put("\r\n", 2);
    return event;
}

nut_status console_read(console *c, const char *prompt, const char **line, bool *more, nut_error *err) {
    fflush(stdout);
    if (!take_modes()) return cli_error(err, NUT_E_IO, "cannot set the terminal: %s", strerror(errno));
    const editor_event event = edit(c, prompt);
    give_back();
    *more = event == EDITOR_LINE;
    if (c->editor.failed || (*more && !editor_take(&c->editor, line)))
        return cli_error(err, NUT_E_MEMORY, "out of memory for a message");
    return NUT_OK;
}

/* ---- Ctrl-C while something else is done ---- */

static volatile sig_atomic_t interrupted;
static struct sigaction interrupt_before;

static void note(int signal) {
    if (interrupted) sigaction(signal, &interrupt_before, NULL), raise(signal);
    interrupted = 1;
}

void console_watch(void) {
    struct sigaction a = {.sa_handler = note, .sa_flags = SA_RESTART};
    sigemptyset(&a.sa_mask);
    interrupted = 0;
    sigaction(SIGINT, &a, &interrupt_before);
}

void console_unwatch(void) {
    sigaction(SIGINT, &interrupt_before, NULL);
}

bool console_interrupted(void) {
    return interrupted;
}

#endif

void console_free(console *c) {
    editor_free(&c->editor);
}
