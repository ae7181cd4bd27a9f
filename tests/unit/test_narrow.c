/* Models that lose channels and heads, beside what NumPy makes of the papers' formulas
 * (tests/golden/prune.py). */
#include "changed_faults.h"
#include "compress/activity.h"
#include "compress/channels.h"
#include "compress/shares.h"
#include "long_text.h"
#include "make_family.h"
#include "prune_sample.h"

#include <string.h>

/* ---- a matrix ---- */

/* Sums of e x^T, e being what the script has. */
static void add_errors(double drift[ROWS * CHANNELS_COLS]) {
    for (int t = 0; t < PRUNE_TOKENS; t++)
        for (int c = 0; c < CHANNELS_COLS; c++) {
            const double x =
                (sin(0.37 * t * (c + 1) + c) + sin(1.1 * t) + 0.3 * cos(0.9 * t * (c % 5))) * (1 + c % 4);
            for (int r = 0; r < ROWS; r++)
                drift[r * CHANNELS_COLS + c] += sin(0.3 * t * (r + 1) + 0.2 * t) * x;
        }
}

static void first_columns(const sample *a, float *w) {
    for (size_t r = 0; r < ROWS; r++)
        memcpy(w + r * CHANNELS_COLS, a->weights + r * COLS, CHANNELS_COLS * sizeof *w);
}

/* n_keep parts stay: those of want (n_keep), row 5 being fitted (n_keep * in->unit). */
static void check_fit(dense *d, const sample *a, const channels_inputs *in, size_t n_keep,
                      const uint32_t *want, const double *fitted) {
    float w[ROWS * CHANNELS_COLS];
    uint32_t kept[CHANNELS_COLS];
    double worst = 0;
    size_t n_left = 0;
    nut_error err = {0};
    first_columns(a, w);
    CHECK(channels_remove(d, in, ROWS, CHANNELS_COLS, w, n_keep, kept, &err) == NUT_OK, "%s", err.message);
    CHECK(!memcmp(kept, want, n_keep * sizeof *kept), "the parts that stay");
    for (size_t i = 0; i < n_keep * in->unit; i++) {
        const size_t c = kept[i / in->unit] * in->unit + i % in->unit;
        worst = fmax(worst, fabs((double)w[5 * CHANNELS_COLS + c] - fitted[i]));
    }
    CHECK(worst < 2e-5, "the fit is %g off", worst);
    for (size_t c = 0; c < CHANNELS_COLS; c++) n_left += w[5 * CHANNELS_COLS + c] != 0.0f;
    CHECK(n_left == n_keep * in->unit, "%zu columns are left", n_left);
}

/* losses (n_most + 1) with one part less after the other. */
static void check_losses(dense *d, const sample *a, size_t unit, size_t n_most, const double *want) {
    float w[ROWS * CHANNELS_COLS];
    double losses[CHANNELS_COLS], worst = 0;
    nut_error err = {0};
    first_columns(a, w);
    CHECK(channels_losses(d, &(channels_inputs){.s = &a->s, .unit = unit}, ROWS, CHANNELS_COLS, w, n_most,
                          losses, &err) == NUT_OK,
          "%s", err.message);
    for (size_t i = 0; i <= n_most; i++) worst = fmax(worst, fabs(losses[i] - want[i]) / (1e-3 + want[i]));
    CHECK(worst < 1e-3, "losses are %g off", worst);
}

