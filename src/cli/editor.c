/* Keys, history and drawing of a message that is typed. */
#include "cli/editor.h"
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>

enum { TAB_COLUMNS = 4 };

/* ---- texts ---- */

static bool make_room(editor *e, editor_text *t, size_t more) {
    if (t->cap - t->n > more) return true;
    const size_t cap = 2 * (t->n + more) + 64;
    char *grown = cap > t->n ? realloc(t->bytes, cap) : NULL;
    if (!grown) return e->failed = true, false;
    t->bytes = grown;
    t->cap = cap;
    return true;
}

static void insert(editor *e, editor_text *t, size_t at, const char *bytes, size_t n) {
    if (!make_room(e, t, n)) return;
    memmove(t->bytes + at + n, t->bytes + at, t->n - at);
    memcpy(t->bytes + at, bytes, n);
    t->n += n;
    t->bytes[t->n] = '\0';
}

static void append(editor *e, editor_text *t, const char *bytes, size_t n) {
    insert(e, t, t->n, bytes, n);
}

static void set_text(editor *e, editor_text *t, const editor_text *from) {
    t->n = 0;
    append(e, t, from->n ? from->bytes : "", from->n);
}

static void remove_to(editor *e, size_t from, size_t to) {
    if (from == to) return;
    memmove(e->text.bytes + from, e->text.bytes + to, e->text.n - to + 1);
    e->text.n -= to - from;
    e->at = from;
}

/* ---- characters and words ---- */

/* The character at a place of valid UTF-8, and its bytes. */
static unsigned long character_at(const editor_text *t, size_t at, size_t *n) {
    const unsigned char *s = (const unsigned char *)t->bytes + at;
    *n = *s < 0x80 ? 1 : *s < 0xe0 ? 2 : *s < 0xf0 ? 3 : 4;
    unsigned long c = *n == 1 ? *s : *s & (0x7fU >> *n);
    for (size_t i = 1; i < *n; i++) c = c << 6 | (s[i] & 0x3f);
    return c;
}

/* Behind the character at the cursor and all that stands on it; in front of the one before the cursor. */
static size_t after(const editor *e, size_t at) {
    size_t n = 0;
    if (at < e->text.n) character_at(&e->text, at, &n), at += n;
    while (at < e->text.n && width_of(character_at(&e->text, at, &n)) == 0) at += n;
    return at;
}

static size_t before(const editor *e, size_t at) {
    size_t n;
    bool stands = true;
    while (at > 0 && stands) {
        at--;
        while (at > 0 && (e->text.bytes[at] & 0xc0) == 0x80) at--;
        stands = width_of(character_at(&e->text, at, &n)) == 0;
    }
    return at;
}

static bool is_blank(const editor *e, size_t at) {
    return strchr(" \t\n", e->text.bytes[at]) != NULL;
}

static size_t word_before(const editor *e) {
    size_t at = e->at;
    while (at > 0 && is_blank(e, at - 1)) at--;
    while (at > 0 && !is_blank(e, at - 1)) at--;
    return at;
}

static size_t word_after(const editor *e) {
    size_t at = e->at;
    while (at < e->text.n && is_blank(e, at)) at++;
    while (at < e->text.n && !is_blank(e, at)) at++;
    return at;
}

static size_t line_begin(const editor *e) {
    size_t at = e->at;
    while (at > 0 && e->text.bytes[at - 1] != '\n') at--;
    return at;
}

static size_t line_end(const editor *e) {
    size_t at = e->at;
    while (at < e->text.n && e->text.bytes[at] != '\n') at++;
    return at;
}

/* ---- history ---- */

/* Shows an entry, or the draft, which stays as it was left. */
static void show(editor *e, size_t entry) {
    if (e->shown == e->n_history) set_text(e, &e->draft, &e->text);
    e->shown = entry;
    set_text(e, &e->text, entry < e->n_history ? &e->history[entry] : &e->draft);
    e->at = e->text.n;
}

static bool is_last(const editor *e) {
    const editor_text *last = e->n_history ? &e->history[e->n_history - 1] : NULL;
    return last && last->n == e->text.n && !memcmp(last->bytes, e->text.bytes, last->n);
}

static void remember(editor *e) {
    editor_text kept = {0};
    if (!e->text.n || is_last(e)) return;
    editor_text *grown = realloc(e->history, (e->n_history + 1) * sizeof *grown);
    if (grown) e->history = grown;
    set_text(e, &kept, &e->text);
    if (grown && kept.bytes)
        e->history[e->n_history++] = kept;
    else
        e->failed = true, free(kept.bytes);
}

bool editor_take(editor *e, const char **line) {
    remember(e);
    set_text(e, &e->draft, &e->text); // where the message stays while it is answered
    *line = e->draft.bytes;
    e->text.n = e->at = e->row = 0;
    e->shown = e->n_history;
    return !e->failed;
}

/* ---- keys ---- */

