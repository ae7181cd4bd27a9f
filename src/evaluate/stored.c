/* Stored logits. */
#include "evaluate/stored.h"

#include "base/cursor.h"
#include "base/error.h"
#include "base/half.h"
#include "base/xxhash.h"
#include "evaluate/figures.h"

#include <float.h>
#include <math.h>
#include <string.h>

static const char magic[8] = "NUTLOG02";

/* ---- the header ---- */

/* FNV-1a, from h on. */
static uint64_t hash_bytes(uint64_t h, const void *bytes, size_t n) {
    for (size_t i = 0; i < n; i++) h = (h ^ ((const uint8_t *)bytes)[i]) * 0x100000001b3u;
    return h;
}

static void put(uint8_t *out, uint64_t v, size_t n) {
    for (size_t i = 0; i < n; i++) out[i] = (uint8_t)(v >> 8 * i);
}

static const uint64_t fnv_start = 0xcbf29ce484222325u;

static uint64_t hash_ids(const windows *w, size_t n_windows) {
    uint64_t h = fnv_start;
    for (size_t i = 0; i < n_windows * w->window; i++) {
        uint8_t id[4];
        put(id, (uint32_t)w->ids[i], sizeof id);
        h = hash_bytes(h, id, sizeof id);
    }
    return h;
}

/* Of all tokens' texts, each behind its length. */
static uint64_t hash_vocab(const vocab *v) {
    uint64_t h = fnv_start;
    for (uint32_t i = 0; i < vocab_size(v); i++) {
        const gguf_str s = vocab_text(v, (int32_t)i);
        uint8_t n[4];
        put(n, s.n, sizeof n);
        h = hash_bytes(hash_bytes(h, n, sizeof n), s.s, (size_t)s.n);
    }
    return h;
}

void stored_header(stored_form form, const windows *w, uint32_t first, const vocab *v,
                   uint8_t out[STORED_HEADER]) {
    memcpy(out, magic, sizeof magic);
    put(out + 8, vocab_size(v), 4);
    put(out + 12, w->window, 4);
    put(out + 16, w->n, 4);
    put(out + 20, form, 4);
    put(out + 24, hash_ids(w, w->n), 8);
    put(out + 32, hash_vocab(v), 8);
    put(out + 40, first == w->window / 2 ? 0 : first + 1, 4);
    put(out + 44, xxhash32(out, 44), 4);
}

static nut_status refuse(const char *why, nut_error *err) {
    return error_set(err, NUT_E_ARGUMENT, "the stored logits %s; store them again for this text", why);
}

nut_status stored_check(const uint8_t header[STORED_HEADER], uint64_t n_bytes, windows *w, const vocab *v,
                        stored_form *form, uint32_t *first, nut_error *err) {
    cursor c = {.bytes = header, .n = STORED_HEADER};
    const uint8_t *mark = cursor_take(&c, sizeof magic);
    if (memcmp(mark, magic, 6) != 0) return refuse("are none", err);
    if (memcmp(mark, magic, sizeof magic) != 0) return refuse("are of another version", err);
    const uint32_t n_tokens = cursor_u32(&c), window = cursor_u32(&c), n = cursor_u32(&c),
                   kind = cursor_u32(&c);
    const uint64_t ids = cursor_u64(&c), tokens = cursor_u64(&c);
    const uint32_t begin = cursor_u32(&c);
    if (cursor_u32(&c) != xxhash32(header, 44) || kind > STORED_SHORT || begin >= window)
        return refuse("are damaged", err);
    if (n_tokens != vocab_size(v) || tokens != hash_vocab(v))
        return refuse("are of a model with another vocabulary", err);
    if (window != w->window || n == 0 || n > w->n || ids != hash_ids(w, n))
        return refuse("are of another text, or of other windows", err);
    *first = begin ? begin - 1 : window / 2;
    const uint64_t rows = (uint64_t)n * (window - 1 - *first);
    if (n_bytes != STORED_HEADER + rows * stored_row_bytes((stored_form)kind, n_tokens))
        return refuse("are cut off", err);
    *form = (stored_form)kind;
    windows_whole(w, n);
    return NUT_OK;
}

/* ---- rows ---- */

static size_t n_top(size_t n) {
    return n < STORED_TOP ? n : STORED_TOP;
}

static size_t payload(stored_form form, size_t n) {
    return form == STORED_WHOLE ? 2 * n : n_top(n) * 6 + 4;
}

size_t stored_row_bytes(stored_form form, size_t n) {
    return payload(form, n) + 4;
}

static void put_half(uint8_t *out, float x) {
    put(out, half_f32_to_f16(x), 2);
}

static float half_at(const uint8_t *bytes) {
    const float x = half_f16_to_f32((uint16_t)(bytes[0] | bytes[1] << 8));
    return x < -65504 ? -65504 : x; // beyond what a half holds
}