/* The first columns of the sample, as a matrix of their own: one by one, and in groups. */
static void test_channels(void) {
    threads *team;
    dense *d;
    sample *a = make_sample();
    double drift[ROWS * CHANNELS_COLS] = {0};
    const channels_inputs one = {.s = &a->s, .unit = 1}, drifts = {&a->s, 1, NULL, drift, PRUNE_TOKENS},
                          group = {.s = &a->s, .unit = GROUP_COLS};
    threads_new(2, &team, NULL);
    dense_new(team, &d, NULL);
    add_errors(drift);
    check_fit(d, a, &one, CHANNELS_KEPT, channels_kept, channels_fitted);
    check_fit(d, a, &drifts, CHANNELS_KEPT, channels_kept, channels_with_errors);
    check_fit(d, a, &group, GROUPS_KEPT, groups_kept, groups_fitted);
    check_losses(d, a, 1, CHANNELS_COLS - CHANNELS_KEPT, channels_losses_of);
    check_losses(d, a, GROUP_COLS, CHANNELS_COLS / GROUP_COLS - GROUPS_KEPT, groups_losses_of);
    dense_free(d);
    threads_free(team);
    free(a);
}

static float felt_root(size_t row) {
    return (float)(0.2 + 0.3 * (double)(row % 5));
}

/* Rows of results that count more lose as if they were larger, and are fitted as ever. */
static void test_felt(void) {
    enum { MOST = CHANNELS_COLS - CHANNELS_KEPT };
    threads *team;
    dense *d;
    sample *a = make_sample();
    float plain[ROWS * CHANNELS_COLS], large[ROWS * CHANNELS_COLS];
    double felt[ROWS], losses[2][CHANNELS_COLS];
    uint32_t kept[2][CHANNELS_COLS];
    threads_new(1, &team, NULL);
    dense_new(team, &d, NULL);
    const channels_inputs in[2] = {{.s = &a->s, .unit = 1, .felt = felt}, {.s = &a->s, .unit = 1}};
    for (int remove = 0; remove < 2; remove++) {
        first_columns(a, plain);
        for (size_t i = 0; i < ROWS * CHANNELS_COLS; i++) large[i] = plain[i] * felt_root(i / CHANNELS_COLS);
        for (size_t r = 0; r < ROWS; r++) felt[r] = (double)(felt_root(r) * felt_root(r));
        for (int i = 0; i < 2; i++) {
            float *w = i ? large : plain;
            if (remove)
                channels_remove(d, &in[i], ROWS, CHANNELS_COLS, w, CHANNELS_KEPT, kept[i], NULL);
            else
                channels_losses(d, &in[i], ROWS, CHANNELS_COLS, w, MOST, losses[i], NULL);
        }
    }
    for (size_t i = 0; i <= MOST; i++)
        CHECK(fabs(losses[0][i] - losses[1][i]) <= 1e-5 * losses[1][i], "loss %zu: %g, not %g", i,
              losses[0][i], losses[1][i]);
    CHECK(!memcmp(kept[0], kept[1], CHANNELS_KEPT * sizeof **kept), "the columns that stay");
    for (size_t i = 0; i < ROWS * CHANNELS_COLS; i++)
        CHECK(fabsf(plain[i] * felt_root(i / CHANNELS_COLS) - large[i]) < 1e-4f, "weight %zu", i);
    dense_free(d);
    threads_free(team);
    free(a);
}

/* ---- an order ---- */

/* Column i is active for tokens of its group alone, i % 4, of which group k has 10 (k + 1); one is never. So
 * groups come together, the most active one first, and in them the first columns. */
static void test_activity(void) {
    enum { N = 17 };
    static const uint32_t want[N] = {3, 7, 11, 15, 2, 6, 10, 14, 1, 5, 9, 13, 0, 4, 8, 12, 16};
    double together[N * (N + 1) / 2] = {0};
    uint32_t columns[N], some[] = {16, 4, 9, 5, 3};
    nut_error err = {0};
    for (uint32_t i = 0; i < N - 1; i++)
        for (uint32_t j = 0; j <= i; j++)
            together[i * (i + 1) / 2 + j] = i % 4 == j % 4 ? 10 * (i % 4 + 1) : 0;
    const statistics s = {.kinds = STATISTICS_TOGETHER, .n_tokens = 100, .n_cols = N, .together = together};
    for (uint32_t i = 0; i < N; i++) columns[i] = N - 1 - i;
    CHECK(activity_order(&s, N, columns, &err) == NUT_OK && !memcmp(columns, want, sizeof want),
          "columns come as %u, %u, %u, %u, %u, ...", columns[0], columns[1], columns[2], columns[3],
          columns[4]);
    CHECK(activity_order(&s, 5, some, &err) == NUT_OK && some[0] == 3 && some[1] == 5 && some[2] == 9 &&
              some[3] == 4 && some[4] == 16,
          "%u, %u, %u, %u, %u", some[0], some[1], some[2], some[3], some[4]);
    CHECK(activity_has_zeros(&s), "zeros");
    CHECK(!activity_has_zeros(&(statistics){.n_tokens = 10, .n_cols = 1, .together = together}), "no zeros");
}