typedef editor_event key_action(editor *e);

static editor_event left(editor *e) {
    return e->at = before(e, e->at), EDITOR_MORE;
}
static editor_event right(editor *e) {
    return e->at = after(e, e->at), EDITOR_MORE;
}
static editor_event word_left(editor *e) {
    return e->at = word_before(e), EDITOR_MORE;
}
static editor_event word_right(editor *e) {
    return e->at = word_after(e), EDITOR_MORE;
}
static editor_event home(editor *e) {
    return e->at = line_begin(e), EDITOR_MORE;
}
static editor_event end(editor *e) {
    return e->at = line_end(e), EDITOR_MORE;
}
static editor_event up(editor *e) {
    if (e->shown > 0) show(e, e->shown - 1);
    return EDITOR_MORE;
}
static editor_event down(editor *e) {
    if (e->shown < e->n_history) show(e, e->shown + 1);
    return EDITOR_MORE;
}
static editor_event backspace(editor *e) {
    return remove_to(e, before(e, e->at), e->at), EDITOR_MORE;
}
static editor_event delete(editor *e) {
    return remove_to(e, e->at, after(e, e->at)), EDITOR_MORE;
}
static editor_event delete_word(editor *e) {
    return remove_to(e, word_before(e), e->at), EDITOR_MORE;
}
static editor_event delete_to_begin(editor *e) {
    return remove_to(e, line_begin(e), e->at), EDITOR_MORE;
}
static editor_event delete_to_end(editor *e) {
    return remove_to(e, e->at, line_end(e)), EDITOR_MORE;
}
static editor_event clear_text(editor *e) {
    e->text.n = e->at = 0;
    e->shown = e->n_history;
    return EDITOR_MORE;
}
static editor_event end_or_delete(editor *e) {
    return e->text.n ? delete (e) : EDITOR_END;
}
static editor_event complete(editor *e) {
    (void)e;
    return EDITOR_LINE;
}
static editor_event suspend(editor *e) {
    (void)e;
    return EDITOR_SUSPEND;
}
static editor_event clear_screen(editor *e) {
    return e->row = 0, EDITOR_CLEAR;
}
static editor_event paste_begin(editor *e) {
    return e->pasting = true, EDITOR_MORE;
}
static editor_event paste_end(editor *e) {
    return e->pasting = false, EDITOR_MORE;
}

/* What xterm and those like it send (XTerm Control Sequences, "PC-Style Function Keys", "Bracketed Paste
 * Mode"), and the letters that readline knows. */
static const struct {
    const char *bytes;
    key_action *act;
} keys[] = {
    {"\x1b[D", left},
    {"\x1bOD", left},
    {"\x02", left},
    {"\x1b[C", right},
    {"\x1bOC", right},
    {"\x06", right},
    {"\x1b[1;5D", word_left},
    {"\x1b\x62", word_left},
    {"\x1b[1;5C", word_right},
    {"\x1b\x66", word_right},
    {"\x1b[H", home},
    {"\x1bOH", home},
    {"\x1b[1~", home},
    {"\x1b[7~", home},
    {"\x01", home},
    {"\x1b[F", end},
    {"\x1bOF", end},
    {"\x1b[4~", end},
    {"\x1b[8~", end},
    {"\x05", end},
    {"\x1b[A", up},
    {"\x1bOA", up},
    {"\x10", up},
    {"\x1b[B", down},
    {"\x1bOB", down},
    {"\x0e", down},
    {"\x7f", backspace},
    {"\x08", backspace},
    {"\x1b[3~", delete},
    {"\x17", delete_word},
    {"\x15", delete_to_begin},
    {"\x0b", delete_to_end},
    {"\x03", clear_text},
    {"\x04", end_or_delete},
    {"\r", complete},
    {"\n", complete},
    {"\x1a", suspend},
    {"\x0c", clear_screen},
    {"\x1b[200~", paste_begin},
    {"\x1b[201~", paste_end},
};

static editor_event press(editor *e) {
    editor_event event = EDITOR_MORE;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strlen(keys[i].bytes) == e->n_key && !memcmp(keys[i].bytes, e->key, e->n_key) &&
            (!e->pasting || keys[i].act == paste_end))
            event = keys[i].act(e);
    e->n_key = 0;
    return event;
}

static void type(editor *e, const char *bytes, size_t n) {
    const size_t had = e->text.n;
    insert(e, &e->text, e->at, bytes, n);
    e->at += e->text.n - had;
}

/* A control character that is text: tabs, and in what is pasted the ends of lines. */
static bool is_text(editor *e, char byte) {
    const bool follows = e->after_cr && byte == '\n';
    e->after_cr = byte == '\r';
    if (byte == '\t') return type(e, "\t", 1), true;
    if (!e->pasting || (byte != '\r' && byte != '\n')) return false;
    if (!follows) type(e, "\n", 1);
    return true;
}

