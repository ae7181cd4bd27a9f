/* What a tool's schema says of a parameter, found in the JSON text of the tools. The text is known to be
 * JSON; it is walked through by the lengths of its values. */
#include "chat/answer.h"

#include <string.h>

typedef struct json_text {
    const char *p;
    size_t n;
} json_text;

static void skip_space(json_text *t) {
    while (t->n && (*t->p == ' ' || *t->p == '\t' || *t->p == '\n' || *t->p == '\r')) t->p++, t->n--;
}

static json_text take(json_text *t) {
    skip_space(t);
    const json_text value = {t->p, json_scan_length(t->p, t->n)};
    t->p += value.n;
    t->n -= value.n;
    return value;
}

/* The next member of an array or object: t is behind its beginning, or behind the member before. False at
 * its end. */
static bool next(json_text *t, json_text *key, json_text *value) {
    skip_space(t);
    if (t->n && (*t->p == ',' || *t->p == '{' || *t->p == '[')) t->p++, t->n--;
    skip_space(t);
    if (!t->n || *t->p == ']' || *t->p == '}') return false;
    *value = take(t);
    if (!key) return true;
    *key = *value;
    skip_space(t);
    if (t->n) t->p++, t->n--; // the colon
    *value = take(t);
    return value->n > 0;
}

static bool is_text(json_text t, const char *text, size_t n) {
    return t.n == n + 2 && *t.p == '"' && !memcmp(t.p + 1, text, n);
}

/* The value of a key; empty where there is none, and in what is no object. */
static json_text member(json_text object, const char *key, size_t n) {
    json_text k, value;
    if (!object.n || *object.p != '{') return (json_text){0};
    while (next(&object, &k, &value))
        if (is_text(k, key, n)) return value;
    return (json_text){0};
}

static json_text member_of(json_text object, const char *key) {
    return member(object, key, strlen(key));
}

static json_text find_tool(json_text tools, const char *name, size_t n) {
    json_text tool;
    if (!tools.n || *tools.p != '[') return (json_text){0};
    while (next(&tools, NULL, &tool)) {
        const json_text function = member_of(tool, "function");
        if (function.n) tool = function;
        if (is_text(member_of(tool, "name"), name, n)) return tool;
    }
    return (json_text){0};
}

/* Of a list of types. */
static answer_type of_list(json_text types) {
    json_text type;
    size_t others = 0;
    bool text = false, null = false;
    while (next(&types, NULL, &type)) {
        text = text || is_text(type, "string", 6);
        null = null || is_text(type, "null", 4);
        others += !is_text(type, "string", 6) && !is_text(type, "null", 4);
    }
    if (!text) return ANSWER_VALUE;
    return others ? ANSWER_ANY : null ? ANSWER_OR_NULL : ANSWER_STRING;
}

answer_type answer_type_of(const char *tools, size_t n, const char *tool, size_t n_tool, const char *key,
                           size_t n_key) {
    json_text all = {tools, n};
    skip_space(&all);
    const json_text parameters = member_of(find_tool(all, tool, n_tool), "parameters"),
                    type = member_of(member(member_of(parameters, "properties"), key, n_key), "type");
    if (!type.n) return ANSWER_ANY;
    if (*type.p == '[') return of_list(type);
    return is_text(type, "string", 6) ? ANSWER_STRING : ANSWER_VALUE;
}