/* ---- shares by layer ---- */

/* Losses that grow by (k + 1) w with part k: the best choice has the same next cost in all layers. */
static void test_shares(void) {
    static const double weights[3] = {1, 2, 4};
    shares s = {0};
    nut_error err = {0};
    for (uint32_t il = 0; il < 3; il++) {
        double *losses;
        CHECK(shares_layer(&s, 3, il, 80, il == 1 ? 4 : 1, &losses, &err) == NUT_OK, "%s", err.message);
        for (uint32_t k = 0; k < shares_most(80); k++) losses[k + 1] = losses[k] + k + 1;
        shares_weigh(&s, il, weights[il], 1);
    }
    CHECK(shares_choose(&s, 70.0 / 240, &err) == NUT_OK, "%s", err.message);
    // layers lose 40, 20 and 10 parts; one more would cost 41, 45 (the mean of the next four) and 44
    CHECK(s.n_left[0] == 40 && s.n_left[1] == 60 && s.n_left[2] == 70, "%u %u %u are left", s.n_left[0],
          s.n_left[1], s.n_left[2]);
    mem_free(s.n_left);
    CHECK(shares_choose(&s, 0.9, &err) == NUT_E_ARGUMENT && strstr(err.message, "gives 0.8"), "%s",
          err.message);
    shares_free(&s);
}

/* Parts of another size, ten times as large at five times the cost, go first: 44 of 88 is five of them. What
 * has no parts is left alone. */
static void test_sizes(void) {
    shares s = {0};
    nut_error err = {0};
    for (uint32_t il = 0; il < 3; il += 2) {
        double *losses;
        CHECK(shares_layer(&s, 3, il, 8, 1, &losses, &err) == NUT_OK, "%s", err.message);
        for (uint32_t k = 0; k <= shares_most(8); k++) losses[k] = k;
        shares_weigh(&s, il, il ? 5 : 1, il ? 10 : 1);
    }
    CHECK(shares_choose(&s, 0.5, &err) == NUT_OK, "%s", err.message);
    CHECK(s.n_left[0] == 8 && !s.n_left[1] && s.n_left[2] == 3, "%u %u %u are left", s.n_left[0],
          s.n_left[1], s.n_left[2]);
    shares_free(&s);
}

static void test_typical_square(void) {
    const float tokens[] = {3, 4, 0, 5, 300, 400}; // 25, 25, 250,000
    const double x = shares_typical_square(tokens, 6, 2);
    CHECK(fabs(x / (25 * cbrt(10000)) - 1) < 1e-6, "%g", x);
}

/* ---- recipes ---- */

