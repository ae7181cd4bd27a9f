/* The choice of kernels by a race. */
#include "check.h"
#include "run/race.h"

static void test_choice(void) {
    static const struct {
        float rates[4];
        size_t set;
    } list[] = {
        {{10, 10.9f, 10, 0}, 0}, // within a tenth of the first: it stays
        {{10, 11.1f, 10, 0}, 1},    {{10, 11.1f, 11.9f, 0}, 1},
        {{10, 11.1f, 12.3f, 0}, 2}, {{0, 5, 5.4f, 0}, 1}, // the first did not race
        {{0, 0, 0, 0}, 0},
    };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        CHECK(race_choose(list[i].rates, 4) == list[i].set, "row %zu: set %zu", i,
              race_choose(list[i].rates, 4));
}

int main(void) {
    test_choice();
    return check_report();
}
