/* Code points and classes. The totals are from Unicode 15.1 (DerivedGeneralCategory.txt: L, N and P;
 * White_Space in PropList.txt), the single ones are from UnicodeData.txt. */
#include "base/xxhash.h"
#include "check.h"
#include "data.h"
#include "model/nfc.h"
#include "model/unicode.h"

#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

static void test_totals(void) {
    static const size_t expected[] = {0x110000 - 136726 - 1831 - 842 - 25, 136726, 1831, 842, 25};
    static const uint8_t group[] = {0, 1, 1, 1, 2, 3, 0, 0, 0, 4}; // of each class
    size_t n[COUNT(expected)] = {0};
    for (uint32_t c = 0; c < 0x110000; c++) n[group[unicode_class_of(c)]]++;
    for (size_t i = 0; i < COUNT(expected); i++)
        CHECK(n[i] == expected[i], "class %zu has %zu code points, not %zu", i, n[i], expected[i]);
}

static void test_classes(void) {
    static const struct {
        uint32_t c;
        unicode_class class;
    } cases[] = {
        {0, UNICODE_OTHER},        {'\t', UNICODE_SPACE},         {0x1c, UNICODE_OTHER},
        {' ', UNICODE_SPACE},      {'$', UNICODE_SYMBOL},         {'%', UNICODE_PUNCTUATION},
        {'0', UNICODE_NUMBER},     {'9', UNICODE_NUMBER},         {'A', UNICODE_UPPER},
        {'z', UNICODE_LOWER},      {'_', UNICODE_PUNCTUATION},    {'`', UNICODE_SYMBOL},
        {0x7f, UNICODE_OTHER},     {0x80, UNICODE_OTHER},         {0x85, UNICODE_SPACE},
        {0xa0, UNICODE_SPACE},     {0xaa, UNICODE_LETTER},        {0xab, UNICODE_PUNCTUATION},
        {0xbd, UNICODE_NUMBER},    {0x301, UNICODE_MARK},         {0x378, UNICODE_OTHER},
        {0x663, UNICODE_NUMBER},   {0x1680, UNICODE_SPACE},       {0x180e, UNICODE_OTHER},
        {0x200b, UNICODE_OTHER},   {0x2028, UNICODE_SPACE},       {0x2167, UNICODE_NUMBER},
        {0x3000, UNICODE_SPACE},   {0x4e00, UNICODE_LETTER},      {0x9fff, UNICODE_LETTER},
        {0xac00, UNICODE_LETTER},  {0xd7a4, UNICODE_OTHER},       {0xfffd, UNICODE_SYMBOL},
        {0x1f600, UNICODE_SYMBOL}, {0x1d7d8, UNICODE_NUMBER},     {0x2ebf0, UNICODE_LETTER},
        {0x2ee5d, UNICODE_LETTER}, {0x2ee5e, UNICODE_OTHER},      {0x323af, UNICODE_LETTER},
        {0x10ffff, UNICODE_OTHER}, {0x903, UNICODE_MARK_SPACING}, {0x1c5, UNICODE_UPPER},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        CHECK(unicode_class_of(cases[i].c) == cases[i].class, "U+%04X is of class %d, not %d",
              (unsigned)cases[i].c, (int)unicode_class_of(cases[i].c), (int)cases[i].class);
}

/* ---- normalization form C: tests/golden/nfc.txt ---- */

/* The form of all code points, one after another, each with an x behind it. */
static void test_all_forms(uint32_t expected) {
    size_t n = 0;
    char *all = malloc(NFC_GROWTH * 6 * 0x110000u);
    for (uint32_t c = 1; c < 0x110000; c++) {
        char text[5];
        if (c >= 0xd800 && c < 0xe000) continue;
        const size_t length = unicode_put(text, c);
        text[length] = 'x';
        n += nfc_write(text, length + 1, all + n);
    }
    CHECK(xxhash32((const uint8_t *)all, n) == expected, "the forms of all code points, %zu bytes", n);
    free(all);
}

/* Bytes from pairs of hexadecimal digits; *at moves behind them and the character after. */
static size_t from_hex(const char **at, char *to) {
    size_t n = 0;
    unsigned byte;
    for (; **at > ' '; *at += 2)
        if (sscanf(*at, "%2x", &byte) == 1) to[n++] = (char)byte;
    ++*at;
    return n;
}

static void test_forms(void) {
    size_t n_file, n_cases = 0;
    char *file = data_read_path("tests/golden/nfc.txt", &n_file);
    if (!CHECK(file, "tests/golden/nfc.txt is missing")) return;
    test_all_forms((uint32_t)strtoul(file, NULL, 16));
    for (const char *at = strchr(file, '\n') + 1; *at; n_cases++) {
        char text[512], form[512], got[NFC_GROWTH * 512];
        const size_t n = from_hex(&at, text), n_form = from_hex(&at, form);
        const size_t n_got = nfc_write(text, n, got);
        CHECK(n_got == n_form && !memcmp(got, form, n_form), "case %zu: %.*s is %.*s", n_cases, (int)n, text,
              (int)n_got, got);
        CHECK(nfc_is(text, n) == (n == n_form && !memcmp(text, form, n)), "case %zu: %.*s", n_cases, (int)n,
              text);
        CHECK(nfc_is(form, n_form), "case %zu: the form of %.*s has another", n_cases, (int)n, text);
    }
    CHECK(n_cases == 400, "%zu cases", n_cases);
    free(file);
}

/* Bytes that are no UTF-8 stay; of a long run of marks, none is lost. */
static void test_forms_of_any_bytes(void) {
    static const char bytes[] = "e\xcc\xff\xcc\x81\xe2\x82 e\xcc\x81",
                      form[] = "e\xcc\xff\xcc\x81\xe2\x82 \xc3\xa9";
    char got[3 * 1000], marks[2 * 500];
    const size_t n = nfc_write(bytes, sizeof bytes - 1, got);
    CHECK(n == sizeof form - 1 && !memcmp(got, form, n), "%zu bytes", n);
    for (size_t i = 0; i < sizeof marks; i += 2) memcpy(marks + i, i % 4 ? "\xcc\xa3" : "\xcc\x80", 2);
    CHECK(nfc_write(marks, sizeof marks, got) == sizeof marks, "marks were lost");
}

/* Well-formed sequences by table 3-7 of the Unicode standard; anything else is one byte at a time. */
static void test_decoding(void) {
    static const struct {
        const char *bytes;
        uint32_t c;
        size_t length;
    } cases[] = {
        {"a", 'a', 1},
        {"\xc2\x80", 0x80, 2},
        {"\xdf\xbf", 0x7ff, 2},
        {"\xe0\xa0\x80", 0x800, 3},
        {"\xed\x9f\xbf", 0xd7ff, 3},
        {"\xee\x80\x80", 0xe000, 3},
        {"\xef\xbf\xbf", 0xffff, 3},
        {"\xf0\x90\x80\x80", 0x10000, 4},
        {"\xf4\x8f\xbf\xbf", 0x10ffff, 4},
        {"\x80", 0xfffd, 1}, // a continuation
        {"\xbf\xbf", 0xfffd, 1},
        {"\xc0\x80", 0xfffd, 1}, // overlong
        {"\xc1\xbf", 0xfffd, 1},
        {"\xe0\x80\x8a", 0xfffd, 1},
        {"\xe0\x9f\xbf", 0xfffd, 1},
        {"\xf0\x8f\xbf\xbf", 0xfffd, 1},
        {"\xed\xa0\x80", 0xfffd, 1},     // a surrogate
        {"\xf4\x90\x80\x80", 0xfffd, 1}, // beyond the last
        {"\xf8\x88\x80\x80\x80", 0xfffd, 1},
        {"\xff", 0xfffd, 1},
        {"\xc3", 0xfffd, 1}, // cut off
        {"\xe2\x96", 0xfffd, 1},
        {"\xf0\x9f\x98", 0xfffd, 1},
        {"\xc3"
         "a",
         0xfffd, 1}, // no continuation
        {"\xe2\x96"
         "a",
         0xfffd, 1},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        size_t length = 0;
        uint32_t c = unicode_at(cases[i].bytes, strlen(cases[i].bytes), &length);
        CHECK(c == cases[i].c && length == cases[i].length,
              "case %zu: U+%04X of %zu bytes, not U+%04X of %zu", i, (unsigned)c, length,
              (unsigned)cases[i].c, cases[i].length);
    }
}

/* From UnicodeData.txt: decompositions without marks, and lower case. */
static void test_folds(void) {
    static const uint32_t cases[][2] = {
        {'A', 'a'},       {'z', 'z'},         {'[', '['},         {0xc9, 'e'},    {0xe9, 'e'},
        {0x178, 'y'},     {0x1ec7, 'e'},      {0xd8, 0xf8},       {0xdf, 0xdf},   {0x391, 0x3b1},
        {0x386, 0x3b1},   {0x419, 0x438},     {0x439, 0x438},     {0x401, 0x435}, {0x4e00, 0x4e00},
        {0xac00, 0xac00}, {0x10400, 0x10428}, {0x1e900, 0x1e922}, {0x130, 'i'},   {0x10ffff, 0x10ffff}};
    for (size_t i = 0; i < COUNT(cases); i++)
        CHECK(unicode_fold(cases[i][0]) == cases[i][1], "U+%04X becomes U+%04X, not U+%04X",
              (unsigned)cases[i][0], (unsigned)unicode_fold(cases[i][0]), (unsigned)cases[i][1]);
}

int main(void) {
    test_folds();
    test_totals();
    test_classes();
    test_forms();
    test_forms_of_any_bytes();
    test_decoding();
    return check_report();
}