/* Channels that give nothing go, and what is left gives the same logits. */
static void test_idle_channels(const char *family, format_id from) {
    static const char recipe[] = "[{\"step\": \"channels\", \"share\": 0.25}]";
    int32_t ids[N_IDS];
    make_gguf g = make_model(&(make_options){.arch = family, .n_ff = 128, .matrices = from});
    const format *f = &format_table[from];
    for (int l = 0; l < 2; l++) { // 32 rows of up become zeros, and with them their channels
        char name[32];
        snprintf(name, sizeof name, "blk.%d.ffn_up.weight", l);
        memset(make_find(&g, name)->data.p + (size_t)(40 + 32 * l) * (64 / f->block * f->bytes), 0,
               (size_t)32 * (64 / f->block * f->bytes));
    }
    for (int i = 0; i < N_IDS; i++) ids[i] = (7 * i + 1) % 260;
    size_t n, n_text;
    uint32_t n_vocab = 0;
    uint8_t *file = make_file(&g, &n);
    char *text = long_text(&n_text);
    changed c = change(file, n, recipe, text, n_text);
    if (CHECK(c.status == NUT_OK && c.m.done && !c.m.n_wrong, "%s: %s", family, c.err.message)) {
        gguf out = header_of(&c.m);
        const gguf_tensor *up = tensor_of(&out, "blk.1.ffn_up.weight"),
                          *down = tensor_of(&out, "blk.1.ffn_down.weight");
        CHECK(up->dims[1] == 96 && down->dims[0] == 96, "%s: %llu rows, %llu columns", family,
              (unsigned long long)up->dims[1], (unsigned long long)down->dims[0]);
        CHECK(up->ggml_type == f->ggml_type, "rows keep their type");
        gguf_free(&out);
        float *a = logits_of(file, n, ids, &n_vocab), *b = logits_of(c.m.out, c.m.n_out, ids, &n_vocab);
        double worst = 0;
        for (uint32_t i = 0; a && b && i < n_vocab; i++) worst = fmax(worst, fabs((double)(a[i] - b[i])));
        CHECK(a && b && worst < (from == FORMAT_F32 ? 2e-5 : 2e-3), "%s: logits are %g off", family, worst);
        free(a), free(b);
    }
    free(c.m.out), free(file), free(text);
    make_free(&g);
}

/* Rows [at, at + n) of a tensor, or columns, become zeros; it may be missing. */
static void clear_rows(make_gguf *g, const char *name, size_t at, size_t n) {
    make_tensor *t = make_find(g, name);
    const size_t size = t ? (t->n_dims > 1 ? (size_t)t->dims[0] : 1) * sizeof(float) : 0;
    if (t) memset(t->data.p + at * size, 0, n * size);
}

static void clear_columns(make_gguf *g, const char *name, size_t at, size_t n) {
    make_tensor *t = make_find(g, name);
    for (size_t r = 0; t && r < t->dims[1]; r++)
        memset(t->data.p + (r * (size_t)t->dims[0] + at) * sizeof(float), 0, n * sizeof(float));
}

/* A recipe that removes channels or heads, and for how many families it must work. */
typedef struct part_case {
    const char *recipe;
    uint32_t n_head_kv; // 0: channels go
    size_t least;       // families of which it can go
} part_case;

/* Seven channels of a layer give nothing. */
static void idle_channels(make_gguf *g, const arch *a, int l) {
    enum { IDLE = 7 };
    char name[32];
    const size_t at = 4 + (size_t)l, first = a->features & ARCH_FUSED_UP ? family_odd.n_ff : 0;
    snprintf(name, sizeof name, "blk.%d.ffn_up.weight", l);
    clear_rows(g, name, first + at, IDLE);
    snprintf(name, sizeof name, "blk.%d.ffn_up.bias", l);
    clear_rows(g, name, first + at, IDLE);
    snprintf(name, sizeof name, "blk.%d.ffn_down.weight", l); // so that no other is cheaper
    clear_columns(g, name, at, IDLE);
}

/* Nothing reads one head, or group of heads, of a layer, another in each. */
static void idle_heads(make_gguf *g, const arch *a, uint32_t n_head_kv, int l) {
    char name[40];
    const size_t each = a->features & ARCH_GATED_OUT ? family_odd.key : family_odd.value,
                 n = n_head_kv > 1 ? 2 * each : each;
    snprintf(name, sizeof name, "blk.%d.attn_output.weight", l);
    clear_columns(g, name, (size_t)l * n, n);
}

/* The same of each family of the table where it can be done, whatever its tensors are named and made of;
 * others are refused. */
