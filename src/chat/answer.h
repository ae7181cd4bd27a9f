/*
 * An answer, taken apart while it comes: content, reasoning, calls of tools (nutshell.h, nut_answer).
 *
 * Text is looked through for the marks of a format. Behind a mark that opens a call, the format's function
 * reads on. Such functions are resumable: they return ANSWER_MORE where the bytes end, and are called again
 * with more of them. READ_BEGIN, READ and READ_END make that of a function that is written straight down:
 * READ remembers its line, and the next call goes on there. So nothing is read twice, whatever pieces the
 * text comes in. Local variables do not outlive a READ.
 *
 * What turns out to be no call is told as text.
 */
#ifndef NUT_CHAT_ANSWER_H
#define NUT_CHAT_ANSWER_H

#include "chat/json_scan.h"

typedef enum answer_verdict {
    ANSWER_NO,   // the text is something else
    ANSWER_YES,  // it is read
    ANSWER_MORE, // its end has not come yet
} answer_verdict;

/* Bytes of nut_answer.text. */
typedef struct answer_span {
    size_t at, n;
} answer_span;

enum { ANSWER_MARKS = 5, ANSWER_NEEDLES = 3, ANSWER_LEVELS = 3, ANSWER_NAME = 256 };

/* The marks around reasoning. */
typedef struct answer_think {
    const char *open, *close;
    bool anywhere; // special tokens, which no text is about: they may follow content
    bool by_open;  // `close` has other uses: templates are known by `open` alone
} answer_think;

/* A format of calls. Lists of texts end with NULL. */
typedef struct answer_format {
    const char *name;
    const char *in_template[ANSWER_NEEDLES]; // a template with all of these texts makes answers of this kind
    answer_verdict (*read)(nut_answer *p);   // behind a mark that opens a call, which is `opened`
    const char *opens[ANSWER_MARKS];
    const char *starts[ANSWER_MARKS]; // begin a call at the start of an answer, and belong to it
    const char *skips[ANSWER_MARKS];  // around content, and no part of it
    const char *words[8];             // what else the function looks for
    const char *prompt;               // a prompt that ends so has opened what opens[0] opens
    bool parts; // what a mark opens may be content or reasoning too, and ends at a mark
    bool named; // the key of an object is the name of the tool
    bool alone; // calls have no mark of their own: they must have all that a call needs, and nothing else
} answer_format;

extern const answer_format answer_formats[];
extern const size_t answer_n_formats;

/* What the schema of a tool says of a parameter's values. */
typedef enum answer_type {
    ANSWER_ANY,    // nothing is known: what looks like a number, list … is one
    ANSWER_STRING, // always a text
    ANSWER_OR_NULL,
    ANSWER_VALUE, // no text
} answer_type;
/* tools: a JSON text (answer_schema.c). */
answer_type answer_type_of(const char *tools, size_t n, const char *tool, size_t n_tool, const char *key,
                           size_t n_key);

struct nut_answer {
    nut_answer_options o;
    char *tools; // a copy; o.n_tools bytes
    const answer_format *format;
    const answer_think *think;
    char *text; // what is not told yet, and what is read
    size_t n, cap;
    size_t at;    // what is before it has been told
    size_t solid; // behind the last byte that is no space
    size_t cur;   // read up to here
    bool ended;   // no more will come
    bool reasoning;
    bool start;      // nothing but space so far
    bool trim;       // space here is no part of the text
    bool in_call;    // the format's function is reading, what a mark opened
    bool quiet;      // in reasoning, where it is a call only if no text follows
    bool waiting;    // a call was read quietly
    size_t mark;     // where the mark is that opened the call; the first such while waiting
    unsigned opened; // which one
    uint32_t n_calls;
    /* what the format's function keeps */
    unsigned resume[ANSWER_LEVELS];
    json_scan json;
    bool scanning; // inside of a text or value
    bool begun;    // a call is told
    answer_span name, id, key;
    size_t arguments; // where the arguments begin; up to there they are told
    size_t from;      // of a value
    bool typed;       // a value's type is decided
    answer_type type;
    bool first; // of the arguments
    char quote; // of a Python text; 0: outside
    uint8_t escape;
    const char *word;
};

