/*
 * Values of chat templates and of JSON, and the memory that they live in.
 *
 * Every value lives in a heap: an arena with limits on memory and work, freed as a whole. A function that
 * can fail returns false (or NULL where it returns an address) and has then told the heap why, with
 * chat_fail: the first failure counts. Values never change once they are made, but for namespaces (maps that
 * templates may assign to), so parts of them are shared freely.
 *
 * A text knows of each byte whether the template wrote it or whether it came from data: messages, tools and
 * all else that a caller gives. Functions that make texts from texts carry this along.
 */
#ifndef NUT_CHAT_VALUE_H
#define NUT_CHAT_VALUE_H

#include "nutshell.h"

enum {
    CHAT_MAX_MEMORY = 96 << 20,  // bytes of one heap
    CHAT_MAX_TEXT = 8 << 20,     // bytes of one text
    CHAT_MAX_STEPS = 10000000,   // pieces of work, of some hundred nanoseconds each
    CHAT_MAX_DEPTH = 400,        // values, expressions and blocks inside of each other
    CHAT_MAX_TEMPLATE = 250000,  // bytes of a template; the largest that is known has 17,000
    CHAT_BYTES_A_STEP = 1 << 10, // bytes that are read or copied in a step
};

typedef struct chat_heap {
    void *chunks; // the newest; each begins with the address of the one before
    uint8_t *next;
    size_t left; // bytes at `next`
    size_t used; // bytes taken of the allocator
    uint64_t steps;
    unsigned depth;
    nut_status status; // of the first failure
    nut_error *err;    // where that is told, or NULL
} chat_heap;

/* A heap without memory; err receives the first failure and may be NULL. */
void chat_heap_open(chat_heap *h, nut_error *err);
void chat_heap_close(chat_heap *h);

#if defined(__GNUC__)
#define CHAT_PRINTF __attribute__((format(printf, 3, 4)))
#else
#define CHAT_PRINTF
#endif
/* Notes a failure, if it is the first; false. */
bool chat_fail(chat_heap *h, nut_status status, const char *format, ...) CHAT_PRINTF;

/* n bytes, aligned to 8, cleared; NULL: failed. */
void *chat_alloc(chat_heap *h, size_t n);
/* Charges for `steps` of work, and for reading n bytes. */
bool chat_fail_spent(chat_heap *h); // false; says that the limit of work is met, where nothing failed before
static inline bool chat_spend(chat_heap *h, uint64_t steps) {
    if (h->status != NUT_OK) return false;
    h->steps += steps;
    return h->steps <= CHAT_MAX_STEPS || chat_fail_spent(h);
}
static inline bool chat_spend_bytes(chat_heap *h, size_t n) {
    return chat_spend(h, 1 + n / CHAT_BYTES_A_STEP);
}
/* One level deeper; chat_leave is not needed behind a failure. */
bool chat_enter(chat_heap *h);
static inline void chat_leave(chat_heap *h) {
    h->depth--;
}

/* ---- values ---- */

typedef enum chat_kind {
    CHAT_UNDEFINED,
    CHAT_NONE,
    CHAT_BOOL,
    CHAT_INT,
    CHAT_FLOAT,
    CHAT_STRING,
    CHAT_LIST,
    CHAT_MAP,
    CHAT_FUNCTION,
    CHAT_KINDS
} chat_kind;

typedef enum chat_origin {
    CHAT_TEMPLATE, // written by the template
    CHAT_DATA,     // from messages, tools, variables
} chat_origin;

/* n bytes of UTF-8 (or any bytes), not terminated. */
typedef struct chat_string {
    const char *text;
    const uint8_t *marks; // (n) chat_origin of each byte; NULL: all of `origin`
    uint32_t n;
    uint8_t origin;
} chat_string;

typedef enum chat_form { // what Python would call a list
    CHAT_FORM_LIST,
    CHAT_FORM_TUPLE,
    CHAT_FORM_ITERATOR, // can be read once, has no length and no JSON
    CHAT_FORM_RANGE,
    CHAT_FORM_KEYS, // a view of a map
    CHAT_FORM_VALUES,
    CHAT_FORM_ITEMS,
} chat_form;

typedef struct chat_value chat_value;
typedef struct chat_list {
    chat_value *items; // (n) of room for cap
    uint32_t n, cap;
    uint8_t form; // chat_form
    bool over;    // an iterator that was read
} chat_list;

typedef struct chat_map chat_map;
typedef struct chat_function chat_function; // made and called by the interpreter (interpreter.h)

