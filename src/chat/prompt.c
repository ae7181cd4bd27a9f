/*
 * Messages and variables to a template's variables, the template, and the text that it makes. Messages and
 * variables are data, but for what a caller says to trust, and for the names of roles that all templates
 * know: templates make marks of those ('<|' + role + '|>'). No model is needed here but for a few texts of
 * it, so that a page can have the interpreter in a module of its own.
 */
#include "chat/prompt.h"
#include "chat/json.h"
#include "chat/template.h"
#include "chat/turns.h"

#include "base/error.h"
#include "base/mem.h"

#include <string.h>

typedef struct prompt { // while it is made
    const nut_chat_model *model;
    nut_chat *chat;
    chat_heap *h;
    chat_value variables;
    const char *source, *name;
    size_t n_source;
} prompt;

/* ---- what is trusted ---- */

static const char *const roles[] = {
    "user",    "assistant",   "system",      "tool",          "developer", "function",  "ipython", "model",
    "chatbot", "observation", "environment", "tool_response", "tool_call", "documents", "context", "critic"};

/* Texts that the JSON reader has made, and nothing else holds. */
static void trust_text(chat_value *v) {
    chat_string *s = (chat_string *)(uintptr_t)v->s;
    s->origin = CHAT_TEMPLATE;
    s->marks = NULL;
}

static void trust_role(chat_value *role) {
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        if (chat_equal_text(role, roles[i])) trust_text(role);
}

/* All that is in a value, which is nested no deeper than JSON is read. */
static void trust(chat_value *v) {
    v->origin = CHAT_TEMPLATE;
    if (v->kind == CHAT_STRING) trust_text(v);
    for (uint32_t i = 0; v->kind == CHAT_LIST && i < v->list->n; i++) trust(&v->list->items[i]);
    for (uint32_t i = 0; v->kind == CHAT_MAP && i < v->map->n; i++) {
        trust(&v->map->entries[i].key);
        trust(&v->map->entries[i].value);
    }
}

/* A message without the entry "trusted". */
static bool without_trusted(chat_heap *h, chat_value *message) {
    chat_value copy;
    if (!chat_map_new(h, &copy)) return false;
    for (uint32_t i = 0; i < message->map->n; i++) {
        const chat_entry *e = &message->map->entries[i];
        if (!chat_equal_text(&e->key, "trusted") && !chat_map_set(h, &copy, e->key, e->value)) return false;
    }
    *message = copy;
    return true;
}

static bool take_message(chat_heap *h, uint32_t i, chat_value *message) {
    if (message->kind != CHAT_MAP) return chat_fail(h, NUT_E_ARGUMENT, "message %u is no object", i + 1);
    chat_map *map = message->map;
    for (uint32_t k = 0; k < map->n; k++)
        if (chat_equal_text(&map->entries[k].key, "role")) trust_role(&map->entries[k].value);
    const chat_value *trusted = chat_map_find(h, map, "trusted");
    if (!trusted) return h->status == NUT_OK;
    if (trusted->kind == CHAT_BOOL && trusted->b) trust(message);
    return without_trusted(h, message);
}

/* ---- variables ---- */

static bool set(prompt *p, const char *name, chat_value value) {
    chat_value key;
    return chat_string_of(p->h, name, strlen(name), CHAT_TEMPLATE, &key) &&
           chat_map_set(p->h, &p->variables, key, value);
}

static bool set_token(prompt *p, const char *name, const char *token, size_t n) {
    chat_value text;
    return chat_string_of(p->h, token, n, CHAT_TEMPLATE, &text) && set(p, name, text);
}

static bool set_given(prompt *p, const nut_chat_options *o) {
    chat_value given;
    if (!o->variables) return true;
    if (!chat_json_read(p->h, o->variables, o->n_variables, CHAT_DATA, "the variables", &given))
        return false;
    if (given.kind != CHAT_MAP) return chat_fail(p->h, NUT_E_ARGUMENT, "the variables are no object");
    for (uint32_t i = 0; i < given.map->n; i++)
        if (!chat_map_set(p->h, &p->variables, given.map->entries[i].key, given.map->entries[i].value))
            return false;
    return true;
}