static bool test_family(const arch *a, const part_case *p, const char *text, size_t n_text) {
    family_sizes z = family_odd;
    if (p->n_head_kv > 1) z.n_head_kv = p->n_head_kv, z.n_head = 2 * p->n_head_kv;
    make_gguf g = make_family(a, &z);
    int32_t ids[N_IDS];
    for (int i = 0; i < N_IDS; i++) ids[i] = 3 + (7 * i + 1) % 250;
    for (int l = 0; l < FAMILY_LAYERS; l++) {
        if (p->n_head_kv)
            idle_heads(&g, a, p->n_head_kv, l);
        else
            idle_channels(&g, a, l);
    }
    size_t n;
    uint32_t n_vocab = 0;
    uint8_t *file = make_file(&g, &n);
    changed c = change(file, n, p->recipe, text, n_text);
    const bool done = c.status == NUT_OK;
    if (done && !(a->features & ARCH_BOTH_WAYS)) {
        float *x = logits_of(file, n, ids, &n_vocab), *y = logits_of(c.m.out, c.m.n_out, ids, &n_vocab);
        double worst = 0, most = 0;
        for (uint32_t i = 0; x && y && i < n_vocab; i++) {
            worst = fmax(worst, fabs((double)(x[i] - y[i])));
            most = fmax(most, fabs((double)x[i]));
        }
        CHECK(x && y && worst < 1e-4 * most, "%s: %s: logits are %g of %g off", a->name, p->recipe, worst,
              most);
        CHECK(c.m.n_out < n, "%s: the file is smaller", a->name);
        free(x), free(y);
    }
    CHECK(done || (c.status == NUT_E_UNSUPPORTED && strstr(c.err.message, a->name)) ||
              strstr(c.err.message, "infinite"),
          "%s: %s: %s", a->name, p->recipe, c.err.message); // random recurrences may grow
    free(c.m.out), free(file);
    make_free(&g);
    return done;
}

static void test_families(void) {
    static const part_case cases[] = {{"[{\"step\": \"channels\", \"share\": 0.19, \"window\": 16}]", 0, 40},
                                      {"[{\"step\": \"heads\", \"share\": 0.33, \"window\": 16}]", 1, 40},
                                      {"[{\"step\": \"heads\", \"share\": 0.33, \"window\": 16}]", 3, 40}};
    size_t n_text;
    char *text = long_text(&n_text);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n_done = 0;
        for (const char *at = arch_names(), *end; *at; at = *end ? end + 2 : end) {
            end = strchr(at, ',') ? strchr(at, ',') : at + strlen(at);
            n_done += test_family(arch_find((gguf_str){at, (uint64_t)(end - at)}), &cases[i], text, 600);
        }
        CHECK(n_done >= cases[i].least, "%s: %zu families", cases[i].recipe, n_done);
    }
    free(text);
}

/* In another order a model with ReLU computes the same, and one vector of four columns holds what was active
 * in four. */
