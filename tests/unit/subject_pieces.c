#include "tests/unit/subject_pieces.h"

#include "core/subject/subject_format.h"

pieces take_apart(void)
{
    pieces it = {0};
    be_tensor_file *file;
    be_error error;
    const char *text;
    assert_ok(be_tensor_file_open(scratch("good.safetensors"), &file, &error), &error);
    it.n_tensors = be_tensor_file_count(file);
    assert_in_range(it.n_tensors, 10, MOST_TENSORS);
    for (size_t i = 0; i < it.n_tensors; i++) {
        const be_tensor *tensor = be_tensor_file_at(file, i);
        void *data = malloc(tensor->count * be_dtype_size(tensor->dtype) + 1);
        assert_non_null(data);
        assert_ok(be_tensor_file_read(file, tensor, data, &error), &error);
        it.tensors[i] = (be_tensor_source){strdup(tensor->name), tensor->dtype, tensor->n_dims, {0}, data};
        memcpy(it.tensors[i].shape, tensor->shape, sizeof tensor->shape);
    }
    assert_true(be_value_text(be_value_get(be_tensor_file_root(file), BE_SUBJECT_METADATA_KEY), &text));
    it.root = cJSON_Parse(text);
    assert_non_null(it.root);
    be_tensor_file_close(file);
    return it;
}

void free_pieces(pieces *it)
{
    for (size_t i = 0; i < it->n_tensors; i++) {
        free((void *)(uintptr_t)it->tensors[i].name);
        free((void *)(uintptr_t)it->tensors[i].data);
    }
    cJSON_Delete(it->root);
}

be_tensor_source *tensor_named(pieces *it, const char *name)
{
    for (size_t i = 0; i < it->n_tensors; i++) {
        if (strcmp(it->tensors[i].name, name) == 0)
            return &it->tensors[i];
    }
    fail_msg("there is no tensor %s", name);
    return NULL;
}

void refuse_file(const char *path, be_status status, const char *part)
{
    be_subject *subject = NULL;
    be_error error;
    assert_error(be_subject_open(path, &subject, &error), status, &error, part);
    assert_null(subject);
    if (strncmp(error.message, path, strlen(path)) != 0)
        fail_msg("the sentence \"%s\" does not begin with the path", error.message);
}

void refuse_metadata(const pieces *it, const char *metadata, be_status status, const char *part)
{
    be_error error;
    const be_text_pair pairs[] = {{BE_SUBJECT_METADATA_KEY, metadata}};
    const char *path = scratch("bad.safetensors");
    assert_ok(be_safetensors_write(path, it->tensors, it->n_tensors, pairs, metadata != NULL, &error), &error);
    refuse_file(path, status, part);
}

void refuse_pieces(const pieces *it, be_status status, const char *part)
{
    char *metadata = cJSON_PrintUnformatted(it->root);
    refuse_metadata(it, metadata, status, part);
    free(metadata);
}

int make_good_file(void **state)
{
    (void)state;
    import_golden(GOLDEN_CHECKPOINT, "good.safetensors");
    return 0;
}
