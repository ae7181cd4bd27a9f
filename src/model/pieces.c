/* Bytes, scores and space marks of SentencePiece's vocabularies. */
#include "model/pieces.h"

#include "base/cursor.h"

/* The token "<0x0A>", or the one whose text is the byte itself. */
static int32_t find_byte(const vocab *v, unsigned byte) {
    static const char digits[] = "0123456789ABCDEF";
    const char name[] = {'<', '0', 'x', digits[byte >> 4], digits[byte & 15], '>'}, raw = (char)byte;
    int32_t id = token_table_find(&v->tokens, name, sizeof name);
    return id != VOCAB_NONE ? id : token_table_find(&v->tokens, &raw, 1);
}

static void note_inner_spaces(vocab *v, token_text p) {
    for (uint32_t at = 1; at < p.n; at++)
        if (space_mark_begins(p.s + at, p.n - at) && !space_mark_ends(p.s, at))
            v->before_space[(uint8_t)p.s[at - 1]] = true;
}

void pieces_prepare(vocab *v) {
    for (unsigned b = 0; b < 256; b++) v->byte_ids[b] = find_byte(v, b);
    for (uint32_t i = 0; i < v->tokens.n; i++) note_inner_spaces(v, v->tokens.texts[i]);
}

nut_status pieces_scores(vocab *v, const gguf *g, void (*take)(vocab *v, uint32_t id, float score),
                         nut_error *err) {
    const gguf_kv *kv = gguf_find(g, "tokenizer.ggml.scores");
    bool floats = kv && kv->type == GGUF_ARRAY && kv->elem == GGUF_F32;
    if (!floats || kv->n < v->tokens.n)
        return vocab_invalid(err, "its scores are not one float for each token");
    cursor c = {.bytes = kv->value, .n = (size_t)kv->n_bytes};
    for (uint32_t i = 0; i < v->tokens.n; i++) take(v, i, cursor_f32(&c));
    return NUT_OK;
}

bool pieces_put_bytes(const vocab *v, const char *s, size_t n, ids_out *out) {
    for (size_t i = 0; i < n; i++)
        if (v->byte_ids[(uint8_t)s[i]] == VOCAB_NONE) return false;
    for (size_t i = 0; i < n; i++) ids_put(out, v->byte_ids[(uint8_t)s[i]]);
    return true;
}

static int hex_digit(char c) { // -1: none
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte of a text like "<0x0A>"; -1: another text. */
static int byte_of(token_text p) {
    if (p.n != 6 || memcmp(p.s, "<0x", 3) != 0 || p.s[5] != '>') return -1;
    int high = hex_digit(p.s[3]), low = hex_digit(p.s[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

void pieces_text(const vocab *v, int32_t id, text_out *out) {
    token_text p = v->tokens.texts[id];
    int byte = vocab_type_of(v, id) == VOCAB_BYTE ? byte_of(p) : -1;
    if (byte >= 0) {
        text_put(out, (char)byte);
        return;
    }
    for (uint32_t i = 0; i < p.n;) {
        bool mark = space_mark_begins(p.s + i, p.n - i);
        text_put(out, mark ? ' ' : p.s[i]);
        i += mark ? 3 : 1;
    }
}