/* Whether the bytes of an escape sequence are all there: ESC [ … with a letter or ~ at the end; ESC O and a
 * byte; ESC and a byte. */
static bool is_whole(const editor *e) {
    const char last = e->key[e->n_key - 1];
    if (e->n_key == 1) return e->key[0] != '\x1b';
    if (e->key[1] == '[') return e->n_key > 2 && last >= 0x40 && last <= 0x7e;
    return e->key[1] != 'O' || e->n_key == 3;
}

/* A byte of a character; what is no UTF-8 is left out. */
static void feed_character(editor *e, char byte) {
    if (e->n_key > 1 && (byte & 0xc0) != 0x80) e->key[0] = byte, e->n_key = 1;
    const unsigned char first = (unsigned char)e->key[0];
    const size_t wanted = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (e->n_key < wanted) return;
    if (cli_printable(e->key, wanted) == wanted) type(e, e->key, wanted);
    e->n_key = 0;
}

editor_event editor_feed(editor *e, char byte) {
    const unsigned char c = (unsigned char)byte;
    const bool control = c < 0x20 || c == 0x7f;
    if (control) e->n_key = 0; // what had begun ends
    if (!e->n_key && is_text(e, byte)) return EDITOR_MORE;
    if (e->n_key == sizeof e->key) e->n_key = 0; // no key is as long
    e->key[e->n_key++] = byte;
    if (!control && e->key[0] != '\x1b') return feed_character(e, byte), EDITOR_MORE;
    return is_whole(e) ? press(e) : EDITOR_MORE;
}

/* ---- drawing ---- */

typedef struct place {
    size_t row, column;
} place;

/* Goes over a character of this width, which begins a row where it does not fit. */
static void advance(place *p, size_t width, size_t columns) {
    if (p->column + width > columns) p->row++, p->column = 0;
    p->column += width;
}

static size_t columns_of(const editor *e, size_t at, size_t *n) {
    const unsigned long c = character_at(&e->text, at, n);
    return c == '\t' ? TAB_COLUMNS : (size_t)width_of(c);
}

/* Where the byte at `at` of the message stands. */
static place place_of(const editor *e, size_t at, size_t n_prompt, size_t columns) {
    place p = {0, n_prompt};
    for (size_t i = 0, n; i < at; i += n) {
        const size_t width = columns_of(e, i, &n);
        if (e->text.bytes[i] == '\n')
            p = (place){p.row + 1, 0};
        else
            advance(&p, width, columns);
    }
    if (p.column >= columns) p = (place){p.row + 1, 0};
    return p;
}

static void put_move(editor *e, size_t n, char direction) {
    char text[32];
    if (n) append(e, &e->screen, text, (size_t)snprintf(text, sizeof text, "\x1b[%zu%c", n, direction));
}

static void put_character(editor *e, size_t at, size_t n) {
    if (e->text.bytes[at] == '\t')
        append(e, &e->screen, "    ", TAB_COLUMNS);
    else
        append(e, &e->screen, e->text.bytes + at, n);
}

/* Prompt and message, the rows [top, top + rows) of them; the row where this ends. */
static size_t put_rows(editor *e, const char *prompt, size_t columns, size_t top, size_t rows) {
    place p = {0, strlen(prompt)};
    size_t last = top;
    if (!top) append(e, &e->screen, prompt, p.column);
    for (size_t i = 0, n; i <= e->text.n; i += n) {
        const bool over = i == e->text.n, line = !over && e->text.bytes[i] == '\n';
        const size_t width = over ? (n = 1) : columns_of(e, i, &n);
        if (line)
            p = (place){p.row + 1, 0};
        else if (!over || p.column >= columns)
            advance(&p, width, columns);
        if (p.row >= top + rows) break;
        if (p.row > last) append(e, &e->screen, "\r\n", 2), last = p.row;
        if (!over && !line && p.row >= top) put_character(e, i, n);
    }
    return last;
}

void editor_draw(editor *e, const char *prompt, size_t columns, size_t rows) {
    const place cursor = place_of(e, e->at, strlen(prompt), columns);
    const size_t top = cursor.row >= rows ? cursor.row - rows + 1 : 0;
    e->screen.n = 0;
    append(e, &e->screen, "\r", 1);
    put_move(e, e->row, 'A');
    append(e, &e->screen, "\x1b[J", 3);
    const size_t last = put_rows(e, prompt, columns, top, rows);
    append(e, &e->screen, "\r", 1);
    put_move(e, last > cursor.row ? last - cursor.row : 0, 'A');
    put_move(e, cursor.column, 'C');
    e->row = cursor.row - top;
}

void editor_free(editor *e) {
    for (size_t i = 0; i < e->n_history; i++) free(e->history[i].bytes);
    free(e->history);
    free(e->text.bytes);
    free(e->draft.bytes);
    free(e->screen.bytes);
    *e = (editor){0};
}