struct chat_value {
    uint8_t kind;   // chat_kind
    uint8_t origin; // of bool, int and float: where the number came from
    uint32_t hash;  // of a string that is looked for often, by chat_know_hash; 0: not known
    union {
        bool b;
        int64_t i;
        double f;
        const chat_string *s;
        chat_list *list;
        chat_map *map;
        const chat_function *function;
        const chat_string *missing; // UNDEFINED: the name of what is not there, or NULL
    };
};

typedef struct chat_entry {
    chat_value key, value;
    uint32_t hash;
} chat_entry;

/* Keys and values in the order in which the keys came. */
struct chat_map {
    chat_entry *entries; // (n) of room for cap
    uint32_t n, cap;
    uint32_t *slots; // (2 * cap) entry + 1, or 0; NULL in small maps
    bool is_namespace;
};

static inline chat_value chat_none(void) {
    return (chat_value){.kind = CHAT_NONE};
}
static inline chat_value chat_undefined(const chat_string *missing) {
    return (chat_value){.kind = CHAT_UNDEFINED, .missing = missing};
}
static inline chat_value chat_bool(bool b) {
    return (chat_value){.kind = CHAT_BOOL, .b = b};
}
static inline chat_value chat_int(int64_t i) {
    return (chat_value){.kind = CHAT_INT, .i = i};
}
static inline chat_value chat_float(double f) {
    return (chat_value){.kind = CHAT_FLOAT, .f = f};
}

/* Fails with "'name' is undefined". */
bool chat_fail_undefined(chat_heap *h, const chat_value *v);

/* ---- texts ---- */

static inline chat_origin chat_origin_at(const chat_string *s, size_t at) {
    return (chat_origin)(s->marks ? s->marks[at] : s->origin);
}
/* A string value over bytes that outlive the heap, or a copy of them; false: failed. */
bool chat_string_of(chat_heap *h, const char *text, size_t n, chat_origin origin, chat_value *out);
bool chat_string_copy(chat_heap *h, const char *text, size_t n, chat_origin origin, chat_value *out);
/* The bytes [from, to) of a string, which are shared, not copied. */
bool chat_slice(chat_heap *h, const chat_string *s, size_t from, size_t to, chat_value *out);
/* Two strings in one. A text that grows so again and again is copied only when its room is full. */
bool chat_concat(chat_heap *h, const chat_string *a, const chat_string *b, chat_value *out);
bool chat_equal_text(const chat_value *v, const char *text); // a string of these bytes

/* A text that is being made. */
typedef struct chat_text {
    chat_heap *heap;
    char *text;
    uint8_t *marks; // (cap); NULL while all bytes are of `origin`
    size_t n, cap;
    uint8_t origin; // of the bytes so far
} chat_text;

bool chat_put(chat_text *t, const char *text, size_t n, chat_origin origin);
bool chat_put_string(chat_text *t, const chat_string *s);
bool chat_put_slice(chat_text *t, const chat_string *s, size_t from, size_t to);
/* What was put so far as a string; the text may grow on behind it. */
bool chat_text_end(chat_text *t, chat_value *out);

/* ---- lists and maps ---- */

bool chat_list_new(chat_heap *h, chat_form form, size_t room, chat_value *out);
bool chat_list_add(chat_heap *h, chat_value *list, chat_value item);

bool chat_map_new(chat_heap *h, chat_value *out);
/* Adds a key, or replaces its value. Keys that Python cannot hash fail. */
bool chat_map_set(chat_heap *h, chat_value *map, chat_value key, chat_value value);
/* The value of a key, or NULL: not there, or the heap failed (its limit of work was met). Strings, numbers,
 * bools and none are equal as in Python (1 == 1.0 == True). */
const chat_value *chat_map_get(chat_heap *h, const chat_map *map, chat_value key);
/* The same for a key whose hash is known, by chat_hash, so that several maps can be asked. */
const chat_value *chat_map_get_hashed(chat_heap *h, const chat_map *map, const chat_value *key,
                                      uint32_t hash);
bool chat_hash(chat_heap *h, const chat_value *key, uint32_t *hash);
/* Keeps the hash of a string in its value. */
void chat_know_hash(chat_value *v);
/* Takes the entries from n on out of a small map, one without slots. */
void chat_map_cut(chat_map *map, uint32_t n);
/* The value of a key that is a terminated string. */
const chat_value *chat_map_find(chat_heap *h, const chat_map *map, const char *key);

/* Whether two values are equal, as Python has it. False too where the heap failed. */
bool chat_equal(chat_heap *h, const chat_value *a, const chat_value *b);

#endif
