#include "clients/brainenc/tool.h"

#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/memory.h"
#include "core/files/atomic_file.h"
#include "core/files/hash.h"
#include "core/files/mapped_file.h"

int tool_fail(const be_error *error)
{
    fprintf(stderr, "brainenc: %s\n", error->message);
    switch (error->status) {
    case BE_ERROR_ARGUMENT: return EXIT_USAGE;
    case BE_ERROR_NOT_FOUND: return EXIT_MISSING;
    case BE_ERROR_FORMAT:
    case BE_ERROR_UNSUPPORTED:
    case BE_ERROR_LIMIT: return EXIT_DATA;
    default: return EXIT_SYSTEM;
    }
}

static const char *running = "COMMAND";

void tool_set_command(const char *name)
{
    running = name;
}

int tool_usage(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("brainenc: ", stderr);
    vfprintf(stderr, format, arguments);
    fprintf(stderr, " (see `brainenc %s --help`)\n", running);
    va_end(arguments);
    return EXIT_USAGE;
}

/* --- options -------------------------------------------------------------------------------------- */

enum { OPTION_BACKBONE = 128, OPTION_SUBJECT, OPTION_FIT, OPTION_THREADS, OPTION_HEADS, OPTION_TOKENS, OPTION_PIXELS,
       OPTION_ISA, OPTION_ACTIVATION, OPTION_PRECISION };

const struct option compute_long_options[N_COMPUTE_OPTIONS] = {
    {"backbone", required_argument, NULL, OPTION_BACKBONE}, {"subject", required_argument, NULL, OPTION_SUBJECT},
    {"fit", required_argument, NULL, OPTION_FIT},           {"threads", required_argument, NULL, OPTION_THREADS},
    {"backbone-heads", required_argument, NULL, OPTION_HEADS}, {"max-tokens", required_argument, NULL, OPTION_TOKENS},
    {"max-pixels", required_argument, NULL, OPTION_PIXELS}, {"isa", required_argument, NULL, OPTION_ISA},
    {"precision", required_argument, NULL, OPTION_PRECISION},
    {"backbone-activation", required_argument, NULL, OPTION_ACTIVATION},
};

void compute_options_default(compute_options *options)
{
    *options = (compute_options){.fit = BE_FIT_CROP, .pixels = BE_DEFAULT_PIXELS, .precision = "f32"};
}

bool parse_count(const char *name, const char *text, size_t largest, size_t *out)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno || value < 1 || value > largest) {
        tool_usage("--%s: '%s' is no whole number between 1 and %zu", name, text, largest);
        return false;
    }
    *out = (size_t)value;
    return true;
}

static bool add_subject(compute_options *options, const char *path)
{
    if (options->n_subjects == MOST_SUBJECTS) {
        tool_usage("--subject: more than %d", MOST_SUBJECTS);
        return false;
    }
    options->subjects[options->n_subjects++] = path;
    return true;
}

static bool set_fit(compute_options *options, const char *value)
{
    be_error error;
    if (be_fit_parse(value, &options->fit, &error) == BE_OK)
        return true;
    tool_usage("--fit: %s", error.message);
    return false;
}

static bool set_activation(compute_options *options, const char *value)
{
    be_error error;
    if (be_activation_parse(value, &options->activation, &error) == BE_OK)
        return true;
    tool_usage("--backbone-activation: %s", error.message);
    return false;
}

bool compute_option(compute_options *options, int option, const char *value, int *code)
{
    bool good = true;
    switch (option) {
    case OPTION_BACKBONE: options->backbone = value; break;
    case OPTION_SUBJECT: good = add_subject(options, value); break;
    case OPTION_FIT: good = set_fit(options, value); break;
    case OPTION_THREADS: good = parse_count("threads", value, 1024, &options->threads); break;
    case OPTION_HEADS: good = parse_count("backbone-heads", value, 1024, &options->heads); break;
    case OPTION_TOKENS: good = parse_count("max-tokens", value, 1 << 20, &options->tokens); break;
    case OPTION_PIXELS: good = parse_count("max-pixels", value, (size_t)1 << 32, &options->pixels); break;
    case OPTION_ISA: options->isa = value; break;
    case OPTION_PRECISION: options->precision = value; break;
    case OPTION_ACTIVATION: good = set_activation(options, value); break;
    default: return false;
    }
    *code = good ? EXIT_DONE : EXIT_USAGE;
    return true;
}

