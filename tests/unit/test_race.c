/* The choice of kernels by a race, and what earlier choices count in it. */
#include "check.h"
#include "make_gguf.h"
#include "model/model.h"
#include "run/race.h"

static void test_choice(void) {
    static const struct {
        float rates[4];
        size_t first, set;
    } list[] = {
        {{10, 10.9f, 10, 0}, 0, 0}, // within a tenth of the first: it stays
        {{10, 11.1f, 10, 0}, 0, 1},
        {{10, 11.1f, 11.9f, 0}, 0, 1},
        {{10, 11.1f, 12.3f, 0}, 0, 2},
        {{0, 5, 5.4f, 0}, 0, 1}, // the first did not race
        {{0, 0, 0, 0}, 0, 0},
        {{10.9f, 10, 0, 0}, 1, 1}, // nor does one before it win by less than a
                                   // tenth
        {{11.1f, 10, 0, 0}, 1, 0},
        {{12.3f, 11.1f, 10, 0}, 2, 0},
        {{10, 10, 0, 0}, 3, 0},
    };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        const size_t set = race_choose(list[i].rates, 4, list[i].first);
        CHECK(set == list[i].set, "row %zu: set %zu", i, set);
    }
}

static size_t set_called(const char *name) {
    size_t i = 0;
    while (i < kernel_count() && strcmp(kernel_at(i)->name, name) != 0) i++;
    return i < kernel_count() ? i : KERNEL_MOST_SETS;
}

static void test_kept(void) {
    static const struct {
        const char *races, *few, *many; // of U4
    } list[] = {
        {NULL, "", ""},
        {"", "", ""},
        {"U4 few ref;", "ref", ""},
        {"I8 few ref;U4 many ref;", "", "ref"},
        {"U4 few ref;U4 few simd128;", "ref", ""}, // the newest is first
        {"U4 few turbo;U4 few ref;", "ref", ""},   // of another build
        {"0.9.0 Browser (X11; U)/1;U4 few ref;", "ref", ""},
        {"U4 few ref", "", ""}, // cut off
        {"IU4 few ref;U4 few reference;u4 few ref;U4  few ref;;;", "", ""},
        {"U4 few \xff\x01;{\"a\":[1]}", "", ""},
    };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        const layout *l = &layout_table[LAYOUT_U4];
        const size_t few = race_kept(list[i].races, KERNEL_FEW, l),
                     many = race_kept(list[i].races, KERNEL_MANY, l);
        CHECK(few == set_called(list[i].few) && many == set_called(list[i].many), "row %zu: %zu, %zu", i,
              few, many);
    }
}

/* Loads a model that is large enough for a race; of how many of its races the choice was kept. */
static size_t load_with(const uint8_t *file, size_t n, const char *races, size_t *n_raced) {
    nut_load_options o = nut_load_defaults();
    nut_model *m = NULL;
    nut_error err;
    size_t n_kept = 0;
    *n_raced = 0;
    o.races = races;
    if (!CHECK(make_load(file, n, 0, &o, &m, &err) == NUT_OK, "%s", err.message)) return 0;
    for (kernel_width width = 0; width < KERNEL_WIDTHS; width++) {
        const size_t set = m->products.set[width][LAYOUT_U4];
        const bool kept = m->products.kept[width][LAYOUT_U4];
        *n_raced += m->products.rates[width][LAYOUT_U4][set] > 0;
        n_kept += kept;
        CHECK(!kept || set == race_kept(races, width, &layout_table[LAYOUT_U4]), "kept what nobody chose");
        for (size_t i = 0; i < kernel_count(); i++) // a tenth faster than what was taken
            CHECK(m->products.rates[width][LAYOUT_U4][i] <=
                      1.1f * 1.1f * m->products.rates[width][LAYOUT_U4][set],
                  "%s was faster", kernel_at(i)->name);
    }
    nut_model_free(m);
    return n_kept;
}

static void test_loads(void) {
    make_gguf g =
        make_model(&(make_options){.n_embd = 512, .n_ff = 5120, .n_layer = 3, .matrices = FORMAT_Q4_0});
    size_t n, n_raced, n_kept = 0;
    uint8_t *file = make_file(&g, &n);
    CHECK(load_with(file, n, "no races;U4 many abacus;", &n_raced) == 0, "foreign texts are passed over");
    const bool races = n_raced > 0; // a build with one set for these activations, or a coarse clock: none
    // What is right is kept unless something else runs here just then: it is told several times.
    for (size_t i = 0; races && n_kept == 0 && i < 10 * (kernel_count() - 1); i++) {
        const char *name = kernel_at(i % (kernel_count() - 1))->name;
        char text[64];
        snprintf(text, sizeof text, "U4 few %s;U4 many %s;", name, name);
        n_kept += load_with(file, n, text, &n_raced);
        CHECK(n_raced == KERNEL_WIDTHS, "%zu races", n_raced);
    }
    CHECK(!races || n_kept > 0, "no choice was kept, and one of them is the right one");
    CHECK(load_with(file, n, "U4 few ref;U4 many ref;", &n_raced) == 0, "a set that does not race won");
    free(file), make_free(&g);
}

int main(void) {
    test_choice();
    test_kept();
    test_loads();
    return check_report();
}
