/*
 * The shell: the only code that prints or exits. Continuations go to stdout, figures and errors to stderr;
 * exit status 1 on any error. It uses nutshell.h alone, as any other program would.
 */
#ifndef NUT_CLI_H
#define NUT_CLI_H

#include "nutshell_compress.h"
#include "nutshell_dynamic.h"
#include "nutshell_store.h"

#include <stdio.h>

/* ---- options (args.c) ---- */

typedef enum arg_kind { ARG_FLAG, ARG_U32, ARG_U64, ARG_F32, ARG_TEXT, ARG_TEXTS } arg_kind;

/* The kind of an option whose value is of a C type. */
#define ARG_KIND(type)                                                                                      \
    _Generic((type)0, bool: ARG_FLAG, uint32_t: ARG_U32, uint64_t: ARG_U64, float: ARG_F32)

typedef struct arg_texts {
    const char *items[NUT_MAX_STOPS];
    size_t n;
} arg_texts;

/* One option of a command: "--name" or "-n", what it takes, where the value goes, and a line of help. */
typedef struct arg_option {
    const char *name;
    arg_kind kind;
    void *to;
    const char *help;
} arg_option;

typedef struct arg_set {
    const char *command;    // for messages
    const char *positional; // "MODEL PROMPT", for messages
    const arg_option *options;
    size_t n_options;
    const char **positionals; // (n_positionals) receives the other arguments
    size_t n_positionals;
} arg_set;

/* Parses the arguments behind the command's name. */
nut_status args_parse(const arg_set *set, int argc, char **argv, nut_error *err);
/* The same with 1 to n_positionals other arguments; *n receives how many. */
nut_status args_parse_some(const arg_set *set, int argc, char **argv, size_t *n, nut_error *err);
/* Reads a size in bytes: "60MB", "57.3MiB" or "60000000". */
nut_status args_size(const char *text, uint64_t *out, nut_error *err);
void args_help(const arg_set *set, FILE *to);

/* ---- files (file.c) ---- */

typedef struct file_options {
    const char *kernel;
    bool reference; // all weights as F32
    uint32_t n_ctx;
    const char *kv_type;       // name, NULL: the default
    bool header_only;          // vocabulary and facts alone
    const char *pre;           // name of a pre-tokenizer in place of the file's; NULL: that one
    const char *output;        // path that must not be one of the model's files; NULL: none
    uint32_t n_threads;        // that decode coded tensors (0: 1)
    arg_texts adapters;        // FILE or FILE:SCALE
    const char *weights_limit; // a size that weights may take, the rest is read as needed; NULL: all stay
} file_options;

/* Finds the other files of a model in several by their names. */
nut_status file_load_model(const char *path, const file_options *options, nut_model **out, nut_error *err);
/* How fast a model would be here, from the headers of its files. po->kv_type is set from the options. */
nut_status file_predict(const char *path, const file_options *options, nut_predict_options *po,
                        nut_prediction *out, nut_error *err);
/* Loads a model that is larger than memory (stored.c). `limit` bytes of weights are held; the others are
 * read from the files when they are needed. The files stay open as long as the model. */
nut_status stored_load_model(const char *path, const nut_load_options *options, uint64_t limit,
                             nut_model **out, nut_error *err);
/* What such a model read, as a member of a JSON object behind others; "" of another model. */
void stored_figures_json(const nut_model *m, FILE *to);
/* The same for people, a line. */
void stored_figures(const nut_model *m, FILE *to);
/* The kind of cache by its name. */
nut_status file_kv_type(const file_options *options, nut_kv_type *out, nut_error *err);
/* A whole text, terminated, from a file or a pipe; free with free(). */
nut_status file_read_text(const char *path, char **out, size_t *n, nut_error *err);

/* Whether a file begins with these characters. */
nut_status file_begins_with(const char *path, const char *mark, bool *out, nut_error *err);

/* The next line of a stream, of any length, terminated and without its line end; zero bytes in it are
 * left out. *line, of *cap bytes, grows as with getline; free() it after the last line. *more is false at
 * the end of the stream. */
nut_status file_read_line(FILE *from, char **line, size_t *cap, bool *more, nut_error *err);

/* Opens file i (from 0) of n of a split model, from the path of the first; returns its size and its path,
 * which is malloc'ed. */
nut_status file_open_split(const char *first, uint32_t i, uint32_t n, char **path, FILE **out,
                           uint64_t *size, nut_error *err);
/* Exactly n bytes from offset on; path is for messages. */
nut_status file_read_at(FILE *f, const char *path, uint64_t offset, void *out, size_t n, nut_error *err);

/* E_ARGUMENT where what would be written to out_path is the file that is open for reading, by whatever name.
 */
