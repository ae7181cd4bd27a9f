/* Stored logits. */
#include "evaluate/stored.h"

#include "base/cursor.h"
#include "base/error.h"
#include "base/half.h"

#include <string.h>

static const char magic[8] = "NUTLOG01";

static uint64_t hash_ids(const windows *w, size_t n_windows) {
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n_windows * w->window; i++)
        for (int k = 0; k < 4; k++) h = (h ^ ((uint32_t)w->ids[i] >> 8 * k & 255)) * 0x100000001b3u;
    return h;
}

static void put(uint8_t *out, uint64_t v, size_t n) {
    for (size_t i = 0; i < n; i++) out[i] = (uint8_t)(v >> 8 * i);
}

void stored_header(const windows *w, uint32_t n_vocab, uint8_t out[STORED_HEADER]) {
    memcpy(out, magic, sizeof magic);
    put(out + 8, n_vocab, 4);
    put(out + 12, w->window, 4);
    put(out + 16, w->n, 4);
    put(out + 20, 0, 4);
    put(out + 24, hash_ids(w, w->n), 8);
}

static nut_status refuse(const char *why, nut_error *err) {
    return error_set(err, NUT_E_ARGUMENT, "the stored logits %s; store them again for this text", why);
}

nut_status stored_check(const uint8_t header[STORED_HEADER], uint64_t n_bytes, windows *w, uint32_t n_vocab,
                        nut_error *err) {
    cursor c = {.bytes = header, .n = STORED_HEADER};
    if (memcmp(cursor_take(&c, sizeof magic), magic, sizeof magic) != 0) return refuse("are none", err);
    const uint32_t n_tokens = cursor_u32(&c), window = cursor_u32(&c), n = cursor_u32(&c);
    (void)cursor_u32(&c);
    const uint64_t hash = cursor_u64(&c);
    if (n_tokens != n_vocab) return refuse("are of a model with another vocabulary", err);
    if (window != w->window || n == 0 || n > w->n || hash != hash_ids(w, n))
        return refuse("are of another text, or of other windows", err);
    const uint64_t rows = (uint64_t)n * (window - 1 - window / 2);
    if (n_bytes != STORED_HEADER + rows * n_vocab * 2) return refuse("are cut off", err);
    windows_whole(w, n);
    return NUT_OK;
}

void stored_put(const float *logits, size_t n, uint8_t *out) {
    float most = logits[0];
    for (size_t i = 1; i < n; i++) most = logits[i] > most ? logits[i] : most;
    for (size_t i = 0; i < n; i++) put(out + 2 * i, half_f32_to_f16(logits[i] - most), 2);
}

bool stored_get(const uint8_t *bytes, size_t n, float *out) {
    size_t wrong = 0, zeros = 0;
    for (size_t i = 0; i < n; i++) {
        out[i] = half_f16_to_f32((uint16_t)(bytes[2 * i] | bytes[2 * i + 1] << 8));
        if (out[i] < -65504) out[i] = -65504; // beyond what a half holds
        wrong += !(out[i] <= 0);
        zeros += out[i] >= 0;
    }
    return !wrong && zeros;
}
