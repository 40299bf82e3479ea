#include "tests/unit/subject_pieces.h"

#include "core/subject/subject_format.h"

pieces take_apart(void)
{
    pieces it = {.all = take_weights(scratch("good.safetensors"))};
    be_tensor_file *file;
    be_error error;
    const char *text;
    assert_ok(be_tensor_file_open(scratch("good.safetensors"), &file, &error), &error);
    assert_true(be_value_text(be_value_get(be_tensor_file_root(file), BE_SUBJECT_METADATA_KEY), &text));
    it.root = cJSON_Parse(text);
    assert_non_null(it.root);
    be_tensor_file_close(file);
    return it;
}

void free_pieces(pieces *it)
{
    free_weights(&it->all);
    cJSON_Delete(it->root);
}

void refuse_file(const char *path, be_status status, const char *part)
{
    be_subject *subject = NULL;
    be_error error;
    assert_error(be_subject_open(path, BE_PRECISION_F32, &subject, &error), status, &error, part);
    assert_null(subject);
    if (strncmp(error.message, path, strlen(path)) != 0)
        fail_msg("the sentence \"%s\" does not begin with the path", error.message);
}

void refuse_metadata(const pieces *it, const char *metadata, be_status status, const char *part)
{
    be_error error;
    const be_text_pair pairs[] = {{BE_SUBJECT_METADATA_KEY, metadata}};
    const char *path = scratch("bad.safetensors");
    assert_ok(be_safetensors_write(path, it->all.tensors, it->all.count, pairs, metadata != NULL, &error), &error);
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
