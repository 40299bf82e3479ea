/* Backbones of the published sizes are known by names and shapes alone. */
#include "tests/unit/made_backbone.h"

#include <stdio.h>
#include <unistd.h>

/* A file of the right size with a hole in the place of the data, a byte a value. */
static void write_hollow(const weights *it, const char *path)
{
    enum { HEADER = 1 << 18 };
    char *header = malloc(HEADER);
    size_t length = 0, end = 0;
    assert_non_null(header);
    for (size_t i = 0; i < it->count; i++) {
        const be_tensor_source *tensor = &it->tensors[i];
        size_t count = 1;
        length += (size_t)snprintf(header + length, HEADER - length, "%c\"%s\":{\"dtype\":\"U8\",\"shape\":[", i ? ',' : '{',
                                   tensor->name);
        for (size_t d = 0; d < tensor->n_dims; d++) {
            length += (size_t)snprintf(header + length, HEADER - length, d ? ",%zu" : "%zu", tensor->shape[d]);
            count *= tensor->shape[d];
        }
        length += (size_t)snprintf(header + length, HEADER - length, "],\"data_offsets\":[%zu,%zu]}", end, end + count);
        assert_true(length < HEADER);
        end += count;
    }
    header[length++] = '}';
    uint64_t size = length;
    FILE *stream = fopen(path, "wb");
    assert_non_null(stream);
    assert_int_equal(fwrite(&size, sizeof size, 1, stream), 1);
    assert_int_equal(fwrite(header, 1, length, stream), length);
    assert_int_equal(fclose(stream), 0);
    assert_int_equal(truncate(path, (off_t)(sizeof size + length + end)), 0);
    free(header);
}

static void test_published_sizes(void **state)
{
    (void)state;
    static const struct { sizes sizes; const char *name; size_t heads, image_size; } published[] = {
        {{384, 12, 1536, 14, 37, 0, 0, false}, "dinov2_vits14", 6, 0},
        {{768, 12, 3072, 14, 37, 0, 0, false}, "dinov2_vitb14", 12, 0},
        {{1024, 24, 4096, 14, 37, 0, 0, false}, "dinov2_vitl14", 16, 0},
        {{384, 12, 1536, 14, 37, 4, 0, false}, "dinov2_vits14_reg", 6, 0},
        {{768, 12, 3072, 14, 37, 4, 0, false}, "dinov2_vitb14_reg", 12, 0},
        {{1024, 24, 4096, 14, 37, 4, 0, false}, "dinov2_vitl14_reg", 16, 0},
        {{1536, 40, 4096, 14, 37, 0, 0, true}, "dinov2_vitg14", 24, 0},
        {{768, 12, 3072, 32, 7, 0, 512, false}, "clip_vitb32", 12, 224},
        {{768, 12, 3072, 16, 14, 0, 512, false}, "clip_vitb16", 12, 224},
        {{1024, 24, 4096, 14, 16, 0, 768, false}, "clip_vitl14", 16, 224},
        {{1024, 24, 4096, 14, 24, 0, 768, false}, "clip_vitl14", 16, 336},
    };
    for (size_t i = 0; i < sizeof published / sizeof *published; i++) {
        const sizes *s = &published[i].sizes;
        weights it = s->channels ? make_clip(s) : make_dinov2(s, NULL);
        be_backbone_info info;
        be_error error;
        write_hollow(&it, scratch("hollow.safetensors"));
        assert_ok(be_backbone_inspect(scratch("hollow.safetensors"), NULL, &info, &error), &error);
        assert_string_equal(info.name, published[i].name);
        assert_int_equal(info.heads, published[i].heads);
        assert_int_equal(info.image_size, published[i].image_size);
        assert_int_equal(info.width, s->width);
        assert_int_equal(info.channels, s->channels ? s->channels : s->width);
        assert_int_equal(info.depth, s->depth);
        assert_int_equal(info.hidden, s->hidden);
        assert_int_equal(info.patch, s->patch);
        assert_int_equal(info.position_grid, s->grid);
        assert_int_equal(info.registers, s->registers);
        assert_int_equal(*info.unverified != '\0', s->registers || s->gated);
        free_weights(&it);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_published_sizes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
