#include "tests/unit/model_support.h"

#include <stdio.h>
#include <sys/stat.h>

void import_golden(const char *checkpoint, const char *name)
{
    char from[1024], data[1024], to[1024];
    be_error error;
    snprintf(from, sizeof from, "%s", golden(checkpoint));
    snprintf(data, sizeof data, "%s", golden(GOLDEN_DATA));
    snprintf(to, sizeof to, "%s", scratch(name));
    be_import_options options = {.checkpoint = from, .data = data, .output = to};
    assert_ok(be_subject_import(&options, &error), &error);
}

void refuse_import(const char *checkpoint, const char *data, be_status status, const char *part)
{
    static const char old[] = "what was there before";
    char folder[1024], output[1100];
    size_t size;
    be_error error;
    snprintf(folder, sizeof folder, "%s", scratch("refused"));
    snprintf(output, sizeof output, "%s/subject.safetensors", folder);
    mkdir(folder, 0700);
    write_bytes(output, old, sizeof old);
    be_import_options options = {.checkpoint = checkpoint, .data = data, .output = output};
    assert_error(be_subject_import(&options, &error), status, &error, part);
    unsigned char *bytes = read_bytes(output, &size);
    assert_int_equal(size, sizeof old);
    assert_memory_equal(bytes, old, size);
    free(bytes);
    assert_int_equal(count_files(folder), 1);
}

be_model *open_model(const char *backbone, size_t heads, const char *subject)
{
    char weights[1024], file[1024];
    const char *subjects[] = {file};
    be_model *model = NULL;
    be_error error;
    snprintf(weights, sizeof weights, "%s", golden(backbone));
    snprintf(file, sizeof file, "%s", scratch(subject));
    be_model_options options = {.backbone = weights, .backbone_options = {.heads = heads}, .subjects = subjects,
                                .n_subjects = 1};
    assert_ok(be_model_open(&options, &model, &error), &error);
    return model;
}

be_session *open_session(be_model *model, size_t threads, const char *isa)
{
    be_session *session = NULL;
    be_error error;
    assert_ok(be_session_open(model, &(be_session_options){.threads = threads, .isa = isa}, &session, &error), &error);
    return session;
}

be_model *open_golden_model(const char *name)
{
    import_golden(GOLDEN_CHECKPOINT, name);
    return open_model(GOLDEN_BACKBONE, 0, name);
}

typedef struct output_sizes {
    size_t vertices, attention, attention_heads, tokens;
} output_sizes;

static output_sizes sizes_of(const be_model *model, const be_image *image)
{
    const be_subject_info *info = be_subject_get_info(be_model_subject(model, 0));
    size_t rows, columns;
    be_model_grid(model, image, &rows, &columns);
    size_t maps = info->queries * rows * columns;
    return (output_sizes){info->n_vertices[BE_LEFT] + info->n_vertices[BE_RIGHT], maps, info->heads * maps,
                          info->queries * info->channels};
}

static float *make_floats(size_t count)
{
    float *values = malloc(count * sizeof *values);
    assert_non_null(values);
    memset(values, 0xff, count * sizeof *values); /* NaN: what is not written fails every comparison */
    return values;
}

be_output make_output(const be_model *model, const be_image *image)
{
    output_sizes sizes = sizes_of(model, image);
    return (be_output){make_floats(sizes.vertices), make_floats(sizes.attention), make_floats(sizes.attention_heads),
                       make_floats(sizes.tokens)};
}

void free_output(be_output *output)
{
    free(output->vertices);
    free(output->attention);
    free(output->attention_heads);
    free(output->tokens);
}

be_output predict(be_session *session, const be_model *model, const be_image *image)
{
    be_error error;
    be_output output = make_output(model, image);
    assert_ok(be_session_predict(session, image, 1, &output, NULL, &error), &error);
    return output;
}

static void assert_same_floats(const char *what, const char *part, const float *a, const float *b, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (memcmp(&a[i], &b[i], sizeof *a) != 0)
            fail_msg("%s: %s %zu is %.9g and %.9g", what, part, i, (double)a[i], (double)b[i]);
    }
}

void assert_same_output(const char *what, const be_model *model, const be_image *image, const be_output *a,
                        const be_output *b)
{
    output_sizes sizes = sizes_of(model, image);
    assert_same_floats(what, "vertex", a->vertices, b->vertices, sizes.vertices);
    assert_same_floats(what, "attention", a->attention, b->attention, sizes.attention);
    assert_same_floats(what, "attention of heads", a->attention_heads, b->attention_heads, sizes.attention_heads);
    assert_same_floats(what, "token", a->tokens, b->tokens, sizes.tokens);
}
