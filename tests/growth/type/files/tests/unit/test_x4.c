/* Rows of a loaded model's matrix, as JSON would be too long: test_x4 MODEL.gguf EXPECTED.f32 compares the
 * first layer's attn_q.weight, (rows, columns), with what another program computed. */
#include "check.h"
#include "data.h"
#include "model/bind.h"
#include "model_file.h"

#include <string.h>

int main(int argc, char **argv) {
    nut_error err = {NUT_OK, ""};
    size_t n_bytes = 0;
    void *to = NULL;
    static const char name[] = "blk.0.attn_q.weight";
    char *bytes = argc == 3 ? data_read_path(argv[2], &n_bytes) : NULL;
    const nut_load_options o = nut_load_defaults();
    nut_model *m = argc == 3 ? model_file_load(argv[1], &o, &err) : NULL;
    if (!CHECK(bytes && m, "test_x4 MODEL.gguf EXPECTED.f32: %s", err.message)) return check_report();
    if (CHECK(bind_find(m, (gguf_str){name, sizeof name - 1}, &to), "%s is missing", name)) {
        const matrix *w = to;
        float row[1024];
        CHECK(!strcmp(w->format->name, "X4_T"), "it is held as %s", w->format->name);
        CHECK(n_bytes == w->n_rows * w->n_cols * sizeof(float) && w->n_cols <= 1024, "%zu bytes", n_bytes);
        for (size_t i = 0; i < w->n_rows && (i + 1) * w->n_cols * sizeof(float) <= n_bytes; i++) {
            matrix_row(w, i, row);
            CHECK(!memcmp(row, bytes + i * w->n_cols * sizeof(float), w->n_cols * sizeof(float)),
                  "row %zu differs", i);
        }
    }
    nut_model_free(m);
    free(bytes);
    return check_report();
}