static void put_whole(const float *logits, size_t n, uint8_t *out) {
    float most = logits[0];
    for (size_t i = 1; i < n; i++) most = logits[i] > most ? logits[i] : most;
    for (size_t i = 0; i < n; i++) put_half(out + 2 * i, logits[i] - most);
}

static bool get_whole(const uint8_t *bytes, size_t n, float *out) {
    size_t wrong = 0, zeros = 0;
    for (size_t i = 0; i < n; i++) {
        out[i] = half_at(bytes + 2 * i);
        wrong += !(out[i] <= 0);
        zeros += out[i] >= 0;
    }
    return !wrong && zeros;
}

/* The ids of the largest of n logits, in falling order; of equal ones the first. */
static void find_top(const float *logits, size_t n, uint32_t *top) {
    const size_t most = n_top(n);
    for (size_t i = 0, count = 0; i < n; i++) {
        if (count == most && !(logits[i] > logits[top[count - 1]])) continue;
        size_t at = count < most ? count++ : count - 1;
        for (; at > 0 && logits[i] > logits[top[at - 1]]; at--) top[at] = top[at - 1];
        top[at] = (uint32_t)i;
    }
}

/* log of the sum of e^(logits - shift) over the tokens that are not marked, and of 0 a number below all. */
static double log_of_rest(const float *logits, size_t n, double shift, const uint32_t *top,
                          size_t n_marked) {
    double all = 0;
    for (size_t i = 0; i < n; i++) all += exp((double)logits[i] - shift);
    for (size_t k = 0; k < n_marked; k++) all -= exp((double)logits[top[k]] - shift);
    return all > 1e-30 ? log(all) : -FLT_MAX;
}

static void put_short(const float *logits, size_t n, uint8_t *out) {
    const size_t k = n_top(n);
    const figures_row r = figures_of_row(logits, n);
    uint32_t top[STORED_TOP], bits;
    find_top(logits, n, top);
    for (size_t i = 0; i < k; i++) {
        put(out + 4 * i, top[i], 4);
        put_half(out + 4 * k + 2 * i, (float)figures_log_p(&r, top[i]));
    }
    const float rest = (float)log_of_rest(logits, n, r.log_sum, top, k);
    memcpy(&bits, &rest, sizeof bits);
    put(out + 6 * k, bits, 4);
}

/* Tokens that are there twice would be one of the rest, too: their ids must differ, which falling
 * probabilities do not say. */
static bool get_top(const uint8_t *bytes, size_t n, uint32_t *top, float *log_p) {
    const size_t k = n_top(n);
    cursor c = {.bytes = bytes, .n = 4 * k};
    for (size_t i = 0; i < k; i++) {
        top[i] = cursor_u32(&c);
        log_p[i] = half_at(bytes + 4 * k + 2 * i);
        if (top[i] >= n || !(log_p[i] <= 0)) return false;
        for (size_t j = 0; j < i; j++)
            if (top[j] == top[i]) return false;
    }
    return true;
}

static bool get_short(const uint8_t *bytes, size_t n, const float *model, float *out) {
    const size_t k = n_top(n);
    uint32_t top[STORED_TOP];
    float log_p[STORED_TOP];
    cursor c = {.bytes = bytes + 6 * k, .n = 4};
    const float rest = cursor_f32(&c);
    if (!get_top(bytes, n, top, log_p) || !(rest <= 1e-3f)) return false;
    const figures_row r = figures_of_row(model, n);
    const double own = log_of_rest(model, n, r.log_sum, top, k);
    const float shift = own > -FLT_MAX && rest > -FLT_MAX ? (float)((double)rest - own - r.log_sum) : -1e9f;
    for (size_t i = 0; i < n; i++) out[i] = model[i] + shift;
    for (size_t i = 0; i < k; i++) out[top[i]] = log_p[i];
    const float below = nextafterf(log_p[0], -FLT_MAX);
    for (size_t i = 0; i < n; i++) // the first stays the likeliest, where halves are equal and in the rest
        if (i != top[0] && out[i] > below) out[i] = below;
    return true;
}

void stored_put(stored_form form, const float *logits, size_t n, uint8_t *out) {
    const size_t bytes = payload(form, n);
    (form == STORED_WHOLE ? put_whole : put_short)(logits, n, out);
    put(out + bytes, xxhash32(out, bytes), 4);
}

bool stored_get(stored_form form, const uint8_t *bytes, size_t n, const float *model, float *out) {
    const size_t n_bytes = payload(form, n);
    cursor c = {.bytes = bytes + n_bytes, .n = 4};
    if (cursor_u32(&c) != xxhash32(bytes, n_bytes)) return false;
    return form == STORED_WHOLE ? get_whole(bytes, n, out) : get_short(bytes, n, model, out);
}
