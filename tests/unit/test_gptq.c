/* Quantizers that give coded tensors, and their scales. */
#include "check.h"
#include "compress/coded_tensor.h"

#include <math.h>

/* The borders are geometric means: between 1 and 9/8 sqrt(9/8) = 1.06066, between 15/8 and 2 sqrt(15/4) =
 * 1.93649. */
static void test_scales(void) {
    static const struct {
        float x;
        int code;
    } nearest[] = {{0, 0},         {-1, 0},        {NAN, 0},       {1e9f, 255},
                   {1, 192},       {240, 255},     {1.0606f, 192}, {1.0607f, 193},
                   {1.9364f, 199}, {1.9365f, 200}, {0.5f, 184},    {0x1p-24f, 0}};
    CHECK(coded_scale(0) == 0x1p-24f && coded_scale(255) == 240 && coded_scale(192) == 1, "ends and middle");
    for (int i = 0; i < 256; i++)
        CHECK(coded_scale_code(coded_scale((uint8_t)i)) == i, "scale %d is its own nearest", i);
    for (size_t i = 0; i < sizeof nearest / sizeof *nearest; i++)
        CHECK(coded_scale_code(nearest[i].x) == nearest[i].code, "%g: code %d, not %d", (double)nearest[i].x,
              coded_scale_code(nearest[i].x), nearest[i].code);
}

int main(void) {
    test_scales();
    return check_report();
}
