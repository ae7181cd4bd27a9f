/* Writes a small model with random weights, to be run by another implementation too, or to be measured, with
 * so many columns (256) that its weights do not fit into a cache: make_model ARCHITECTURE TYPE OUT.gguf
 * [COLUMNS] */
#include "../unit/make_gguf.h"

int main(int argc, char **argv) {
    const format *type = argc == 4 || argc == 5 ? format_by_name(argv[2]) : NULL;
    const uint32_t n_embd = argc == 5 ? (uint32_t)strtoul(argv[4], NULL, 10) : 256;
    if (!type || n_embd % 256) return 1;
    make_gguf g = make_model(&(make_options){.arch = argv[1],
                                             .matrices = type->id,
                                             .n_embd = n_embd,
                                             .n_layer = 3,
                                             .n_head = n_embd / 64,
                                             .n_head_kv = n_embd / 128,
                                             .head_dim = 64,
                                             .n_ff = 2 * n_embd,
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
