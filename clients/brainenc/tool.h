/* What the commands of `brainenc` share: exit codes, options, models, pictures. */
#ifndef BRAINENC_TOOL_H
#define BRAINENC_TOOL_H

#include <getopt.h>
#include <stdbool.h>
#include <stddef.h>

#include "core/answer/answer.h"
#include "core/brainenc.h"

/* What the process ends with. */
enum {
    EXIT_DONE = 0,
    EXIT_SYSTEM = 1,   /* the operating system refused: read, write, memory */
    EXIT_USAGE = 2,    /* the command line is wrong */
    EXIT_MISSING = 3,  /* a file or a name does not exist */
    EXIT_DATA = 4,     /* an input is damaged, unsupported or over a limit */
    EXIT_PARTIAL = 5   /* done, but some images failed (--on-error=nan) */
};

/* Prints "brainenc: " and the sentence to stderr; returns the exit code that goes with the status. */
int tool_fail(const be_error *error);
/* The command that hints at --help name; the text must live on. */
void tool_set_command(const char *name);
/* The same for a wrong command line, with a hint at --help. */
int tool_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A command: its name, one line for the list, the text of --help, and what runs it (argv[0] is its name). */
typedef struct command {
    const char *name, *summary, *help;
    int (*run)(int argc, char **argv);
} command;

extern const command command_predict, command_attention, command_import, command_inspect, command_demo, command_bench;

/* --- options common to the commands that compute ------------------------------------------------- */

enum { MOST_SUBJECTS = 64 };

typedef struct compute_options {
    const char *backbone, *isa, *precision;
    const char *subjects[MOST_SUBJECTS];
    size_t n_subjects, heads, threads, tokens, pixels;
    be_activation activation;
    be_fit fit;
    bool measured; /* what the precision costs is to be told: open_engine measures it */
} compute_options;

void compute_options_default(compute_options *options);

/* The long options of compute_options, to be copied to the front of a command's own; none has a value above 255. */
enum { N_COMPUTE_OPTIONS = 10 };
extern const struct option compute_long_options[N_COMPUTE_OPTIONS];
#define COMPUTE_HELP \
    "  --backbone FILE     the backbone's weights: DINOv2, CLIP or ResNet, as Meta, OpenAI, torchvision or Hugging Face name " \
    "tensors\n" \
    "  --subject FILE      the subject's weights (`brainenc import` makes them)\n" \
    "  --fit HOW           pictures that are not squares of the training size: crop (default), stretch, pad or native\n" \
    "  --threads N         default: one for each core this process may use\n" \
    "  --backbone-heads N  the backbone's attention heads, where its file does not tell\n" \
    "  --backbone-activation NAME  CLIP's: auto (default), quick_gelu or gelu\n" \
    "  --max-tokens N      the largest token grid (default 1369)\n" \
    "  --max-pixels N      the largest picture, before decoding (default 40000000)\n" \
    "  --precision NAME    of the products: f32 (default), bf16, bf16x3, or auto: bf16 where AMX runs, else f32\n" \
    "  --isa NAME          auto (default), amx, avx512bf16, avx512, avx2 or generic\n"

/* Takes one option as getopt_long returned it. *code is EXIT_DONE when it was one of compute_options, and then the call
 * answers true; on a bad value it prints and sets *code to EXIT_USAGE. False: not one of these. */
bool compute_option(compute_options *options, int option, const char *value, int *code);

/* A whole number from a command line, 1 to `largest`; prints and answers false otherwise. */
bool parse_count(const char *name, const char *text, size_t largest, size_t *out);

/* A model and a session on it as the options say. Both are to be closed with close_engine. */
typedef struct engine {
    be_model *model;
    be_session *session;
} engine;
be_status open_engine(const compute_options *options, engine *it, be_error *error);
void close_engine(engine *it);

/* --- pictures -------------------------------------------------------------------------------------- */

/* One picture, ready for the model. */
typedef struct picture {
    be_image input;         /* fitted */
    be_answer_image about;
    double decode_ms;
    be_status status;       /* of reading it; `error` says why it failed */
    be_error error;
} picture;

/* Reads, decodes and fits the file `path` for the model's first subject. */
void read_picture(const char *path, const compute_options *options, const be_model *model, picture *out);
/* The last part of this alone; of `out` the name and the fit are set. */
void fit_picture(const be_image *decoded, const compute_options *options, const be_model *model, picture *out);
void free_picture(picture *it);

/* The files named on a command line: a folder stands for the .png, .jpg and .jpeg files in it, by name. */
typedef struct file_list {
    char **paths;
    size_t count, capacity;
} file_list;
be_status file_list_add(file_list *list, const char *path, be_error *error);
/* Adds each line of a text file ("-": standard input). */
be_status file_list_add_lines(file_list *list, const char *path, be_error *error);
void file_list_free(file_list *list);

/* True when `path` ends with `suffix`. */
bool ends_with(const char *path, const char *suffix);

/* --- progress -------------------------------------------------------------------------------------- */

/* A bar on a terminal, a line now and then elsewhere, nothing for fewer than two images; to stderr. */
typedef struct progress {
    size_t total, first;    /* images in all; done by an earlier run */
    double started, shown;
    bool terminal, open;    /* open: the cursor stands behind the bar */
} progress;
void progress_start(progress *it, size_t total, size_t done);
void progress_show(progress *it, size_t done);
/* Ends the bar's line, before something else is written. */
void progress_break(progress *it);

/* Writes to `path`, or to standard output when it is NULL. */
be_status write_output(const char *path, const void *bytes, size_t size, be_error *error);

#endif
