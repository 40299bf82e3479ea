/* Subject files with tensors that are missing, misshapen or wrong, and with any damage at all. */
#include "tests/unit/subject_pieces.h"

#include "tests/unit/random.h"

/* --- damaged tensors ---------------------------------------------------------------------------------------------- */

#define DECODER "members.0.transformer.decoder."
#define ATTENTION DECODER "layers.0.multihead_attn."

static void test_missing_tensors(void **state)
{
    (void)state;
    pieces all = take_apart();
    for (size_t i = 0; i < all.all.count; i++) {
        const char *name = all.all.tensors[i].name;
        pieces it = take_apart();
        be_tensor_source *tensor = weight_named(&it.all, name);
        free((void *)(uintptr_t)tensor->name);
        tensor->name = strdup("of-no-use");
        /* LN1 of the zero state is its bias: its gain is never read */
        if (strcmp(name, DECODER "layers.0.norm1.weight") != 0)
            refuse_pieces(&it, BE_ERROR_FORMAT, name);
        free_pieces(&it);
    }
    free_pieces(&all);
}

static void test_wrong_shapes(void **state)
{
    (void)state;
    /* `part` where it is another tensor that does not fit then */
    static const struct { const char *name; size_t n_dims, shape[2]; const char *part; } cases[] = {
        {"masks.lh", 1, {7200}, NULL},
        {"masks.lh", 2, {12, 600}, NULL},
        {"masks.rh", 2, {24, 319}, "fsaverage.rh"},
        {"fsaverage.lh", 2, {300, 1}, NULL},
        {"fsaverage.rh", 1, {319}, NULL},
        {"members.0.query_embed.weight", 2, {48, 96}, NULL},
        {"members.0.lh_embed.0.weight", 2, {96, 300}, NULL},
        {"members.0.rh_embed.0.bias", 1, {300}, NULL},
        {DECODER "norm.weight", 1, {95}, NULL},
        {DECODER "norm.bias", 2, {1, 96}, NULL},
        {ATTENTION "in_proj_weight", 2, {96, 288}, NULL},
        {ATTENTION "out_proj.bias", 1, {90}, NULL},
        {DECODER "layers.0.linear1.weight", 2, {96, 96}, "linear1.bias"},
        {DECODER "layers.0.linear2.weight", 2, {128, 96}, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pieces it = take_apart();
        be_tensor_source *tensor = weight_named(&it.all, cases[i].name);
        tensor->n_dims = cases[i].n_dims;
        memset(tensor->shape, 0, sizeof tensor->shape);
        memcpy(tensor->shape, cases[i].shape, sizeof cases[i].shape);
        refuse_pieces(&it, BE_ERROR_FORMAT, cases[i].part ? cases[i].part : cases[i].name);
        free_pieces(&it);
    }
}

static void test_wrong_elements(void **state)
{
    (void)state;
    pieces it = take_apart();
    be_tensor_source *masks = weight_named(&it.all, "masks.rh"), *index = weight_named(&it.all, "fsaverage.lh");
    uint8_t *mask = (uint8_t *)(uintptr_t)masks->data;
    int32_t *vertex = (int32_t *)(uintptr_t)index->data;
    mask[2 * GOLDEN_RIGHT + 17] = 2;
    refuse_pieces(&it, BE_ERROR_FORMAT, "the rh mask of V2v holds the value 2 at vertex 17");
    mask[2 * GOLDEN_RIGHT + 17] = 1;
    const int32_t wrong[] = {163842, -1, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        vertex[11] = wrong[i];
        refuse_pieces(&it, BE_ERROR_FORMAT, "'fsaverage.lh' holds ");
    }
    vertex[11] = 0;
    masks->dtype = BE_DTYPE_BOOL;
    refuse_pieces(&it, BE_ERROR_FORMAT, "masks.rh");
    masks->dtype = BE_DTYPE_U8;
    index->dtype = BE_DTYPE_F32;
    refuse_pieces(&it, BE_ERROR_FORMAT, "fsaverage.lh");
    free_pieces(&it);
}

/* No region at all, and masks of no rows that claim any number of vertices without a byte behind them. */
static void test_vertices_out_of_nothing(void **state)
{
    (void)state;
    pieces it = take_apart();
    be_tensor_source *masks = weight_named(&it.all, "masks.lh");
    cJSON_ReplaceItemInObject(it.root, "rois", cJSON_CreateArray());
    masks->shape[0] = 0;
    masks->shape[1] = UINT32_MAX;
    refuse_pieces(&it, BE_ERROR_FORMAT, "masks.lh");
    free_pieces(&it);
}

/* A file may do without the index; then it is not there. */
static void test_no_fsaverage_index(void **state)
{
    (void)state;
    be_subject *subject = NULL;
    be_error error;
    pieces it = take_apart();
    cJSON_ReplaceItemInObject(it.root, "fsaverage", cJSON_Parse("{\"lh\": 0, \"rh\": 0}"));
    weight_named(&it.all, "fsaverage.lh")->shape[0] = 0;
    char *metadata = cJSON_PrintUnformatted(it.root);
    const be_text_pair pair = {"brainenc", metadata};
    const char *path = scratch("bare.safetensors");
    assert_ok(be_safetensors_write(path, it.all.tensors, it.all.count, &pair, 1, &error), &error);
    assert_ok(be_subject_open(path, BE_PRECISION_F32, &subject, &error), &error);
    assert_null(be_subject_fsaverage(subject, BE_LEFT));
    assert_null(be_subject_fsaverage(subject, BE_RIGHT));
    assert_int_equal(be_subject_get_info(subject)->n_fsaverage[BE_LEFT], 0);
    be_subject_close(subject);
    free(metadata);
    free_pieces(&it);
}

/* --- any damage --------------------------------------------------------------------------------------------------- */

static void try_bytes(const unsigned char *bytes, size_t size)
{
    be_subject *subject = NULL;
    be_error error = {.message = ""};
    write_bytes(scratch("mutated.safetensors"), bytes, size);
    be_status status = be_subject_open(scratch("mutated.safetensors"), BE_PRECISION_F32, &subject, &error);
    if (status == BE_OK)
        be_subject_close(subject);
    else
        assert_true(strlen(error.message) > 0 && error.status == status);
}

static void test_random_damage(void **state)
{
    (void)state;
    size_t size;
    uint32_t random = 4711;
    unsigned char *bytes = read_bytes(scratch("good.safetensors"), &size);
    for (size_t i = 0; i < 300; i++) {
        /* mostly the header, of which a change is more than another number */
        size_t at = next_random(&random) >> 4, within = i % 4 ? 6000 : size;
        unsigned char before = bytes[at % within];
        uint32_t bits = next_random(&random);
        bytes[at % within] = (unsigned char)(i % 3 ? before ^ 1u << (bits >> 29) : bits >> 24);
        try_bytes(bytes, size);
        bytes[at % within] = before;
    }
    for (size_t cut = 0; cut < 40; cut++)
        try_bytes(bytes, cut < 20 ? cut * 97 : size - (cut - 19) * (size / 25));
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_missing_tensors), cmocka_unit_test(test_wrong_shapes),
        cmocka_unit_test(test_wrong_elements),  cmocka_unit_test(test_vertices_out_of_nothing),
        cmocka_unit_test(test_no_fsaverage_index), cmocka_unit_test(test_random_damage),
    };
    return cmocka_run_group_tests(tests, make_good_file, NULL);
}
