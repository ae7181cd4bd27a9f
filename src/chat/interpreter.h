/*
 * Running a template. Expressions give values, statements write to the text that is being made. Filters,
 * tests, methods and global functions are rows of tables (filters.c, tests.c, methods.c, globals.c): a name,
 * parameters, a function.
 *
 * What Jinja2 and Python do is followed, errors included: what raises there fails here. Lists and maps never
 * change, as in the sandbox in which chat templates run elsewhere.
 */
#ifndef NUT_CHAT_INTERPRETER_H
#define NUT_CHAT_INTERPRETER_H

#include "chat/syntax.h"

#include <string.h>

typedef struct scope {
    struct scope *outer;
    chat_value names; // map
    bool kept;        // a function refers to it: it stays when its block has ended
} scope;

typedef struct run {
    chat_heap *h;
    scope *globals;
    chat_text *out;
    uint32_t at; // what is being done, for errors
    int64_t now; // local time in seconds since 1970, for strftime_now
} run;

#define FAIL(r, ...) chat_fail((r)->h, NUT_E_CHAT, __VA_ARGS__)

/* ---- running (run.c, evaluate.c) ---- */

typedef enum flow { FLOW_FAILED, FLOW_NEXT, FLOW_BREAK, FLOW_CONTINUE } flow;

flow run_statements(run *r, const node *first, scope *s);
/* Statements in a scope of their own, whose text becomes a value. */
bool run_capture(run *r, const node *first, scope *s, chat_value *out);
bool run_value(run *r, const node *n, scope *s, chat_value *out);
/* A NODE_POSTFIX; caller: what its last call gets as the argument of that name, or NULL. */
bool run_postfix(run *r, const node *n, const chat_value *caller, scope *s, chat_value *out);
/* The filters of a list, one on the other. */
bool run_filters(run *r, const node *filters, chat_value in, scope *s, chat_value *out);

scope *scope_new(run *r, scope *outer); // NULL: failed
/* A scope for the next round of a loop: *s, which is NULL in the first one, with its first n names, or one
 * without names where *s is kept. */
bool scope_again(run *r, scope *outer, uint32_t n, scope **s);
void scope_keep(scope *s); // and those outside of it
bool scope_set(run *r, scope *s, chat_value name, chat_value value);
/* A name's value, in the scope or outside of it; undefined where there is none. */
bool scope_get(run *r, const scope *s, const chat_value *name, chat_value *out);

/* ---- functions (call.c) ---- */

enum { CALL_ARGS = 6 };

/* A call of a builtin. `list` and `named` are all arguments, `arg` what the row's parameters got of them. */
typedef struct call {
    run *r;
    chat_heap *h;
    chat_value self; // a filter's or test's input, a method's object
    chat_value arg[CALL_ARGS];
    const chat_list *list;
    const chat_map *named;
} call;

typedef struct builtin {
    const char *name;
    const char *parameters; // "old new ?count": those behind the mark may be left out; "*": any
    bool (*fn)(call *c, chat_value *out);
} builtin;

typedef struct loop_state {
    const chat_list *items;
    uint32_t index, depth;
    const node *recursive; // its NODE_FOR, if it may be called
    scope *outside;
    chat_value last; // that `changed` was called with
    bool has_last;
} loop_state;

typedef enum function_kind { FUNCTION_BUILTIN, FUNCTION_MACRO, FUNCTION_LOOP } function_kind;

struct chat_function {
    uint8_t kind; // function_kind
    const builtin *row;
    chat_value self;
    const node *macro; // NODE_MACRO or NODE_CALL_BLOCK
    scope *outer;      // where that is defined
    loop_state *loop;
};

/* A row's function, bound to self. */
bool call_bind(run *r, const builtin *row, chat_value self, chat_value *out);
/* Calls a row with arguments (named may be NULL). */
bool call_row(run *r, const builtin *row, chat_value self, const chat_list *list, const chat_map *named,
              chat_value *out);
bool call_value(run *r, chat_value function, const chat_list *list, const chat_map *named, chat_value *out);
/* Whether a parameter got an argument. */
bool call_given(const chat_value *arg);
/* An optional argument as a number or text; false: it is of another kind. */
bool call_int(call *c, int i, int64_t otherwise, int64_t *out);
bool call_text(call *c, int i, const chat_string **out); // *out stays where it is left out
bool call_flag(call *c, int i, bool otherwise);

