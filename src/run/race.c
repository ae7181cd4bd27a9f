/* Sets of kernels race on rows of the model. */
#include "run/race.h"

#include "base/clock.h"
#include "model/bind.h"
#include "run/memory.h"

#include <stdio.h>
#include <string.h>

#define RACE_SLICE  5e-4 // seconds that a set multiplies before another has its turn
#define RACE_TICK   2e-3 // of the coarsest clock with which sets can be told apart
#define RACE_MARGIN 1.1f
#define RACE_FASTER 1.05f // what is more than noise

enum {
    RACE_STILL = 6,              // rounds in which no set gets faster end a race
    RACE_BRIEF = 2,              // rounds that tell whether an earlier choice is still right
    RACE_ROUNDS = 40,            // at most
    RACE_MANY = 4 * KERNEL_TILE, // tokens
    RACE_BYTES = 1 << 16,        // of weights at most: they stay in a cache
    RACE_LEAST = 1 << 23,        // bytes of weights for which it is worth the time
    RACE_SHARE = 16,             // a layout with less than this part of the weights does not race
    CLOCK_READINGS = 1 << 24,    // in which a clock must have ticked
};

size_t race_choose(const float *rates, size_t n_sets, size_t first) {
    size_t best = first;
    for (size_t i = 0; i < n_sets; i++)
        if (rates[i] > RACE_MARGIN * rates[best]) best = i;
    return best;
}

static const char *next_row(const char *row) {
    const char *end = strchr(row, ';');
    return end ? end + 1 : NULL;
}

size_t race_kept(const char *races, kernel_width width, const layout *l) {
    char row[64];
    for (const char *at = races; at; at = next_row(at))
        for (size_t i = 0; i < kernel_count(); i++) {
            snprintf(row, sizeof row, "%s %s %s;", l->name, kernel_width_name(width), kernel_at(i)->name);
            if (!strncmp(at, row, strlen(row))) return i;
        }
    return KERNEL_MOST_SETS;
}

/* ---- what is multiplied ---- */

/* A few rows of a matrix, tokens of zeros, and room for the results. */
typedef struct race_track {
    matrix w;
    size_t act_bytes;
    kernel_act x; // RACE_MANY tokens
    float *y;     // (RACE_MANY, rows padded to 8)
    arena memory;
} race_track;

static void track_want(race_track *t, memory_walk *w) {
    const size_t n = RACE_MANY * t->w.n_cols, blocks = n / KERNEL_Q8_BLOCK;
    memory_want(w, &t->x.q, n, t->act_bytes);
    memory_want(w, &t->x.d, blocks, sizeof(float));
    memory_want(w, &t->x.d_sum, blocks, sizeof(float));
    memory_want(w, &t->x.sum, blocks * KERNEL_SUMS, sizeof(int32_t));
    memory_want(w, &t->y, RACE_MANY * matrix_groups(&t->w) * FORMAT_LANES, sizeof(float));
}

static bool track_open(race_track *t, const matrix *w, size_t act_bytes) {
    const size_t group = matrix_group_bytes(w), groups = group < RACE_BYTES ? RACE_BYTES / group : 1;
    *t = (race_track){.w = *w, .act_bytes = act_bytes};
    if (groups < matrix_groups(w)) t->w.n_rows = groups * FORMAT_LANES;
    memory_walk walk = {.a = &t->memory};
    track_want(t, &walk);
    if (!arena_open(&t->memory)) return false;
    walk.taking = true;
    track_want(t, &walk);
    return true;
}

static void multiply(const race_track *t, kernel_mul_mat_fn *mul_mat, size_t n_tokens) {
    kernel_act x = t->x;
    x.n_tokens = n_tokens;
    x.n_cols = t->w.n_cols;
    x.lanes = kernel_lanes(n_tokens);
    x.bytes = t->act_bytes;
    mul_mat(&t->w, 0, matrix_groups(&t->w), &x, t->y, matrix_groups(&t->w) * FORMAT_LANES);
}

/* ---- time ---- */

/* The time at which the clock changes next; 0 where it does not. */
static double next_tick(void) {
    const double now = clock_seconds();
    for (long i = 0; i < CLOCK_READINGS; i++) {
        const double t = clock_seconds();
        if (t > now) return t;
    }
    return 0;
}

/* A page's clock may have ticks of a millisecond, or of a hundred where it is kept from telling much. */
static bool clock_is_fine(void) {
    const double first = next_tick(), second = next_tick();
    return first > 0 && second > 0 && second - first < RACE_TICK;
}

/* Multiply-adds per nanosecond, over a slice from one tick of the clock to another. */
static float rate_of(const race_track *t, kernel_mul_mat_fn *mul_mat, size_t n_tokens) {
    const double work = (double)n_tokens * (double)(matrix_groups(&t->w) * FORMAT_LANES * t->w.n_cols);
    const double begin = next_tick();
    double n = 0, now;
    do {
        multiply(t, mul_mat, n_tokens);
        n++;
        now = clock_seconds();
    } while (now - begin < RACE_SLICE);
    return (float)(n * work / (now - begin) * 1e-9);
}

/* ---- the race ---- */

/* Whether set i takes the activations of the model's set, and computes rightly. The last of the list is for
 * tests. */
static bool may_race(const nut_model *m, size_t i) {
    return i + 1 < kernel_count() && kernel_at(i)->act_bytes == m->kernels->act_bytes &&
           kernel_find(kernel_at(i)->name);
}

/* A turn for each set; its best rate counts, since noise makes a set slower and never faster. Whether one
 * became faster than it was. */
