/*
 * Sampling with any options from any logits, and the text that comes out: options outside of their ranges
 * are refused, a token of the vocabulary is sampled where the logits allow one, text is whole UTF-8
 * characters without a stop text in them, whatever tokens are hidden.
 */
#include "fuzz.h"

#include "model/unicode.h"
#include "run/sampler.h"
#include "run/stream.h"

#include <math.h>

enum { MOST_TOKENS = 300, CAP = 2 * STREAM_MAX_STOP + 64, MOST_TEXT = 1 << 16 };

/* ---- options ---- */

/* A float from two numbers: tame, or any bits at all. */
static float any_float(fuzz_input *in) {
    static const uint32_t odd[] = {0x7fc00000, 0x7f800000, 0xff800000, 0x00000001, 0x7f7fffff, 0x80000000};
    const uint8_t kind = fuzz_u8(in), value = fuzz_u8(in);
    uint32_t bits = kind < 6 ? odd[kind] : (uint32_t)value << 24 | (uint32_t)kind << 16 | value;
    float f = (float)((int)value - 100) / 100.0f;
    if (kind < 32) memcpy(&f, &bits, sizeof f);
    return f;
}

static void read_options(fuzz_input *in, nut_generate_options *o) {
    float *const floats[] = {&o->temperature,      &o->top_p,          &o->min_p,
                             &o->typical_p,        &o->repeat_penalty, &o->presence_penalty,
                             &o->frequency_penalty};
    const uint8_t which = fuzz_u8(in);
    for (size_t i = 0; i < 7; i++)
        if (which >> i & 1) *floats[i] = any_float(in);
    o->top_k = fuzz_u8(in);
    o->repeat_last_n = fuzz_u8(in);
    o->seed = fuzz_u16(in);
}

static bool in_range(float x, float least, float most) {
    return x >= least && x <= most;
}

static bool are_right(const nut_generate_options *o) {
    return in_range(o->temperature, 0, 100) && in_range(o->top_p, 0, 1) && in_range(o->min_p, 0, 1) &&
           in_range(o->typical_p, 0, 1) && in_range(o->repeat_penalty, 0.01f, 100) &&
           in_range(o->presence_penalty, -100, 100) && in_range(o->frequency_penalty, -100, 100);
}

/* ---- sampling ---- */

/* Whether the k-th best of the logits, and so no token that is worse, can have been sampled. */
static bool is_among(const float *logits, size_t n, size_t k, int32_t id) {
    size_t better = 0;
    for (size_t i = 0; i < n; i++)
        better += logits[i] > logits[id] || (logits[i] == logits[id] && (int32_t)i < id);
    return better < k;
}

static void sample(sampler *s, fuzz_input *in) {
    float *logits = malloc(s->n_vocab * sizeof *logits), best = -INFINITY;
    int32_t recent[16];
    nut_error err;
    bool numbers = true;
    for (size_t i = 0; i < 16; i++) recent[i] = (int32_t)(fuzz_u8(in) % s->n_vocab);
    for (uint32_t i = 0; i < s->n_vocab; i++) {
        logits[i] = any_float(in) * 20;
        numbers = numbers && logits[i] == logits[i];
        best = logits[i] > best ? logits[i] : best;
    }
    const nut_generate_options *o = &s->options;
    for (size_t n = 0; n <= 16; n += 4) {
        int32_t id = -1;
        const nut_status status = sampler_sample(s, logits, recent, n, &id, &err);
        fuzz_check_error(status, &err);
        EXPECT((status == NUT_OK) == (numbers && best - best == 0), "%d, best %g", (int)status,
               (double)best);
        if (status != NUT_OK) break;
        EXPECT(id >= 0 && (uint32_t)id < s->n_vocab, "token %d of %u", (int)id, s->n_vocab);
        const size_t k = o->temperature == 0 ? 1 : o->top_k;
        if (k && n == 0) EXPECT(is_among(logits, s->n_vocab, k, id), "not among the %zu best", k);
        for (uint32_t i = 0; i < s->n_vocab; i++) EXPECT(s->counts[i] == 0, "a count is left");
    }
    free(logits);
}

