/* Models whose weights are read from their files as they are needed. */
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>

typedef struct stored_file {
    FILE *file;
    char *path;
} stored_file;

typedef struct stored_files {
    const char *first; // path of the first file, while headers are read
    size_t n;
    stored_file *files; // (n)
} stored_files;

static nut_status open_file(void *ctx, uint32_t split, uint32_t n_splits, uint64_t *size, nut_error *err) {
    stored_files *s = ctx;
    stored_file *files = realloc(s->files, (split + 1) * sizeof *files);
    if (!files) return cli_error(err, NUT_E_MEMORY, "out of memory");
    s->files = files;
    stored_file *f = &s->files[split];
    TRY(file_open_split(s->first, split, n_splits, &f->path, &f->file, size, err));
    s->n = split + 1;
    return NUT_OK;
}

static nut_status read_file(void *ctx, uint32_t split, uint64_t offset, void *to, size_t n, nut_error *err) {
    const stored_files *s = ctx;
    return file_read_at(s->files[split].file, s->files[split].path, offset, to, n, err);
}

static void close_files(void *ctx) {
    stored_files *s = ctx;
    for (size_t i = 0; i < s->n; i++) {
        fclose(s->files[i].file);
        free(s->files[i].path);
    }
    free(s->files);
    free(s);
}

nut_status stored_load_model(const char *path, const nut_load_options *options, uint64_t limit,
                             nut_model **out, nut_error *err) {
    stored_files *s = calloc(1, sizeof *s);
    if (!s) return cli_error(err, NUT_E_MEMORY, "out of memory");
    s->first = path;
    const nut_store store = {s, open_file, read_file, close_files, limit};
    return nut_load_stored(options, &store, out, err);
}

/* ---- figures ---- */

static double rate(uint64_t hits, uint64_t misses) {
    return hits + misses ? (double)hits / (double)(hits + misses) : 1;
}

void stored_figures_json(const nut_model *m, FILE *to) {
    nut_store_figures f;
    if (!nut_model_store_figures(m, &f)) return;
    fprintf(to,
            ",\"storage\":{\"weight_bytes\":%llu,\"bytes_read\":%llu,\"seconds\":%.6f,"
            "\"layers\":{\"all\":%u,\"kept\":%u,\"hits\":%llu,\"misses\":%llu},"
            "\"experts\":{\"all\":%u,\"kept\":%u,\"hits\":%llu,\"misses\":%llu}}",
            (unsigned long long)f.weight_bytes, (unsigned long long)f.bytes_read, f.seconds, f.n_layers,
            f.n_layers_kept, (unsigned long long)f.layer_hits, (unsigned long long)f.layer_misses,
            f.n_experts, f.n_experts_kept, (unsigned long long)f.expert_hits,
            (unsigned long long)f.expert_misses);
}

void stored_figures(const nut_model *m, FILE *to) {
    nut_store_figures f;
    if (!nut_model_store_figures(m, &f)) return;
    fprintf(to,
            "storage %.1f MB read in %.1f s, weights %.1f MB in memory; %u of %u layers stay, hits %.1f %%",
            (double)f.bytes_read / 1e6, f.seconds, (double)f.weight_bytes / 1e6, f.n_layers_kept, f.n_layers,
            100 * rate(f.layer_hits, f.layer_misses));
    if (f.n_experts)
        fprintf(to, "; room for %u of %u experts, hits %.1f %%", f.n_experts_kept, f.n_experts,
                100 * rate(f.expert_hits, f.expert_misses));
    fputc('\n', to);
}