static void test_order(void) {
    static const char recipe[] = "[{\"step\": \"channels\", \"order\": true, \"window\": 16}]";
    enum { N_FF = 37 };
    const arch *a = arch_find((gguf_str){"arcee", 5});
    make_gguf g = make_family(a, &family_odd);
    int32_t ids[N_IDS];
    for (int i = 0; i < N_IDS; i++) ids[i] = 3 + (7 * i + 1) % 250;
    for (size_t r = 0; r < N_FF; r++) // every eighth channel is left
        if (r % 8) clear_rows(&g, "blk.1.ffn_up.weight", r, 1);
    size_t n, n_text;
    uint32_t n_vocab = 0;
    uint8_t *file = make_file(&g, &n);
    char *text = long_text(&n_text);
    changed c = change(file, n, recipe, text, n_text);
    if (CHECK(c.status == NUT_OK && c.m.done && !c.m.n_wrong, "%s", c.err.message)) {
        gguf out = header_of(&c.m);
        const gguf_tensor *up = tensor_of(&out, "blk.1.ffn_up.weight");
        const float *w = (const float *)(const void *)(c.m.out + up->offset);
        for (size_t r = 0; r < N_FF; r++) {
            bool any = false;
            for (size_t i = 0; i < up->dims[0]; i++) any |= w[r * (size_t)up->dims[0] + i] != 0.0f;
            CHECK(any == (r < (N_FF + 7) / 8), "row %zu", r);
        }
        CHECK(gguf_find(&out, "nutshell.channels.order") && !gguf_find(&out, "nutshell.channels.share"),
              "metadata");
        CHECK(strstr(c.m.notes, "channels are in order") && !strstr(c.m.notes, "gains nothing"), "%s",
              c.m.notes);
        gguf_free(&out);
        float *x = logits_of(file, n, ids, &n_vocab), *y = logits_of(c.m.out, c.m.n_out, ids, &n_vocab);
        double worst = 0;
        for (uint32_t i = 0; x && y && i < n_vocab; i++) worst = fmax(worst, fabs((double)(x[i] - y[i])));
        CHECK(x && y && worst < 2e-5, "logits are %g off", worst);
        free(x), free(y);
    }
    free(c.m.out), free(file), free(text);
    make_free(&g);
}

/* With a share the order is that of those that stay; without zeros it is said that it gains nothing. */
static void test_order_of_fewer(void) {
    static const char plain[] = "[{\"step\": \"channels\", \"share\": 0.25}]",
                      ordered[] = "[{\"step\": \"channels\", \"share\": 0.25, \"order\": true}]";
    make_gguf g = make_model(&(make_options){.n_ff = 128});
    int32_t ids[N_IDS];
    for (int i = 0; i < N_IDS; i++) ids[i] = (7 * i + 1) % 260;
    size_t n, n_text;
    uint32_t n_vocab = 0;
    uint8_t *file = make_file(&g, &n);
    char *text = long_text(&n_text);
    changed a = change(file, n, plain, text, n_text), b = change(file, n, ordered, text, n_text);
    if (CHECK(a.status == NUT_OK && b.status == NUT_OK, "%s%s", a.err.message, b.err.message)) {
        float *x = logits_of(a.m.out, a.m.n_out, ids, &n_vocab),
              *y = logits_of(b.m.out, b.m.n_out, ids, &n_vocab);
        double worst = 0;
        for (uint32_t i = 0; x && y && i < n_vocab; i++) worst = fmax(worst, fabs((double)(x[i] - y[i])));
        CHECK(x && y && worst < 2e-5, "logits are %g off", worst);
        CHECK(strstr(b.m.notes, "none was ever zero"), "%s", b.m.notes);
        free(x), free(y);
    }
    free(a.m.out), free(b.m.out), free(file), free(text);
    make_free(&g);
}

static bool has_numbers(const gguf *g, const char *key, uint32_t a, uint32_t b) {
    const gguf_kv *kv = gguf_find(g, key);
    int64_t x = 0, y = 0;
    return kv && kv->n == 2 && gguf_integer_at(kv, 0, &x) && gguf_integer_at(kv, 1, &y) && x == a && y == b;
}

