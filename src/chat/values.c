/* Lists, maps in the order of their keys, and equality. */
#include "chat/value.h"

#include <string.h>

enum { SMALL_MAP = 8 }; // entries that are looked through without a hash table

/* Room for one more of n items of `size` bytes. */
static bool grow(chat_heap *h, void **items, uint32_t n, uint32_t *cap, size_t size) {
    if (n < *cap) return true;
    const uint32_t more = *cap < 4 ? 4 : 2 * *cap;
    if (more > CHAT_MAX_MEMORY / 16) return chat_fail(h, NUT_E_CHAT, "stopped at a list that is too long");
    void *moved = chat_alloc(h, more * size);
    if (!moved || !chat_spend(h, 1 + n / 16)) return false;
    if (n) memcpy(moved, *items, n * size);
    *items = moved;
    *cap = more;
    return true;
}

bool chat_list_new(chat_heap *h, chat_form form, size_t room, chat_value *out) {
    chat_list *list = chat_alloc(h, sizeof *list);
    if (!list || !chat_spend(h, 1 + room / 16)) return false;
    if (room) {
        list->items = chat_alloc(h, room * sizeof *list->items);
        if (!list->items) return false;
    }
    list->cap = (uint32_t)room;
    list->form = (uint8_t)form;
    *out = (chat_value){.kind = CHAT_LIST, .list = list};
    return true;
}

bool chat_list_add(chat_heap *h, chat_value *list, chat_value item) {
    chat_list *l = list->list;
    void *items = l->items;
    if (!grow(h, &items, l->n, &l->cap, sizeof item)) return false;
    l->items = items;
    l->items[l->n++] = item;
    return true;
}

/* ---- equality ---- */

static bool is_number(const chat_value *v) {
    return v->kind == CHAT_BOOL || v->kind == CHAT_INT || v->kind == CHAT_FLOAT;
}

static int64_t integer(const chat_value *v) {
    return v->kind == CHAT_BOOL ? v->b : v->i;
}

static bool equal_numbers(const chat_value *a, const chat_value *b) {
    if (a->kind != CHAT_FLOAT && b->kind != CHAT_FLOAT) return integer(a) == integer(b);
    const double x = a->kind == CHAT_FLOAT ? a->f : (double)integer(a);
    return x == (b->kind == CHAT_FLOAT ? b->f : (double)integer(b));
}

static bool equal_strings(chat_heap *h, const chat_string *a, const chat_string *b) {
    return a->n == b->n && chat_spend_bytes(h, a->n) && (a->n == 0 || !memcmp(a->text, b->text, a->n));
}

static bool equal_lists(chat_heap *h, const chat_list *a, const chat_list *b) {
    if (a == b) return true;
    if (a->form != b->form || a->n != b->n || a->form == CHAT_FORM_ITERATOR) return false;
    if (!chat_enter(h)) return false;
    for (uint32_t i = 0; i < a->n; i++)
        if (!chat_spend(h, 1) || !chat_equal(h, &a->items[i], &b->items[i])) return chat_leave(h), false;
    chat_leave(h);
    return true;
}

static bool equal_maps(chat_heap *h, const chat_map *a, const chat_map *b) {
    if (a == b) return true;
    if (a->n != b->n || a->is_namespace || b->is_namespace || !chat_enter(h)) return false;
    for (uint32_t i = 0; i < a->n; i++) {
        const chat_value *other = chat_map_get(h, b, a->entries[i].key);
        if (!other || !chat_equal(h, &a->entries[i].value, other)) return chat_leave(h), false;
    }
    chat_leave(h);
    return true;
}

bool chat_equal(chat_heap *h, const chat_value *a, const chat_value *b) {
    if (is_number(a) && is_number(b)) return equal_numbers(a, b);
    if (a->kind != b->kind) return false;
    switch ((chat_kind)a->kind) {
    case CHAT_STRING: return equal_strings(h, a->s, b->s);
    case CHAT_LIST: return equal_lists(h, a->list, b->list);
    case CHAT_MAP: return equal_maps(h, a->map, b->map);
    case CHAT_FUNCTION: return a->function == b->function;
    default: return true;
    }
}

/* ---- maps ---- */

static uint64_t word_at(const char *s) {
    uint64_t word;
    memcpy(&word, s, sizeof word);
    return word;
}

/* All of a text of fewer than 8 bytes. */
static uint64_t short_word(const char *s, size_t n) {
    uint32_t first, last;
    if (n == 0) return 0;
    if (n < 4) return (uint8_t)s[0] | (uint32_t)(uint8_t)s[n / 2] << 8 | (uint32_t)(uint8_t)s[n - 1] << 16;
    memcpy(&first, s, 4);
    memcpy(&last, s + n - 4, 4);
    return first | (uint64_t)last << 32;
}

static uint64_t mix(uint64_t hash, uint64_t word) {
    hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
    return hash ^ hash >> 32;
}

/* Eight bytes at a time; the last ones may be read twice. */
static uint32_t hash_bytes(const char *s, size_t n) {
    uint64_t hash = n;
    if (n < 8) return (uint32_t)mix(hash, short_word(s, n));
    for (size_t i = 0; i + 8 < n; i += 8) hash = mix(hash, word_at(s + i));
    return (uint32_t)mix(hash, word_at(s + n - 8));
}

