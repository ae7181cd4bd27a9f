/*
 * RWKV's tokenizer ("World", rwkv_vocab_v20230424): a text is cut into the longest tokens that it begins
 * with, one after another. Tokens are any bytes; in the file they are written as in Python, with "\n" and
 * "\xff". All single bytes are tokens there; in other vocabularies a byte that none begins with is the
 * unknown token.
 */
#include "model/tokenizer.h"

#include "base/error.h"
#include "base/mem.h"

/* ---- preparation ---- */

static unsigned hex_value(char c) {
    return (unsigned)(c >= 'a' ? c - 'a' + 10 : c >= 'A' ? c - 'A' + 10 : c - '0') & 15;
}

/* Writes what an escaped text stands for, which is no longer than it is; its length. */
static uint32_t unescape(char *to, token_text p) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < p.n; i++) {
        if (p.s[i] != '\\' || i + 1 == p.n) {
            to[n++] = p.s[i];
            continue;
        }
        const char c = p.s[++i];
        const bool hex = c == 'x' && p.n - i > 2;
        to[n++] = hex        ? (char)(hex_value(p.s[i + 1]) << 4 | hex_value(p.s[i + 2]))
                  : c == 'n' ? '\n'
                  : c == 't' ? '\t'
                  : c == 'r' ? '\r'
                             : c;
        i += hex ? 2 : 0;
    }
    return n;
}

/* The table's texts become bytes; looking them up by their escaped form is over. */
static nut_status unescape_texts(token_table *t, nut_error *err) {
    size_t n = 0;
    for (uint32_t i = 0; i < t->n; i++) n += t->texts[i].n;
    char *to = t->own = mem_alloc(n);
    if (!to) return error_memory(err, n);
    for (uint32_t i = 0; i < t->n; i++) {
        const uint32_t length = unescape(to, t->texts[i]);
        t->texts[i] = (token_text){to, length};
        to += length;
    }
    return NUT_OK;
}

static bool is_normal(const void *ctx, uint32_t id) {
    return ((const vocab *)ctx)->types[id] == VOCAB_NORMAL;
}

static nut_status rwkv_prepare(vocab *v, const gguf *g, nut_error *err) {
    (void)g;
    TRY(unescape_texts(&v->tokens, err));
    return trie_build(&v->trie, &v->tokens, is_normal, v, err);
}

/* ---- words ---- */

static bool rwkv_tokenize(const vocab *v, scratch *s, const char *text, size_t n, ids_out *out) {
    (void)s;
    for (size_t at = 0, end; at < n; at = end) {
        int32_t id = v->unk;
        uint32_t node = 0;
        end = at + 1;
        for (size_t i = at; i < n; i++) {
            node = trie_step(&v->trie, node, (uint8_t)text[i]);
            if (!node) break;
            if (v->trie.ids[node] >= 0) id = v->trie.ids[node], end = i + 1;
        }
        if (id != VOCAB_NONE) ids_put(out, id);
    }
    return true;
}

static void rwkv_text(const vocab *v, int32_t id, text_out *out) {
    text_put_all(out, v->tokens.texts[id].s, v->tokens.texts[id].n);
}

const tokenizer tokenizer_rwkv = {"rwkv", rwkv_prepare, rwkv_tokenize, rwkv_text};