#if defined(__GNUC__)
#define ANSWER_FALLTHROUGH __attribute__((fallthrough))
#else
#define ANSWER_FALLTHROUGH (void)0
#endif
#define READ_BEGIN(level)                                                                                   \
    unsigned *const resume_ = &p->resume[level];                                                            \
    switch (*resume_) {                                                                                     \
    case 0:
#define READ(call)                                                                                          \
    do {                                                                                                    \
        *resume_ = __LINE__;                                                                                \
        ANSWER_FALLTHROUGH;                                                                                 \
    case __LINE__: {                                                                                        \
        const answer_verdict verdict_ = (call);                                                             \
        if (verdict_ != ANSWER_YES) return verdict_;                                                        \
    }                                                                                                       \
    } while (0)
/* Reads what may be there, and says whether it was. */
#define READ_IF(found, call)                                                                                \
    do {                                                                                                    \
        *resume_ = __LINE__;                                                                                \
        ANSWER_FALLTHROUGH;                                                                                 \
    case __LINE__: {                                                                                        \
        const answer_verdict verdict_ = (call);                                                             \
        if (verdict_ == ANSWER_MORE) return verdict_;                                                       \
        found = verdict_ == ANSWER_YES;                                                                     \
    }                                                                                                       \
    } while (0)
#define READ_END                                                                                            \
    }                                                                                                       \
    *resume_ = 0;                                                                                           \
    return ANSWER_YES

/* ---- telling (answer.c) ---- */

void answer_tell(nut_answer *p, nut_answer_kind kind, const char *text, size_t n);
/* The call whose name and id are known; some of its arguments; its end. What is read so far is told then. */
void answer_call(nut_answer *p);
void answer_arguments(nut_answer *p, const char *json, size_t n);
void answer_call_end(nut_answer *p);
bool answer_is_space(char c);
/* How much of a mark is at `at`: NO, MORE where the bytes end inside of it. */
answer_verdict answer_mark(const nut_answer *p, size_t at, const char *mark);

/* ---- JSON that is made of what is read (answer_write.c) ---- */

typedef struct answer_writer {
    nut_answer *p; // whose json follows it
    char text[64]; // not told yet
    size_t n;
    json_scan_result result; // of the newest byte: nothing is written behind an end or what is wrong
} answer_writer;

void answer_write(answer_writer *w, char c);
void answer_write_all(answer_writer *w, const char *text);
void answer_write_character(answer_writer *w, char c); // of a text, with its escape
void answer_write_flush(answer_writer *w);

/* ---- reading, from `cur` on (answer_read.c) ---- */

answer_verdict answer_literal(nut_answer *p, const char *text);
answer_verdict answer_space(nut_answer *p);
/* Whether the text goes on with this character, which stays. */
answer_verdict answer_at(nut_answer *p, char c);
/* Up to a mark, which is read too; at most ANSWER_NAME bytes. */
answer_verdict answer_until(nut_answer *p, const char *mark, answer_span *out);
/* A name of letters, digits, "_", "." and "-". */
answer_verdict answer_word(nut_answer *p, answer_span *out);
/* An object, which is told as the arguments of the call, as soon as its name is known. */
answer_verdict answer_object(nut_answer *p);
/* {"name": …, "arguments": {…}}, with the other names that these keys have; level 2. The end is not told. */
answer_verdict answer_json_call(nut_answer *p);
/* [call, call …], each as JSON or Python has it; level 1. */
answer_verdict answer_list(nut_answer *p);
/* name(key=value, …) as Python has it; level 2. The end is not told (answer_python.c). */
answer_verdict answer_python_call(nut_answer *p);
/* {key:value, …} as Gemma 4 has it: keys are bare, texts stand between words[0]; told as the arguments of
 * the call (answer_gemma.c). */
answer_verdict answer_gemma_object(nut_answer *p);
/* A value up to a mark, told as an argument of this key (answer_tags.c). */
answer_verdict answer_value(nut_answer *p, const char *close);
void answer_key(nut_answer *p, answer_span key);

bool answer_span_is(const nut_answer *p, answer_span s, const char *text);
/* Without the space around it. */
answer_span answer_trim(const nut_answer *p, answer_span s);

#endif
