/* The code books of the IQ types: which values neighbouring weights can have together. */
#ifndef NUT_KERNELS_GRIDS_H
#define NUT_KERNELS_GRIDS_H

#include <stdint.h>

typedef enum grid {
    GRID_IQ2_XXS, // 256 entries of eight numbers of two bits
    GRID_IQ2_XS,  // 512
    GRID_IQ2_S,   // 1024
    GRID_IQ1,     // 2048
    GRID_IQ3_XXS, // 256 of four numbers of three bits
    GRID_IQ3_S,   // 512
    GRID_COUNT,
} grid;

/* The entries of a book, lowest number in the lowest bits. Any thread may ask. */
const uint16_t *grid_entries(grid g);

#endif