static bool set_variables(prompt *p, const char *messages, size_t n, const nut_chat_options *o) {
    chat_value list;
    if (!chat_json_read(p->h, messages, n, CHAT_DATA, "the messages", &list)) return false;
    if (list.kind != CHAT_LIST) return chat_fail(p->h, NUT_E_ARGUMENT, "the messages are no list");
    for (uint32_t i = 0; i < list.list->n; i++)
        if (!take_message(p->h, i, &list.list->items[i])) return false;
    const nut_chat_model *m = p->model;
    return turns_leave_out(p->h, &list, o->leave_out, &p->chat->turns) &&
           chat_map_new(p->h, &p->variables) && set_token(p, "bos_token", m->bos, m->n_bos) &&
           set_token(p, "eos_token", m->eos, m->n_eos) && set_given(p, o) && set(p, "messages", list) &&
           set(p, "add_generation_prompt", chat_bool(!o->no_prompt));
}

/* ---- which template ---- */

static bool take_source(prompt *p, const char *source, size_t n, const char *name) {
    p->source = source;
    p->n_source = n;
    p->name = name;
    return source != NULL;
}

/* Some models bring a template of its own for prompts with tools. */
static bool has_tools(const prompt *p) {
    const chat_value *tools = chat_map_find(p->h, p->variables.map, "tools");
    return tools && tools->kind == CHAT_LIST && tools->list->n > 0;
}

static bool find_template(prompt *p, const nut_chat_options *o) {
    const nut_chat_model *m = p->model;
    if (take_source(p, o->source, o->n_source, "given")) return true;
    if (has_tools(p) && take_source(p, m->tool_source, m->n_tool_source, "tool_use")) return true;
    if (take_source(p, m->source, m->n_source, m->name)) return true;
    return chat_fail(p->h, NUT_E_NO_TEMPLATE,
                     "this model has no chat template, and its special tokens are of no known family; give "
                     "a template, or write the prompt yourself");
}

/* ---- public ---- */

/* Marks of each byte; none where all are the template's. */
static bool find_marks(chat_heap *h, const chat_string *s, const uint8_t **out) {
    uint8_t *all;
    *out = s->marks;
    if (s->marks || s->origin == CHAT_TEMPLATE || s->n == 0) return true;
    *out = all = chat_alloc(h, s->n);
    if (all) memset(all, CHAT_DATA, s->n);
    return all != NULL;
}

static bool write_text(nut_chat *c, prompt *p, const char *messages, size_t n, const nut_chat_options *o) {
    chat_value text;
    if (!set_variables(p, messages, n, o) || !find_template(p, o)) return false;
    if (!template_render(p->h, p->source, p->n_source, p->variables, o->now, &text)) return false;
    c->text = text.s;
    c->name = p->name;
    return find_marks(p->h, c->text, &c->marks);
}

nut_status nut_chat_write(const nut_chat_model *model, const char *messages, size_t n_messages,
                          const nut_chat_options *options, nut_chat **out, nut_error *err) {
    nut_chat *c = mem_calloc(1, sizeof *c);
    if (!c) return error_memory(err, sizeof *c);
    chat_heap_open(&c->heap, err);
    prompt p = {.model = model, .chat = c, .h = &c->heap};
    const bool written = write_text(c, &p, messages, n_messages, options);
    const nut_status status = written ? NUT_OK : c->heap.status;
    if (written)
        *out = c;
    else
        nut_chat_free(c);
    return status;
}

const char *nut_chat_text(const nut_chat *c, size_t *n) {
    *n = c->text->n;
    return c->text->text;
}

const uint8_t *nut_chat_marks(const nut_chat *c) {
    return c->marks;
}

const int32_t *nut_chat_ids(const nut_chat *c, size_t *n) {
    *n = c->n_ids;
    return c->ids;
}

const char *nut_chat_template(const nut_chat *c) {
    return c->name;
}

uint32_t nut_chat_n_turns(const nut_chat *c) {
    return c->turns.n;
}

const uint32_t *nut_chat_dropped(const nut_chat *c, size_t *n) {
    *n = c->turns.n_dropped;
    return c->turns.dropped;
}

void nut_chat_free(nut_chat *c) {
    if (!c) return;
    chat_heap_close(&c->heap);
    mem_free(c);
}