/* The row of a name in a table that ends with a row without one; NULL: none. */
const builtin *builtin_find(const builtin *rows, const chat_string *name);
extern const builtin filter_rows[], filter_list_rows[], test_rows[], global_rows[];
bool filter_call(run *r, const chat_string *name, chat_value self, const chat_list *list,
                 const chat_map *named, chat_value *out);
bool test_call(run *r, const chat_string *name, chat_value self, const chat_list *list,
               const chat_map *named, bool *out);
/* The method of a value's kind; NULL: none. unsafe: one that would change it. */
const builtin *method_find(const chat_value *v, const chat_string *name, bool *unsafe);

bool loop_run(run *r, const node *n, const chat_list *items, uint32_t depth, scope *s, flow *out);
bool loop_attribute(run *r, const chat_value *loop, const chat_string *name, chat_value *out);

/* ---- what values can do (object.c, operate.c) ---- */

const char *value_kind_name(const chat_value *v); // as Python names it
bool value_truth(const chat_value *v);
bool value_attribute(run *r, const chat_value *v, const chat_string *name, chat_value *out);
bool value_own_attribute(run *r, const chat_value *v, const chat_string *name, chat_value *out); // no items
bool value_item(run *r, const chat_value *v, const chat_value *key, chat_value *out);
/* from, to, step: none where left out */
bool value_slice(run *r, const chat_value *v, const chat_value *from, const chat_value *to,
                 const chat_value *step, chat_value *out);
/* What a loop over the value goes through. */
bool value_items(run *r, const chat_value *v, const chat_list **out);
bool value_length(run *r, const chat_value *v, int64_t *out);
bool value_operate(run *r, uint16_t op, const chat_value *a, const chat_value *b, chat_value *out);
bool value_compare(run *r, uint16_t op, const chat_value *a, const chat_value *b, bool *out);
/* Negative, 0, positive; fails where Python cannot order them. */
bool value_order(run *r, const chat_value *a, const chat_value *b, int *out);
bool value_contains(run *r, const chat_value *whole, const chat_value *part, bool *out);

/* ---- texts (print.c, strings.c, format.c) ---- */

/* A value as Python's str, and as its repr. */
bool value_print(run *r, const chat_value *v, chat_text *out);
bool value_repr(run *r, const chat_value *v, chat_text *out);
bool value_string(run *r, const chat_value *v, const chat_string **out);

/* Whether a string is this text, which is not empty. */
static inline bool string_is(const chat_string *s, const char *text) {
    return s->n && *s->text == *text && s->n == strlen(text) && !memcmp(s->text, text, s->n);
}
size_t string_next(const chat_string *s, size_t at); // the byte behind the character at `at`
bool string_is_blank(const chat_string *s, size_t at);
bool string_length(run *r, const chat_string *s, int64_t *out); // characters
/* Bytes in front of character i, at most all. */
bool string_offset(run *r, const chat_string *s, int64_t i, size_t *out);
/* The first place of `part` at or behind `from`; SIZE_MAX: none. Charges for the search. */
bool string_find(run *r, const chat_string *s, const chat_string *part, size_t from, size_t *out);
bool string_starts(const chat_string *s, size_t at, const chat_string *part);
/* Without the blanks, or the characters of `set`, at its ends: 1 left, 2 right, 3 both. */
bool string_strip(run *r, const chat_string *s, const chat_string *set, int sides, chat_value *out);
bool string_replace(run *r, const chat_string *s, const chat_string *old, const chat_string *by,
                    int64_t count, chat_value *out);
typedef enum string_case {
    CASE_UPPER,
    CASE_LOWER,
    CASE_TITLE,
    CASE_CAPITAL,
    CASE_SWAP,
    CASE_WORDS
} string_case;
bool string_case_of(run *r, const chat_string *s, string_case to, chat_value *out);
bool string_is_letter(uint32_t c);
uint32_t string_upper(uint32_t c);
uint32_t string_lower(uint32_t c);
/* n blanks (or other bytes) to a text. */
bool text_fill(chat_text *t, const char *fill, int64_t n, chat_origin origin);

/* Python's "%" and str.format. */
bool format_percent(run *r, const chat_string *format, const chat_value *args, chat_value *out);
bool format_braces(run *r, const chat_string *format, const chat_list *list, const chat_map *named,
                   chat_value *out);
/* A time as strftime writes it. */
bool format_time(run *r, const chat_string *format, chat_value *out);

#endif