static bool race_width(const race_track *t, const bool *runs, kernel_width width, float *rates) {
    static const size_t n_tokens[KERNEL_WIDTHS] = {[KERNEL_FEW] = 1, [KERNEL_MANY] = RACE_MANY};
    bool faster = false;
    for (size_t i = 0; i < KERNEL_MOST_SETS; i++) {
        if (!runs[i]) continue;
        const float rate = rate_of(t, kernel_at(i)->mul_mat[t->w.format->layout->id], n_tokens[width]);
        faster |= rate > RACE_FASTER * rates[i];
        if (rate > rates[i]) rates[i] = rate;
    }
    return faster;
}

static bool race_round(nut_model *m, const race_track *tracks, size_t n, const bool *runs) {
    bool faster = false;
    for (size_t i = 0; i < n; i++)
        for (kernel_width width = 0; width < KERNEL_WIDTHS; width++)
            faster |= race_width(&tracks[i], runs, width,
                                 m->products.rates[width][tracks[i].w.format->layout->id]);
    return faster;
}

/* A part of the race: a track and a number of tokens. */
typedef struct race_part {
    const layout *layout;
    kernel_width width;
} race_part;

static race_part part_at(const race_track *tracks, size_t i) {
    return (race_part){tracks[i / KERNEL_WIDTHS].w.format->layout, (kernel_width)(i % KERNEL_WIDTHS)};
}

/* Which set the rates so far speak for. */
static uint8_t leader(const kernel_choice *c, race_part p) {
    return (uint8_t)race_choose(c->rates[p.width][p.layout->id], KERNEL_MOST_SETS,
                                c->set[p.width][p.layout->id]);
}

/* Takes what earlier races chose, as far as those sets run: for layouts that do not race here too. */
static void recall(kernel_choice *c, const bool *runs, const char *races) {
    for (int id = 0; id < LAYOUT_COUNT; id++)
        for (kernel_width width = 0; width < KERNEL_WIDTHS; width++) {
            const size_t set = race_kept(races, width, &layout_table[id]);
            if (set == KERNEL_MOST_SETS || !runs[set] || layout_table[id].act != FORMAT_ACT_Q8) continue;
            c->set[width][id] = (uint8_t)set;
            c->kept[width][id] = true;
        }
}

/* Whether there is an earlier choice for everything, and the rates so far speak for it. */
static bool agrees(const kernel_choice *c, const race_track *tracks, size_t n) {
    bool all = true;
    for (size_t i = 0; i < n * KERNEL_WIDTHS; i++) {
        const race_part p = part_at(tracks, i);
        all &= c->kept[p.width][p.layout->id] && leader(c, p) == c->set[p.width][p.layout->id];
    }
    return all;
}

/* Browsers run new code slowly until they have compiled it well, beside it, which takes them some tens of
 * milliseconds: all layouts race together, until nobody gets faster for several rounds. */
static void race(nut_model *m, const race_track *tracks, size_t n, const bool *runs) {
    kernel_choice *c = &m->products;
    int still = 0;
    for (int round = 0; round < RACE_ROUNDS && still < RACE_STILL; round++) {
        if (round == RACE_BRIEF && agrees(c, tracks, n)) break;
        still = race_round(m, tracks, n, runs) ? 0 : still + 1;
    }
    for (size_t i = 0; i < n * KERNEL_WIDTHS; i++) {
        const race_part p = part_at(tracks, i);
        const uint8_t set = leader(c, p);
        c->kept[p.width][p.layout->id] &= set == c->set[p.width][p.layout->id];
        c->set[p.width][p.layout->id] = set;
    }
}

/* The matrices of a model by their layout. */
typedef struct race_field {
    size_t bytes[LAYOUT_COUNT];
    const matrix *largest[LAYOUT_COUNT];
} race_field;

static race_field survey(const nut_model *m) {
    race_field f = {0};
    for (uint64_t i = 0; i < m->header.n_tensors; i++) {
        void *to;
        const tensor_spec *spec = bind_find(m, m->header.tensors[i].name, &to);
        if (!spec || spec->kind == TENSOR_VECTOR) continue;
        const matrix *w = spec->kind == TENSOR_MATRIX ? to : *(matrix *const *)to; // the first of a stack
        if (!w || !w->data) continue;                                              // not in memory
        const layout_id id = w->format->layout->id;
        f.bytes[id] += matrix_bytes(w) * (size_t)m->header.tensors[i].dims[2];
        if (!f.largest[id] || matrix_bytes(w) > matrix_bytes(f.largest[id])) f.largest[id] = w;
    }
    return f;
}

void race_products(nut_model *m, const char *races) {
    bool runs[KERNEL_MOST_SETS] = {false};
    size_t n_runs = 0;
    if (m->weights.size < RACE_LEAST) return;
    for (size_t i = 0; i < kernel_count(); i++) n_runs += runs[i] = may_race(m, i);
    if (n_runs < 2 || !clock_is_fine()) return;
    const race_field f = survey(m);
    race_track tracks[LAYOUT_COUNT];
    size_t n = 0;
    for (int id = 0; id < LAYOUT_COUNT; id++)
        if (f.largest[id] && layout_table[id].act == FORMAT_ACT_Q8 &&
            f.bytes[id] > m->weights.size / RACE_SHARE)
            n += track_open(&tracks[n], f.largest[id], m->kernels->act_bytes);
    recall(&m->products, runs, races);
    race(m, tracks, n, runs);
    for (size_t i = 0; i < n; i++) arena_close(&tracks[i].memory);
}