static uint32_t hash_number(const chat_value *v) {
    const double f = v->kind == CHAT_FLOAT ? v->f : (double)integer(v);
    uint64_t bits;
    memcpy(&bits, &f, sizeof bits);
    bits = f == 0 ? 0 : bits * 0x9e3779b97f4a7c15u;
    return (uint32_t)(bits >> 32);
}

static const char *const kind_names[CHAT_KINDS] = {"Undefined", "NoneType", "bool", "int",     "float",
                                                   "str",       "list",     "dict", "function"};

/* Equal keys have equal hashes. */
bool chat_hash(chat_heap *h, const chat_value *key, uint32_t *hash) {
    if (is_number(key)) return *hash = hash_number(key), true;
    if (key->kind == CHAT_STRING && key->hash) return *hash = key->hash, h->status == NUT_OK;
    if (key->kind == CHAT_STRING)
        return *hash = hash_bytes(key->s->text, key->s->n), chat_spend_bytes(h, key->s->n);
    if (key->kind == CHAT_NONE || key->kind == CHAT_UNDEFINED) return *hash = key->kind, true;
    if (key->kind == CHAT_LIST && key->list->form == CHAT_FORM_TUPLE) {
        if (!chat_enter(h)) return false;
        uint32_t all = 7, one;
        for (uint32_t i = 0; i < key->list->n; i++) {
            if (!chat_spend(h, 1) || !chat_hash(h, &key->list->items[i], &one)) return false;
            all = all * 31 + one;
        }
        chat_leave(h);
        return *hash = all, true;
    }
    return chat_fail(h, NUT_E_CHAT, "unhashable type: '%s'", kind_names[key->kind]);
}

void chat_know_hash(chat_value *v) {
    if (v->kind == CHAT_STRING) v->hash = hash_bytes(v->s->text, v->s->n);
}

bool chat_map_new(chat_heap *h, chat_value *out) {
    chat_map *map = chat_alloc(h, sizeof *map);
    *out = (chat_value){.kind = CHAT_MAP, .map = map};
    return map != NULL;
}

/* The entry of a key, or NULL. */
static chat_entry *find_entry(chat_heap *h, const chat_map *m, const chat_value *key, uint32_t hash) {
    const uint32_t mask = 2 * m->cap - 1;
    if (!m->slots) {
        for (uint32_t i = 0; i < m->n; i++)
            if (m->entries[i].hash == hash && chat_equal(h, &m->entries[i].key, key)) return &m->entries[i];
        return NULL;
    }
    for (uint32_t at = hash & mask; m->slots[at]; at = (at + 1) & mask) {
        chat_entry *e = &m->entries[m->slots[at] - 1];
        if (e->hash == hash && chat_equal(h, &e->key, key)) return e;
        if (!chat_spend(h, 1)) return NULL;
    }
    return NULL;
}

static void put_slot(chat_map *m, uint32_t i) {
    const uint32_t mask = 2 * m->cap - 1;
    uint32_t at = m->entries[i].hash & mask;
    while (m->slots[at]) at = (at + 1) & mask;
    m->slots[at] = i + 1;
}

/* Room for one more; capacities are powers of two. */
static bool grow_map(chat_heap *h, chat_map *m) {
    void *entries = m->entries;
    const uint32_t before = m->cap;
    if (!grow(h, &entries, m->n, &m->cap, sizeof *m->entries)) return false;
    m->entries = entries;
    if (m->cap == before || m->cap <= SMALL_MAP) return true;
    m->slots = chat_alloc(h, 2 * (size_t)m->cap * sizeof *m->slots);
    for (uint32_t i = 0; m->slots && i < m->n; i++) put_slot(m, i);
    return m->slots != NULL;
}

bool chat_map_set(chat_heap *h, chat_value *map, chat_value key, chat_value value) {
    chat_map *m = map->map;
    uint32_t hash = 0;
    if (!chat_hash(h, &key, &hash)) return false;
    chat_entry *e = find_entry(h, m, &key, hash);
    if (h->status != NUT_OK) return false;
    if (e) return e->value = value, true;
    if (!grow_map(h, m)) return false;
    m->entries[m->n++] = (chat_entry){key, value, hash};
    if (m->slots) put_slot(m, m->n - 1);
    return true;
}

const chat_value *chat_map_get(chat_heap *h, const chat_map *m, chat_value key) {
    uint32_t hash = 0;
    return chat_hash(h, &key, &hash) ? chat_map_get_hashed(h, m, &key, hash) : NULL;
}

const chat_value *chat_map_get_hashed(chat_heap *h, const chat_map *m, const chat_value *key,
                                      uint32_t hash) {
    const chat_entry *e = find_entry(h, m, key, hash);
    return e ? &e->value : NULL;
}

void chat_map_cut(chat_map *m, uint32_t n) {
    if (m->n > n) m->n = n;
}

const chat_value *chat_map_find(chat_heap *h, const chat_map *m, const char *key) {
    const chat_string s = {key, NULL, (uint32_t)strlen(key), CHAT_TEMPLATE};
    return chat_map_get(h, m, (chat_value){.kind = CHAT_STRING, .s = &s});
}
