/* Rows that stand for a matrix: see sampled.h. */
#include "compress/sampled.h"

#include "base/error.h"
#include "base/mem.h"

enum { FEW = 48, MANY = 192, LARGE = 8192 }; // of a matrix, or of one that has so many rows

static size_t points_of(size_t n_rows) {
    const size_t most = n_rows < LARGE ? FEW : MANY;
    return n_rows < most ? n_rows : most;
}

nut_status sampled_choose(const float *sensitivity, size_t n_rows, sampled *out, nut_error *err) {
    const size_t points = points_of(n_rows);
    double all = 0, before = 0;
    *out = (sampled){.rows = mem_calloc(points, sizeof *out->rows),
                     .parts = mem_calloc(points, sizeof *out->parts)};
    if (!out->rows || !out->parts) return error_memory(err, points * sizeof *out->rows);
    for (size_t r = 0; r < n_rows; r++) all += (double)sensitivity[r];
    const double step = all / (double)points;
    size_t next = 0; // point, in the middle of its step
    for (size_t r = 0; r < n_rows && next < points; r++) {
        const size_t first = next;
        before += (double)sensitivity[r];
        while (next < points && ((double)next + 0.5) * step < before) next++;
        if (next == first) continue;
        out->rows[out->n] = r;
        out->parts[out->n++] = (float)((double)(next - first) * step);
    }
    return NUT_OK;
}

void sampled_free(sampled *s) {
    mem_free(s->rows);
    mem_free(s->parts);
    *s = (sampled){0};
}
