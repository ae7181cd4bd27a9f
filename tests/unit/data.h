/* Where the tests' data is: $NUT_DATA, else ../shared/data beside the repository. A test whose data is
 * missing skips:
 *
 *     size_t n; char *text = data_read("text/wiki.test.raw", &n);
 *     if (!text) { CHECK_SKIP("%s is missing", data_path("text/wiki.test.raw")); return; }
 */
#ifndef NUT_TESTS_DATA_H
#define NUT_TESTS_DATA_H

#include <stdio.h>
#include <stdlib.h>

/* Path of a data file; the buffer is overwritten by the next call. */
static inline const char *data_path(const char *name) {
    static char path[1024];
    const char *root = getenv("NUT_DATA");
    snprintf(path, sizeof path, "%s/%s", root ? root : "../shared/data", name);
    return path;
}

/* A whole file, terminated by a 0; NULL if it cannot be read. Free with free(). */
static inline char *data_read_path(const char *path, size_t *n) {
    FILE *f = fopen(path, "rb");
    long size = f && !fseek(f, 0, SEEK_END) ? ftell(f) : -1;
    char *bytes = size >= 0 && !fseek(f, 0, SEEK_SET) ? malloc((size_t)size + 1) : NULL;
    if (bytes && fread(bytes, 1, (size_t)size, f) != (size_t)size) {
        free(bytes);
        bytes = NULL;
    }
    if (f) fclose(f);
    if (bytes) bytes[size] = 0, *n = (size_t)size;
    return bytes;
}

static inline char *data_read(const char *name, size_t *n) {
    return data_read_path(data_path(name), n);
}

#endif
