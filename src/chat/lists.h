/* What filters and methods do with lists. */
#ifndef NUT_CHAT_LISTS_H
#define NUT_CHAT_LISTS_H

#include "chat/interpreter.h"

/* Sorts pairs of a key (even places) and what goes with it (odd ones), n pairs, by the keys; equal ones keep
 * their order. Fails where Python cannot order the keys. */
bool list_sort(run *r, chat_value *pairs, uint32_t n, bool backwards);

/* A text as a list of its lines, as Python's splitlines; ends: with their ends; last: an empty line behind a
 * line end at the end counts. */
bool string_lines(run *r, const chat_string *s, bool ends, bool last, chat_value *out);
/* Python's split: at `by`, or at blanks where that is NULL; at most `most` times (-1: any), from the right
 * where `right`. */
bool string_split(run *r, const chat_string *s, const chat_string *by, int64_t most, bool right,
                  chat_value *out);
bool string_join(run *r, const chat_string *between, const chat_list *items, bool any, chat_value *out);

/* The pairs (key, value) of a map, as tuples. */
bool map_pairs(run *r, const chat_map *map, chat_form form, chat_value *out);
bool tuple_of(run *r, chat_value a, chat_value b, chat_value *out);

#endif
