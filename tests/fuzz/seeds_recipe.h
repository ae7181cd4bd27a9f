/* Seeds of recipes and of the plans that are kept with them, for make_seeds.c. */
#ifndef NUT_TESTS_SEEDS_RECIPE_H
#define NUT_TESTS_SEEDS_RECIPE_H

#include "../unit/make_gguf.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static void write_seed(const char *harness, const char *name, make_bytes b);

static void write_recipes(void) {
    static const char *const texts[] = {
        "[{\"step\": \"calibrate\", \"gradients\": true, \"windows\": 4, \"special\": false}, {\"step\": "
        "\"coded\", "
        "\"size\": \"60.5MiB\"}]",
        "[{\"step\": \"round\", \"type\": \"q4\\u005f\\n\\ud83d\\ude00\"}, {\"step\":\"calibrate\"}]",
        "[{\"step\":\"calibrate\"},{\"step\":\"coded\",\"bpw\":-3.25e+0}]",
        "[{\"step\":\"calibrate\"},{\"step\":\"coded\",\"size\":6e7}]",
        "[{\"step\":\"calibrate\"},{\"step\":\"coded\",\"size\":\"6 things\"}]",
        "[{\"step\":\"calibrate\"},{\"step\":\"coded\",\"size\":1e999}]",
        "[{\"step\":\"coded\",\"bpw\":3}]",
        "[{\"step\":\"round\"},{\"step\":\"round\"}]",
        "[{\"step\":\"round\"} {",
        "[{\"step\":\"round\",}]",
        "[{\"step\":\"round\",\"typ\":1}]",
        "[{\"step\":\"round\",\"type\":1}]",
        "[{\"step\":\"calibrate\",\"gradients\":1}]",
        "[{\"step\":\"calibrate\",\"gradients\":truth}]",
        "[{\"step\":\"calibrate\",\"gradients\":tr}]",
        "[{\"step\":\"calibrate\",\"windows\":true}]",
        "[{\"step\":\"calibrate\",\"windows\":-}]",
        "[{\"step\":\"calibrate\",\"windows\":1.}]",
        "[{\"step\":\"calibrate\",\"windows\":1e}]",
        "[{\"step\":\"calibrate\",\"windows\":0.5}]",
        "[{\"step\":\"prune\"}]",
        "[{\"step\":\"\\ud800\\u0041\"}]",
        "[{\"step\":\"\\uzzzz\"}]",
        "[{\"step\":\"\\ud8\"}]",
        "[{\"step\":\"\\x\"}]",
        "[{\"step\":\"01234567890123456789012345678901234567890\"}]",
        "[{\"step\":\"ro",
        "[{\"step\" 1}]",
        "[{\"type\":1}]",
        "[[[[[[[[[[",
        "[{}]",
        "[]",
        "[] 1",
        "",
        "[{\"step\":\"round\"},{\"step\":\"calibrate\"},{\"step\":\"calibrate\"}]",
    };
    char name[16];
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        make_bytes b = {0};
        make_put(&b, texts[i], strlen(texts[i]));
        make_le(&b, 0, 2);
        snprintf(name, sizeof name, "text%zu", i);
        write_seed("recipe", name, b);
        free(b.p);
    }
}

/* A plan of an input of four columns and two matrices that read it; way 1: not correlated, 2: a name too
 * long, 3: a wrong input, 4: a scale of 0, 5: cut, 6: more than there is, 7: no columns, 8: a row that is no
 * number. */
static void write_plan(int way) {
    make_bytes b = {0};
    char name[16], tensor[64] = "blk.0.ffn_up.weight";
    make_le(&b, 1, 4), make_le(&b, way == 6 ? 3 : 2, 4);
    make_le(&b, way == 7 ? 0 : 4, 4), make_le(&b, way != 1, 4);
    for (int i = 0; i < 4; i++) make_le(&b, half_f32_to_bits(way == 4 ? 0 : 1 + (float)i), 4);
    for (int i = 0; i < 6 && way != 1; i++) make_le(&b, 0x3800, 2);
    for (int m = 0; m < 2; m++) {
        make_put(&b, tensor, sizeof tensor);
        make_le(&b, way == 2 ? 65 : 19, 4), make_le(&b, way == 3, 4), make_le(&b, 3, 4), make_le(&b, 4, 4);
        make_le(&b, 0, 8);
        for (int i = 0; i < 3; i++) make_le(&b, half_f32_to_bits(way == 8 ? NAN : 0.5f), 4);
    }
    if (way == 5) b.n -= 9;
    make_le(&b, way >= 10 ? 191 + (uint64_t)way : 0, 1), make_le(&b, 1, 1);
    snprintf(name, sizeof name, "plan%d", way);
    write_seed("recipe", name, b);
    free(b.p);
}

#endif