/* One picture is fitted once for all subjects, so they must agree on its size. */
static be_status check_sizes(const be_model *model, const compute_options *options, be_error *error)
{
    size_t size = be_subject_get_info(be_model_subject(model, 0))->image_size;
    for (size_t i = 1; i < be_model_subjects(model); i++) {
        size_t other = be_subject_get_info(be_model_subject(model, i))->image_size;
        if (other != size)
            return be_fail(error, BE_ERROR_ARGUMENT, "--subject: %s was trained on images of %zu pixels, %s on %zu: predict "
                           "them one after the other", options->subjects[0], size, options->subjects[i], other);
    }
    return BE_OK;
}

be_status open_engine(const compute_options *options, engine *it, be_error *error)
{
    *it = (engine){0};
    if (!options->backbone)
        return be_fail(error, BE_ERROR_ARGUMENT, "--backbone is missing: the backbone's weights file");
    if (options->n_subjects == 0)
        return be_fail(error, BE_ERROR_ARGUMENT, "--subject is missing: a subject file, made by `brainenc import`");
    be_model_options model = {.backbone = options->backbone,
                              .backbone_options = {.heads = options->heads, .activation = options->activation},
                              .subjects = options->subjects, .n_subjects = options->n_subjects};
    be_session_options session = {.threads = options->threads, .tokens = options->tokens, .isa = options->isa};
    be_status status = be_isa_precision(options->precision, options->isa, &model.precision, error);
    if (status == BE_OK)
        status = options->measured ? be_model_open_measured(&model, &session, &it->model, error)
                                   : be_model_open(&model, &it->model, error);
    if (status != BE_OK)
        return status;
    status = check_sizes(it->model, options, error);
    if (status == BE_OK)
        status = be_session_open(it->model, &session, &it->session, error);
    if (status != BE_OK) {
        be_model_close(it->model);
        *it = (engine){0};
    }
    return status;
}

void close_engine(engine *it)
{
    be_session_close(it->session);
    be_model_close(it->model);
}

/* --- pictures ------------------------------------------------------------------------------------- */

static be_status decode_file(const char *path, const compute_options *options, be_image *decoded, picture *out)
{
    be_mapped_file file;
    be_status status = be_mapped_file_open(path, &file, &out->error);
    if (status != BE_OK)
        return status;
    status = be_hash_bytes(file.bytes ? (const void *)file.bytes : "", file.size, out->about.hash, &out->error);
    if (status == BE_OK)
        status = be_image_decode(file.bytes, file.size, path, options->pixels, decoded, &out->error);
    be_mapped_file_close(&file);
    return status;
}

/* `shape`: a fitted picture's, which has no pixels yet. */
static be_status check_grid(const be_image *shape, const compute_options *options, const be_model *model, picture *out)
{
    const char *name = out->about.name;
    size_t limit = options->tokens ? options->tokens : BE_DEFAULT_TOKENS;
    be_model_grid(model, shape, &out->about.rows, &out->about.columns);
    for (size_t s = 0; s < be_model_subjects(model); s++) {
        be_error why;
        be_status status = be_model_check_image(model, s, shape->width, shape->height, &why);
        if (status != BE_OK)
            return be_fail(&out->error, status, "%s: %s", name, why.message);
    }
    if (out->about.rows * out->about.columns <= limit)
        return BE_OK;
    return be_fail(&out->error, BE_ERROR_LIMIT, "%s: %zu x %zu pixels are %zu x %zu tokens, --max-tokens is %zu", name,
                   shape->width, shape->height, out->about.rows, out->about.columns, limit);
}

void fit_picture(const be_image *decoded, const compute_options *options, const be_model *model, picture *out)
{
    size_t size = be_subject_get_info(be_model_subject(model, 0))->image_size;
    bool native = options->fit == BE_FIT_NATIVE;
    const be_image shape = {.width = native ? decoded->width : size, .height = native ? decoded->height : size};
    out->about.width = decoded->width;
    out->about.height = decoded->height;
    out->status = check_grid(&shape, options, model, out);
    if (out->status == BE_OK)
        out->status = be_image_fit(decoded, options->fit, size, &out->input, &out->error);
}

void read_picture(const char *path, const compute_options *options, const be_model *model, picture *out)
{
    be_image decoded = {0};
    double start = be_clock();
    *out = (picture){.about = {.name = path, .fit = options->fit}};
    out->status = decode_file(path, options, &decoded, out);
    if (out->status == BE_OK)
        fit_picture(&decoded, options, model, out);
    be_image_free(&decoded);
    out->decode_ms = 1e3 * (be_clock() - start);
}

void free_picture(picture *it)
{
    be_image_free(&it->input);
}

/* --- lists of files ------------------------------------------------------------------------------- */

bool ends_with(const char *path, const char *suffix)
{
    size_t length = strlen(path), end = strlen(suffix);
    return length >= end && strcasecmp(path + length - end, suffix) == 0;
}