nut_status file_check_other(FILE *in, const char *in_path, const char *out_path, nut_error *err);

/* Output to a temporary name beside the target; commit renames it, abort removes it (and may follow any
 * failure). */
typedef struct file_sink {
    FILE *file;
    const char *path;
    char *temporary;
    uint64_t at; // where the next byte goes
} file_sink;
nut_status file_sink_open(const char *path, file_sink *f, nut_error *err);
nut_status file_sink_write(file_sink *f, uint64_t offset, const void *bytes, size_t n, nut_error *err);
/* What was written, to be read again; *size receives its bytes. */
nut_status file_sink_size(file_sink *f, uint64_t *size, nut_error *err);
nut_status file_sink_read(file_sink *f, uint64_t offset, void *out, size_t n, nut_error *err);
nut_status file_sink_commit(file_sink *f, nut_error *err);
void file_sink_abort(file_sink *f);

/* What a job keeps between runs, beside its output: OUT.state. */
typedef struct file_state {
    FILE *file;
    char *path;
    bool found; // it was there already
} file_state;
/* Opens it, or begins one. Where one is there, and no other process has it, an output that was not completed
 * is removed. */
nut_status file_state_open(const char *out, file_state *s, nut_error *err);
nut_status file_state_size(const file_state *s, uint64_t *size, nut_error *err);
nut_status file_state_write(const file_state *s, uint64_t offset, const void *bytes, size_t n,
                            nut_error *err);
void file_state_close(file_state *s, bool keep);

/* ---- jobs (job.c) ---- */

/* Runs a job to its end, with progress on stderr. in: path of the first file of the model that it reads;
 * out: path of its output, which exists only after success; NULL where the job has none. The caller frees
 * the job. */
nut_status job_run(nut_job *job, const char *in, const char *out, nut_error *err);
/* A job that keeps a state, beside its output, so that it goes on where it did not come to its end. */
nut_status job_run_kept(nut_job *job, const char *in, const char *out, nut_error *err);

/* ---- commands: argv[0] is the command's name ---- */

#define CLI_COMMANDS(X)                                                                                     \
    X(run, "continue a text")                                                                               \
    X(chat, "talk with a model")                                                                            \
    X(tokenize, "print a text's token ids")                                                                 \
    X(info, "print what is in a model file, and the kernel that runs it")                                   \
    X(logits, "write what a model computes for token ids, as floats")                                       \
    X(rerank, "order documents by how well they answer a query")                                            \
    X(embed, "write what a model makes of a text, as floats")                                               \
    X(perplexity, "measure how well a model predicts a text")                                               \
    X(evaluate, "measure a model, and how far it is from a reference")                                      \
    X(choose, "say how fast models would be here, by their headers, and which one to take")                 \
    X(draft, "find the layers without which a model drafts best for itself")                                \
    X(calibrate, "gather statistics of a model's inputs over a text")                                       \
    X(compress, "write the best model of a size")                                                           \
    X(quantize, "write a smaller model, its matrices in another type")                                      \
    X(import, "make a model file of a checkpoint of llama2.c")                                              \
    X(generate_set, "write a model's answers to prompts, for another to learn from")                        \
    X(train, "learn from a text, or from another model")                                                    \
    X(merge, "add an adapter to a model's weights")                                                         \
    X(correct, "write an adapter that makes up for what rounding lost")

#define NUT_X(name, help) nut_status command_##name(int argc, char **argv, nut_error *err);
CLI_COMMANDS(NUT_X)
#undef NUT_X

/* All ids of a text, malloc'ed. */
nut_status cli_tokenize(const nut_model *model, const char *text, size_t n_text, unsigned flags,
                        int32_t **ids, size_t *n, nut_error *err);

/* "1,2,3" to ids, malloc'ed. */
nut_status cli_parse_ids(const char *text, int32_t **out, size_t *n, nut_error *err);

/* Whether an option is given: with --ids there is no text. */
bool cli_has_option(int argc, char **argv, const char *name);

/* ---- what people read (terminal.c) ---- */

/* Bytes of the UTF-8 character that a text of n bytes (1 or more) begins with; 0 where it is none, or a
 * control character. */
size_t cli_printable(const char *text, size_t n);
/* A text as JSON. */
void cli_json_text(FILE *to, const char *s, size_t n);
/* Replaces everything but printable UTF-8 by '?', in place. */
void cli_clean(char *text);
/* Sets the error; its message is cleaned. */
nut_status cli_error(nut_error *err, nut_status code, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 3, 4)))
#endif
    ;

#define TRY(call)                                                                                           \
    do {                                                                                                    \
        nut_status try_status_ = (call);                                                                    \
        if (try_status_ != NUT_OK) return try_status_;                                                      \
    } while (0)

#endif