/* What is idle goes where errors count by Fisher information too; families without gradients are refused. */
static void test_fisher(void) {
    static const char recipe[] = "[{\"step\": \"channels\", \"share\": 0.25, \"fisher\": true}]";
    make_gguf g = make_model(&(make_options){.n_ff = 128});
    size_t n, n_text;
    for (int l = 0; l < 2; l++) {
        char name[32];
        snprintf(name, sizeof name, "blk.%d.ffn_up.weight", l);
        clear_rows(&g, name, 40 + 8 * (size_t)l, 32);
    }
    uint8_t *file = make_file(&g, &n);
    char *text = long_text(&n_text);
    changed c = change(file, n, recipe, text, n_text);
    CHECK(c.status == NUT_OK && c.m.done && !c.m.n_wrong && c.m.n_out < n, "%s", c.err.message);
    if (c.m.done) {
        int32_t ids[N_IDS];
        uint32_t n_vocab = 0;
        double worst = 0;
        for (int i = 0; i < N_IDS; i++) ids[i] = (7 * i + 1) % 260;
        float *a = logits_of(file, n, ids, &n_vocab), *b = logits_of(c.m.out, c.m.n_out, ids, &n_vocab);
        for (uint32_t i = 0; a && b && i < n_vocab; i++) worst = fmax(worst, fabs((double)(a[i] - b[i])));
        CHECK(a && b && worst < 2e-5, "logits are %g off", worst);
        free(a), free(b);
    }
    free(c.m.out), free(file);
    make_free(&g);
    g = make_family(arch_find((gguf_str){"arcee", 5}), &family_odd);
    file = make_file(&g, &n);
    c = change(file, n, recipe, text, n_text);
    CHECK(c.status == NUT_E_UNSUPPORTED && strstr(c.err.message, "arcee"), "%s", c.err.message);
    free(c.m.out), free(file), free(text);
    make_free(&g);
}

/* In one choice, what is idle goes: of layer 0 a group of heads, of layer 1 as many weights of channels. */
static void test_together(void) {
    static const char recipe[] =
        "[{\"step\": \"channels\", \"heads\": true, \"by_layer\": true, \"share\": 0.16}]";
    int32_t ids[N_IDS];
    make_gguf g = make_model(&(make_options){.n_ff = 128});
    clear_columns(&g, "blk.0.attn_output.weight", 32, 32);
    clear_rows(&g, "blk.1.ffn_up.weight", 40, 32);
    clear_columns(&g, "blk.1.ffn_down.weight", 40, 32);
    for (int i = 0; i < N_IDS; i++) ids[i] = (7 * i + 1) % 260;
    size_t n, n_text;
    uint32_t n_vocab = 0;
    uint8_t *file = make_file(&g, &n);
    char *text = long_text(&n_text);
    changed c = change(file, n, recipe, text, n_text);
    if (CHECK(c.status == NUT_OK && c.m.done && !c.m.n_wrong, "%s", c.err.message)) {
        gguf out = header_of(&c.m);
        CHECK(has_numbers(&out, "llama.feed_forward_length", 128, 96) &&
                  has_numbers(&out, "llama.attention.head_count", 2, 4) &&
                  has_numbers(&out, "llama.attention.head_count_kv", 1, 2),
              "layers lose what is idle: %s", c.m.notes);
        gguf_free(&out);
        float *a = logits_of(file, n, ids, &n_vocab), *b = logits_of(c.m.out, c.m.n_out, ids, &n_vocab);
        double worst = 0;
        for (uint32_t i = 0; a && b && i < n_vocab; i++) worst = fmax(worst, fabs((double)(a[i] - b[i])));
        CHECK(a && b && worst < 2e-5, "logits are %g off", worst);
        free(a), free(b);
    }
    free(c.m.out), free(file), free(text);
    make_free(&g);
}

/* ---- what is wrong ---- */

