/*
 * Products of one token that pass over zeros (kernels/vec_live.inc) beside those that do not, by how many
 * columns are active: in random places, or the first ones, as where the most active channels come first.
 *
 *     bench_live [ROWS COLUMNS [REPEATS]]
 *
 * Both ways are run in turn; the shortest time of each counts, so that other programs disturb little.
 */
#include "base/clock.h"
#include "base/rng.h"
#include "kernels/sets.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct bench {
    const kernel_set *set;
    matrix w;
    kernel_act act;
    float *x, *y;
    size_t n_repeats;
} bench;

static void *get(size_t n) {
    void *p = aligned_alloc(64, (n + 63) / 64 * 64);
    if (!p) exit(1);
    memset(p, 0, n);
    return p;
}

/* Rows of random blocks, whose scales are 1. */
static matrix random_matrix(const format *f, size_t rows, size_t cols, rng *r) {
    matrix m = {.format = f, .n_rows = rows, .n_cols = cols};
    uint8_t *data = get(matrix_groups(&m) * matrix_group_bytes(&m)),
            *blocks = get(cols / f->block * f->bytes);
    for (size_t row = 0; row < rows; row++) {
        for (size_t i = 0; i < cols / f->block * f->bytes; i++)
            blocks[i] = i % f->bytes == 0 ? 0 : i % f->bytes == 1 ? 0x3c : (uint8_t)rng_u64(r);
        f->pack(data + row / FORMAT_LANES * matrix_group_bytes(&m), (uint32_t)(row % FORMAT_LANES), 0,
                cols / f->block, blocks);
    }
    free(blocks);
    m.data = data;
    return m;
}

static void open_act(bench *b) {
    const size_t n = b->w.n_cols;
    b->act = (kernel_act){.n_tokens = 1, .n_cols = n, .lanes = 1, .bytes = b->set->act_bytes};
    b->act.q = get(n * b->act.bytes), b->act.d = get(n / 32 * 4), b->act.d_sum = get(n / 32 * 4);
    b->act.sum = get(n / 32 * KERNEL_SUMS * 4), b->act.live = get(n / 32);
}

static void close_act(bench *b) {
    free(b->act.q), free(b->act.d), free(b->act.d_sum), free(b->act.sum);
    free((void *)(uintptr_t)b->act.live);
}

/* Percent of the steps that are active. */
static double set_act(bench *b, double share, bool first, rng *r) {
    const size_t n = b->w.n_cols;
    for (size_t i = 0; i < n; i++) {
        const bool active = first ? (double)i < share * (double)n : rng_f64(r) < share;
        b->x[i] = active ? (float)(rng_f64(r) + 0.1) : 0;
    }
    b->set->quantize_q8(b->x, 0, n, 0, &b->act, NULL);
    return 400.0 * (double)kernel_find_live(&b->act, (uint8_t *)(uintptr_t)b->act.live) / (double)n;
}

static double time_of(bench *b, kernel_mul_mat_fn *fn, double best) {
    const double begun = clock_seconds();
    fn(&b->w, 0, matrix_groups(&b->w), &b->act, b->y, matrix_groups(&b->w) * FORMAT_LANES);
    const double took = clock_seconds() - begun;
    return took < best ? took : best;
}

static void run(bench *b, rng *r) {
    static const struct {
        double share;
        bool first;
    } cases[] = {{1, false},   {0.5, false},  {0.3, false}, {0.2, false},
                 {0.1, false}, {0.05, false}, {0.3, true},  {0.1, true}};
    const layout_id id = b->w.format->layout->id;
    printf("%s, %s, %zu rows of %zu\n", b->set->name, b->w.format->name, b->w.n_rows, b->w.n_cols);
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        const double live = set_act(b, cases[k].share, cases[k].first, r);
        double dense = 1e9, passing = 1e9;
        for (size_t i = 0; i < b->n_repeats; i++) {
            dense = time_of(b, b->set->mul_mat[id], dense);
            passing = time_of(b, b->set->mul_live[id], passing);
        }
        printf("  %3.0f %% of columns active%s, %3.0f %% of steps: %.2f us, without zeros %.2f us, %.2f "
               "times as fast\n",
               100 * cases[k].share, cases[k].first ? ", the first" : "", live, dense * 1e6, passing * 1e6,
               dense / passing);
    }
}

int main(int argc, char **argv) {
    const size_t rows = argc > 2 ? strtoul(argv[1], NULL, 10) : 1024,
                 cols = argc > 2 ? strtoul(argv[2], NULL, 10) : 4096;
    static const format_id formats[] = {FORMAT_Q8_0, FORMAT_Q4_0};
    rng r;
    rng_seed(&r, 1);
    for (size_t f = 0; f < 2; f++) {
        const matrix w = random_matrix(&format_table[formats[f]], rows, cols, &r);
        for (size_t i = 0; i < kernel_count(); i++) {
            bench b = {
                .set = kernel_at(i), .w = w, .n_repeats = argc > 3 ? strtoul(argv[3], NULL, 10) : 400};
            if (!kernel_probe(b.set) || !b.set->mul_live[w.format->layout->id]) continue;
            b.x = get(cols * sizeof(float)), b.y = get((rows + FORMAT_LANES) * sizeof(float));
            open_act(&b);
            run(&b, &r);
            close_act(&b);
            free(b.x), free(b.y);
        }
        free((void *)(uintptr_t)w.data);
    }
    return 0;
}