static void try_sampler(fuzz_input *in, const nut_generate_options *o) {
    nut_error err;
    sampler s = {.n_vocab = 1 + fuzz_u16(in) % MOST_TOKENS};
    const nut_status status = sampler_reset(&s, o, &err);
    EXPECT((status == NUT_OK) == are_right(o), "%s", status == NUT_OK ? "taken" : err.message);
    fuzz_check_error(status, &err);
    if (status != NUT_OK) return;
    s.candidates = malloc(s.n_vocab * sizeof *s.candidates);
    s.counts = calloc(s.n_vocab, sizeof *s.counts);
    sample(&s, in);
    free(s.counts);
    free(s.candidates);
}

/* ---- text ---- */

typedef struct written {
    char text[MOST_TEXT + 1];
    size_t n;
} written;

static void collect(written *w, const stream *st) {
    for (size_t at = 0, length; at < st->n_text; at += length) {
        const uint32_t c = unicode_at(st->text + at, st->n_text - at, &length);
        EXPECT(c != 0xfffd || !memcmp(st->text + at, "\xef\xbf\xbd", 3), "broken UTF-8 at %zu", at);
    }
    EXPECT(w->n + st->n_text <= MOST_TEXT, "%zu bytes", w->n + st->n_text);
    memcpy(w->text + w->n, st->text, st->n_text);
    w->n += st->n_text;
}

static bool holds(const written *w, const char *stop) {
    const size_t n = strlen(stop);
    for (size_t at = 0; at + n <= w->n; at++)
        if (!memcmp(w->text + at, stop, n)) return true;
    return false;
}

static bool is_ascii(const char *s) {
    while (*s && (uint8_t)*s < 0x80) s++;
    return !*s;
}

/* Up to three stop texts of up to 300 bytes from the front of the input; the rest are tokens. */
static void try_stream(fuzz_input *in, nut_generate_options *o) {
    static char held[CAP], text[3 * CAP];
    static written w;
    static stream st;
    char *stops[3];
    nut_error err;
    bool stopped = false;
    uint8_t hidden = fuzz_u8(in) % 7, odd = 0; // so many of seven tokens are not shown
    o->n_stop = fuzz_u8(in) % 4;
    for (size_t i = 0; i < o->n_stop; i++) {
        fuzz_input one = fuzz_front(in, fuzz_front_u8(in) % 64 * (i == 2 ? 5 : 1));
        stops[i] = calloc(one.n + 1, 1);
        if (one.n) memcpy(stops[i], one.p, one.n);
    }
    o->stop = (const char *const *)stops;
    memset(&st, 0, sizeof st);
    st.held = held, st.text = text, st.cap = CAP;
    w.n = 0;
    const nut_status status = stream_reset(&st, o, &err);
    fuzz_check_error(status, &err);
    while (status == NUT_OK && !stopped && in->n) {
        fuzz_input token = fuzz_front(in, fuzz_front_u8(in) % 64);
        void *copy = fuzz_copy(token);
        stopped = stream_push(&st, copy, token.n, (odd += 5) % 7 < hidden);
        EXPECT(st.n_held <= 2 * STREAM_MAX_STOP, "%zu bytes are held", st.n_held);
        free(copy);
        collect(&w, &st);
    }
    if (status == NUT_OK) {
        stream_flush(&st);
        collect(&w, &st);
    }
    for (size_t i = 0; i < o->n_stop; i++) {
        EXPECT(status != NUT_OK || !is_ascii(stops[i]) || !holds(&w, stops[i]), "a stop text came out");
        free(stops[i]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    fuzz_input in = {bytes, n < MOST_TEXT / 4 ? n : MOST_TEXT / 4};
    nut_generate_options o = nut_generate_defaults();
    read_options(&in, &o);
    fuzz_input rest = in;
    try_sampler(&in, &o);
    try_stream(&rest, &o);
    return 0;
}
