/* Follows a JSON value (RFC 8259) byte by byte, as it comes: where it ends, and that it is one. It keeps no
 * text and takes no memory; values nested deeper than JSON_SCAN_DEPTH are refused. */
#ifndef NUT_CHAT_JSON_SCAN_H
#define NUT_CHAT_JSON_SCAN_H

#include "nutshell.h"

enum { JSON_SCAN_DEPTH = 63 };

typedef struct json_scan {
    uint8_t state, depth;
    uint8_t left;     // hexadecimal digits of an escape that are still to come
    bool key;         // the string is a key
    const char *word; // what is left of true, false or null
    uint64_t objects; // bit i: level i is an object, else an array
} json_scan;

typedef enum json_scan_result {
    JSON_SCAN_MORE,   // the byte belongs to the value, which goes on
    JSON_SCAN_LAST,   // the byte is its last
    JSON_SCAN_BEFORE, // the value, a number, ended before this byte
    JSON_SCAN_WRONG,  // this is no JSON
} json_scan_result;

/* Before the first byte of a value, or the space before it. */
void json_scan_begin(json_scan *j);
json_scan_result json_scan_byte(json_scan *j, char byte);
/* Whether a key is to come, or, in an empty object, its end. */
bool json_scan_wants_key(const json_scan *j);
/* Whether n bytes are one value, with space around it. */
bool json_scan_is_value(const char *text, size_t n);
/* The length of the value at text, with the space before it; 0 where there is none. */
size_t json_scan_length(const char *text, size_t n);

#endif