static void test_refusals(void) {
    static const struct {
        const char *recipe, *message;
    } cases[] = {
        {"[{\"step\": \"channels\"}]", "say which part of the channels"},
        {"[{\"step\": \"channels\", \"share\": 0.99}]", "leaves layer 0 none of its 128 channels"},
        {"[{\"step\": \"channels\", \"share\": 0.01}]", "leaves layer 0 all of its 128 channels"},
        {"[{\"step\": \"channels\", \"share\": 0.9, \"by_layer\": true}]", "an eighth of each layer stays"},
        {"[{\"step\": \"channels\", \"share\": 0.5, \"heads\": true}]", "add \"by_layer\": true"},
        {"[{\"step\": \"channels\", \"order\": true, \"by_layer\": true}]", "leave out \"by_layer\""},
        {"[{\"step\": \"heads\"}]", "say which part of the heads"},
        {"[{\"step\": \"heads\", \"share\": 0.9}]", "leaves layer 0 none of its 2 groups of heads"},
        {"[{\"step\": \"heads\", \"share\": 0.1}]", "leaves layer 0 all of its 2 groups of heads"},
        {"[{\"step\": \"heads\", \"share\": 0.8, \"by_layer\": true}]", "an eighth of each layer stays"},
    };
    make_gguf g = make_model(&(make_options){.n_ff = 128});
    size_t n, n_text;
    uint8_t *file = make_file(&g, &n);
    char *text = long_text(&n_text);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        changed c = change(file, n, cases[i].recipe, text, n_text);
        CHECK(c.status == NUT_E_ARGUMENT && strstr(c.err.message, cases[i].message), "%s: %s",
              cases[i].recipe, c.err.message);
        free(c.m.out);
    }
    free(file), free(text);
    make_free(&g);
}

/* Families whose parts are not known, or depend on each other. */
static void test_unknown(void) {
    static const struct {
        const char *family, *recipe, *message;
    } cases[] = {
        {"rwkv6", "[{\"step\": \"channels\", \"share\": 0.3}]",
         "channels cannot be changed in this rwkv6 model"},
        {"qwen3moe", "[{\"step\": \"channels\", \"share\": 0.3}]", "neither gated nor plain"},
        {"mamba", "[{\"step\": \"heads\", \"share\": 0.3}]", "this mamba model: no layer has attention"},
        {"mamba", "[{\"step\": \"heads\", \"share\": 0.3, \"by_layer\": true}]",
         "this mamba model: no layer has attention"},
        {"deepseek2", "[{\"step\": \"heads\", \"share\": 0.3}]", "latent keys and values"},
        {"olmo2", "[{\"step\": \"heads\", \"share\": 0.3}]", "have one norm"},
        {"bloom", "[{\"step\": \"heads\", \"share\": 0.3}]", "how far they see"},
    };
    size_t n_text;
    char *text = long_text(&n_text);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n;
        make_gguf g =
            make_family(arch_find((gguf_str){cases[i].family, strlen(cases[i].family)}), &family_odd);
        uint8_t *file = make_file(&g, &n);
        changed c = change(file, n, cases[i].recipe, text, n_text);
        CHECK(c.status == NUT_E_UNSUPPORTED && strstr(c.err.message, cases[i].message), "%s: %s",
              cases[i].family, c.err.message);
        free(c.m.out), free(file);
        make_free(&g);
    }
    free(text);
}

/* Each allocation fails once. */
static void test_memory(void) {
    static const char *const recipes[] = {
        "[{\"step\": \"channels\", \"share\": 0.5}, {\"step\": \"heads\", \"share\": 0.5}]",
        "[{\"step\": \"channels\", \"share\": 0.5, \"by_layer\": true, \"heads\": true}]",
        "[{\"step\": \"channels\", \"order\": true}]",
        "[{\"step\": \"channels\", \"share\": 0.5, \"by_layer\": true, \"fisher\": true}]",
    };
    make_gguf g = make_model(&(make_options){.n_ff = 128});
    size_t n, n_text;
    uint8_t *file = make_file(&g, &n);
    char *text = long_text(&n_text);
    for (size_t i = 0; i < sizeof recipes / sizeof *recipes; i++)
        change_while_memory_fails(file, n, recipes[i], text, n_text);
    free(file), free(text);
    make_free(&g);
}

int main(void) {
    test_channels();
    test_felt();
    test_activity();
    test_order();
    test_order_of_fewer();
    test_shares();
    test_sizes();
    test_typical_square();
    test_idle_channels("llama", FORMAT_F32);
    test_idle_channels("qwen2", FORMAT_Q8_0);
    test_families();
    test_together();
    test_fisher();
    test_refusals();
    test_unknown();
    test_memory();
    return check_report();
}
