/* Writes a small model with random weights, to be run by another implementation too: make_model
 * ARCHITECTURE TYPE OUT.gguf */
#include "../unit/make_gguf.h"

int main(int argc, char **argv) {
    const format *type = argc == 4 ? format_by_name(argv[2]) : NULL;
    if (!type) return 1;
    make_gguf g = make_model(&(make_options){.arch = argv[1],
                                             .matrices = type->id,
                                             .n_embd = 256,
                                             .n_layer = 3,
                                             .n_head = 4,
                                             .n_head_kv = 2,
                                             .head_dim = 64,
                                             .n_ff = 512,
                                             .n_ctx = 256,
                                             .untied = true,
                                             .seed = 3});
    size_t n;
    uint8_t *file = make_file(&g, &n);
    FILE *out = fopen(argv[3], "wb");
    bool good = out && fwrite(file, 1, n, out) == n && !fclose(out);
    free(file);
    make_free(&g);
    return !good;
}