static be_status append_path(file_list *list, const char *path, be_error *error)
{
    void *paths = list->paths;
    be_status status = be_grow(&paths, &list->capacity, list->count + 1, sizeof *list->paths, "a list of files", error);
    if (status != BE_OK)
        return status;
    list->paths = paths;
    status = be_copy_text(&list->paths[list->count], path, error);
    if (status == BE_OK)
        list->count++;
    return status;
}

static int is_picture(const struct dirent *entry)
{
    return ends_with(entry->d_name, ".png") || ends_with(entry->d_name, ".jpg") || ends_with(entry->d_name, ".jpeg");
}

static be_status append_folder(file_list *list, const char *folder, be_error *error)
{
    enum { PATH_SIZE = 4096 };
    struct dirent **entries;
    be_status status = BE_OK;
    int count = scandir(folder, &entries, is_picture, alphasort);
    if (count < 0)
        return be_fail(error, BE_ERROR_IO, "%s: the folder cannot be read: %s", folder, strerror(errno));
    if (count == 0)
        status = be_fail(error, BE_ERROR_NOT_FOUND, "%s: the folder holds no .png, .jpg or .jpeg file", folder);
    for (int i = 0; i < count; i++) {
        char path[PATH_SIZE];
        int length = snprintf(path, sizeof path, "%s%s%s", folder, ends_with(folder, "/") ? "" : "/", entries[i]->d_name);
        if (status == BE_OK && length >= PATH_SIZE)
            status = be_fail(error, BE_ERROR_ARGUMENT, "%.200s...: the path is too long", folder);
        if (status == BE_OK)
            status = append_path(list, path, error);
        free(entries[i]);
    }
    free(entries);
    return status;
}

be_status file_list_add(file_list *list, const char *path, be_error *error)
{
    struct stat info;
    if (stat(path, &info) == 0 && S_ISDIR(info.st_mode))
        return append_folder(list, path, error);
    return append_path(list, path, error);
}

be_status file_list_add_lines(file_list *list, const char *path, be_error *error)
{
    bool standard = strcmp(path, "-") == 0;
    FILE *stream = standard ? stdin : fopen(path, "r");
    char *line = NULL;
    size_t size = 0;
    be_status status = BE_OK;
    if (!stream)
        return be_fail(error, errno == ENOENT ? BE_ERROR_NOT_FOUND : BE_ERROR_IO, "%s: cannot be read: %s", path,
                       strerror(errno));
    for (ssize_t length; status == BE_OK && (length = getline(&line, &size, stream)) >= 0;) {
        line[strcspn(line, "\r\n")] = '\0';
        if (*line)
            status = file_list_add(list, line, error);
    }
    if (status == BE_OK && ferror(stream))
        status = be_fail(error, BE_ERROR_IO, "%s: cannot be read: %s", path, strerror(errno));
    free(line);
    if (!standard)
        fclose(stream);
    return status;
}

void file_list_free(file_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->paths[i]);
    free(list->paths);
    *list = (file_list){0};
}

/* --- progress and output -------------------------------------------------------------------------- */

void progress_start(progress *it, size_t total, size_t done)
{
    *it = (progress){.total = total, .first = done, .started = be_clock(), .terminal = isatty(STDERR_FILENO)};
}

void progress_show(progress *it, size_t done)
{
    enum { BAR = 30, LINE_SECONDS = 10 };
    double now = be_clock(), elapsed = now - it->started;
    bool last = done == it->total;
    double pause = it->terminal ? 0.1 : LINE_SECONDS;
    if (it->total < 2 || (now - it->shown < pause && !last))
        return;
    it->shown = now;
    double rate = elapsed > 0 ? (double)(done - it->first) / elapsed : 0;
    double left = rate > 0 ? (double)(it->total - done) / rate : 0;
    if (!it->terminal) {
        fprintf(stderr, "brainenc: %zu of %zu images, %.1f a second, %.0f s left\n", done, it->total, rate, left);
        return;
    }
    int filled = (int)(done * BAR / it->total);
    fprintf(stderr, "\r[%.*s%*s] %zu/%zu  %.1f/s  %.0f s left\x1b[K", filled, "##############################", BAR - filled, "",
            done, it->total, rate, left);
    it->open = true;
}

void progress_break(progress *it)
{
    if (it->open)
        fputc('\n', stderr);
    it->open = false;
}

be_status write_output(const char *path, const void *bytes, size_t size, be_error *error)
{
    if (path)
        return be_atomic_file_save(path, bytes, size, error);
    if (fwrite(bytes, 1, size, stdout) != size || fflush(stdout) != 0)
        return be_fail(error, BE_ERROR_IO, "standard output cannot be written: %s", strerror(errno));
    return BE_OK;
}
