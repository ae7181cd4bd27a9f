/* Conversations: found in lines, and made to tokens of which those of answers are known. */
#include "cli/conversations.h"
#include "cli/json.h"

#include <stdlib.h>
#include <string.h>

/* ---- JSON, whose faults the template's reader tells ---- */

/* The end of the string that begins at s[at]. */
static size_t string_end(const char *s, size_t n, size_t at) {
    while (++at < n && s[at] != '"') at += s[at] == '\\';
    return at;
}

/* The bytes of the array or object that a text begins with; 0: it does not end. */
static size_t value_bytes(const char *s, size_t n) {
    size_t depth = 0;
    for (size_t i = 0; i < n; i++) {
        if (s[i] == '"')
            i = string_end(s, n, i);
        else if (s[i] == '[' || s[i] == '{')
            depth++;
        else if ((s[i] == ']' || s[i] == '}') && --depth == 0)
            return i + 1;
    }
    return 0;
}

bool conversations_find(const char *line, size_t n, const char **messages, size_t *n_messages) {
    static const char key[] = "\"messages\"";
    const size_t n_key = sizeof key - 1;
    size_t at = 0;
    if (*line != '[') {
        while (at + n_key < n && memcmp(line + at, key, n_key) != 0) at++;
        at += n_key;
        while (at < n && strchr(" \t:", line[at])) at++;
    }
    if (at >= n || line[at] != '[') return false;
    *messages = line + at;
    *n_messages = value_bytes(line + at, n - at);
    return *n_messages;
}

/* Whether an object of n bytes has the member "role" with the value "assistant". */
static bool is_answer(const char *s, size_t n) {
    json_part at = {s, n}, key, value;
    while (json_next(&at, &key, &value))
        if (json_is(key, "role")) return json_is(value, "assistant");
    return false;
}

/* ---- lines ---- */

nut_status conversations_each(const char *path, conversation_fn *fn, void *ctx, nut_error *err) {
    char *lines = NULL;
    const char *messages;
    size_t n, n_messages, number = 1, n_found = 0;
    TRY(file_read_text(path, &lines, &n, err));
    nut_status status = NUT_OK;
    for (size_t at = 0; at < n && status == NUT_OK; number++) {
        const char *end = memchr(lines + at, '\n', n - at);
        const size_t length = end ? (size_t)(end - lines) - at : n - at;
        if (strspn(lines + at, " \t\r") < length) {
            if (conversations_find(lines + at, length, &messages, &n_messages))
                status = fn(ctx, messages, n_messages, err);
            else
                status = cli_error(err, NUT_E_ARGUMENT,
                                   "line %zu holds no conversation: write {\"messages\": [{\"role\": "
                                   "\"user\", \"content\": \"...\"}, ...]} in each line",
                                   number);
            n_found++;
        }
        at += length + 1;
    }
    free(lines);
    if (status == NUT_OK && !n_found)
        return cli_error(err, NUT_E_ARGUMENT, "the file of conversations is empty");
    return status;
}

/* ---- tokens ---- */

typedef struct collecting {
    nut_model *m;
    conversation_tokens *out;
    size_t n_answers;
} collecting;

static nut_status render(const nut_model *m, const char *messages, size_t n, bool opens, nut_chat **out,
                         nut_error *err) {
    const nut_chat_options o = {.no_prompt = !opens};
    return nut_chat_render(m, messages, n, &o, out, err);
}

/* Counts the tokens at the start of `whole` that come from the messages in the first n_messages bytes. With
 * `opens`, the tokens that open the answer behind them count too. */
static nut_status count_same(const nut_model *m, const char *messages, size_t n_messages, bool opens,
                             const nut_chat *whole, size_t *same, nut_error *err) {
    nut_chat *chat;
    size_t n, n_whole;
    char *part = malloc(n_messages + 1);
    if (!part) return cli_error(err, NUT_E_MEMORY, "out of memory");
    memcpy(part, messages, n_messages);
    part[n_messages] = ']';
    const nut_status status = render(m, part, n_messages + 1, opens, &chat, err);
    free(part);
    TRY(status);
    const int32_t *ids = nut_chat_ids(chat, &n), *all = nut_chat_ids(whole, &n_whole);
    for (*same = 0; *same < n && *same < n_whole && ids[*same] == all[*same];) ++*same;
    nut_chat_free(chat);
    return NUT_OK;
}

/* Marks the answers of a conversation: what the model is to write behind the messages before each. */
static nut_status mark_answers(collecting *c, const char *messages, size_t n, const nut_chat *whole,
                               uint8_t *learned, nut_error *err) {
    size_t begin, end, before = 0; // bytes up to the end of the message before
    for (size_t at = 1; at < n && (at += strcspn(messages + at, "{")) < n;
         at += value_bytes(messages + at, n - at)) {
        const size_t bytes = value_bytes(messages + at, n - at);
        if (!bytes) break;
        if (before && is_answer(messages + at, bytes)) {
            TRY(count_same(c->m, messages, before, true, whole, &begin, err));
            TRY(count_same(c->m, messages, at + bytes, false, whole, &end, err));
            if (end > begin) memset(learned + begin, 1, end - begin), c->n_answers++;
        }
        before = at + bytes;
    }
    return NUT_OK;
}

static nut_status grow(conversation_tokens *t, size_t n, nut_error *err) {
    int32_t *ids = realloc(t->ids, (t->n + n) * sizeof *ids);
    if (ids) t->ids = ids;
    uint8_t *learned = realloc(t->learned, t->n + n);
    if (learned) t->learned = learned;
    return ids && learned ? NUT_OK : cli_error(err, NUT_E_MEMORY, "out of memory");
}

static nut_status add_conversation(void *ctx, const char *messages, size_t n, nut_error *err) {
    collecting *c = ctx;
    conversation_tokens *t = c->out;
    nut_chat *chat;
    size_t n_ids;
    TRY(render(c->m, messages, n, false, &chat, err));
    const int32_t *ids = nut_chat_ids(chat, &n_ids);
    nut_status status = n_ids ? grow(t, n_ids, err) : NUT_OK;
    if (status == NUT_OK && n_ids) {
        memcpy(t->ids + t->n, ids, n_ids * sizeof *ids);
        memset(t->learned + t->n, 0, n_ids);
        status = mark_answers(c, messages, n, chat, t->learned + t->n, err);
        t->n += n_ids;
    }
    nut_chat_free(chat);
    return status;
}

nut_status conversations_tokens(const char *model, const char *path, conversation_tokens *out,
                                nut_error *err) {
    const file_options header = {.header_only = true};
    collecting c = {.out = out};
    *out = (conversation_tokens){0};
    TRY(file_load_model(model, &header, &c.m, err));
    nut_status status = conversations_each(path, add_conversation, &c, err);
    nut_model_free(c.m);
    if (status == NUT_OK && !c.n_answers)
        return cli_error(err, NUT_E_ARGUMENT,
                         "no conversation has an answer: a message with \"role\": \"assistant\" behind "
                         "another one");
    return status;
}

void conversations_free(conversation_tokens *t) {
    free(t->ids);
    free(t->learned);
    *t = (conversation_tokens){0};
}
