/* Files and pictures when memory runs out: the caller is told of it, nothing leaks, and no file is half written. */
#include "tests/unit/allocation.h"

#include "core/answer/maps.h"
#include "core/files/config_json.h"
#include "core/files/torch_writer.h"
#include "core/image/hdf5_images.h"

#include <hdf5.h>

/* --- files -------------------------------------------------------------------------------------------------------- */

static char array_path[1024], mapping_path[1024], weights_path[1024];

static be_status read_array(be_error *error)
{
    be_npy npy = {0};
    be_status status = be_npy_read(array_path, &npy, error);
    be_npy_free(&npy);
    return status;
}

static be_status read_mapping(be_error *error)
{
    be_npy_mapping mapping = {0};
    be_status status = be_npy_read_mapping(mapping_path, &mapping, error);
    be_npy_mapping_free(&mapping);
    return status;
}

static be_status write_array(be_error *error)
{
    const float values[6] = {1, 2, 3, 4, 5, 6};
    return be_npy_write(output, BE_DTYPE_F32, 2, (size_t[]){2, 3}, values, error);
}

static be_status write_mapping(be_error *error)
{
    return be_npy_write_mapping(output, (int64_t[]){0, 1}, (const char *const[]){"Unknown", "V1v"}, 2, error);
}

static const float tensor_values[4] = {1, 2, 3, 4};
static const be_tensor_source tensors[] = {{"a", BE_DTYPE_F32, 1, {4}, tensor_values},
                                           {"b", BE_DTYPE_F32, 2, {2, 2}, tensor_values},
                                           {"c", BE_DTYPE_F32, 1, {4}, NULL}};

static be_status read_values(void *context, size_t index, void *out, be_error *error)
{
    (void)context, (void)index, (void)error;
    memcpy(out, tensor_values, sizeof tensor_values);
    return BE_OK;
}

static be_status write_safetensors(be_error *error)
{
    const be_text_pair metadata[] = {{"format", "pt"}, {"a \"key\"", "value"}};
    return be_safetensors_stream(output, tensors, 3, &(be_tensor_reader){read_values, NULL}, metadata, 2, error);
}

static be_status write_torch(be_error *error)
{
    const be_torch_setting settings[] = {{"lr", {BE_VALUE_FLOAT, {.number = 0.5}}}};
    return be_torch_write(output, tensors, 2, settings, 1, error);
}

static be_status read_safetensors(be_error *error)
{
    be_tensor_file *file = NULL;
    be_status status = be_tensor_file_open(weights_path, &file, error);
    if (status == BE_OK)
        be_tensor_file_close(file);
    return status;
}

static be_status read_config(be_error *error)
{
    size_t heads;
    return be_config_json_size(weights_path, "num_attention_heads", &heads, error);
}

/* A header and a config.json that cannot be parsed for want of memory are not taken for damaged ones. */
static void test_reading_json(void **state)
{
    (void)state;
    snprintf(weights_path, sizeof weights_path, "%s", golden(GOLDEN_BACKBONE));
    fail_each("reading safetensors", read_safetensors, NULL);
    fail_each_in_json("reading safetensors", read_safetensors);
    fail_each_in_json("reading config.json", read_config);
}

static void test_files(void **state)
{
    (void)state;
    snprintf(array_path, sizeof array_path, "%s", golden("corrupt/fortran_order.npy"));
    snprintf(mapping_path, sizeof mapping_path, "%s", golden(GOLDEN_DATA "/roi_masks/mapping_floc-bodies.npy"));
    make_output_folder();
    fail_each("reading .npy", read_array, NULL);
    fail_each("reading a mapping", read_mapping, NULL);
    fail_each_writer("writing .npy", write_array);
    fail_each_writer("writing a mapping", write_mapping);
    fail_each_writer("writing safetensors", write_safetensors);
    fail_each_writer("writing .pth", write_torch);
}

/* --- pictures ----------------------------------------------------------------------------------------------------- */

static unsigned char *picture;
static size_t picture_size;

static be_status decode_and_fit(be_error *error)
{
    static const be_fit fits[] = {BE_FIT_CROP, BE_FIT_STRETCH, BE_FIT_PAD, BE_FIT_NATIVE};
    be_image image = {0};
    be_status status = be_image_decode(picture, picture_size, "picture", BE_DEFAULT_PIXELS, &image, error);
    for (size_t i = 0; i < sizeof fits / sizeof *fits && status == BE_OK; i++) {
        be_image fitted = {0};
        status = be_image_fit(&image, fits[i], 28, &fitted, error);
        be_image_free(&fitted);
    }
    be_image_free(&image);
    return status;
}

static void test_pictures(void **state)
{
    (void)state;
    static const char *const names[] = {"interlaced_83x61.png", "palette_180x140.png", "rgb16_120x90.png",
                                        "jpeg444_101x70.jpg", "cmyk_96x64.jpg"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[96];
        snprintf(path, sizeof path, "preprocess/images/%s", names[i]);
        picture = read_bytes(golden(path), &picture_size);
        fail_each(names[i], decode_and_fit, NULL);
        free(picture);
    }
}

static char stimuli[1024];

/* Two packed pictures of 4 x 4 pixels under a name of their own. */
static void write_hdf5(void)
{
    static const hsize_t shape[4] = {2, 4, 4, 3}, chunk[4] = {1, 4, 4, 3};
    static const uint8_t pixels[2 * 4 * 4 * 3] = {1, 2, 3};
    snprintf(stimuli, sizeof stimuli, "%s", scratch("stimuli.h5"));
    hid_t file = H5Fcreate(stimuli, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), space = H5Screate_simple(4, shape, NULL);
    hid_t properties = H5Pcreate(H5P_DATASET_CREATE);
    assert_true(H5Pset_chunk(properties, 4, chunk) >= 0 && H5Pset_deflate(properties, 6) >= 0);
    hid_t dataset = H5Dcreate2(file, "stimuli", H5T_STD_U8LE, space, H5P_DEFAULT, properties, H5P_DEFAULT);
    assert_true(H5Dwrite(dataset, H5T_NATIVE_UINT8, H5S_ALL, H5S_ALL, H5P_DEFAULT, pixels) >= 0);
    assert_true(H5Dclose(dataset) >= 0 && H5Pclose(properties) >= 0 && H5Sclose(space) >= 0 && H5Fclose(file) >= 0);
}

static be_status read_hdf5(be_error *error)
{
    be_hdf5_images *images;
    be_image image = {0};
    be_status status = be_hdf5_images_open(stimuli, NULL, BE_DEFAULT_PIXELS, &images, error);
    if (status != BE_OK)
        return status;
    status = be_hdf5_images_read(images, 1, &image, error);
    be_image_free(&image);
    be_hdf5_images_close(images);
    return status;
}

static void no_file_is_open(void)
{
    assert_int_equal(H5Fget_obj_count((hid_t)H5F_OBJ_ALL, H5F_OBJ_ALL), 0);
}

static void test_hdf5(void **state)
{
    (void)state;
    write_hdf5();
    fail_each("reading HDF5", read_hdf5, no_file_is_open);
    no_file_is_open();
}

/* --- maps over pictures ------------------------------------------------------------------------------------------- */

static be_status draw_map(be_error *error)
{
    static const float map[4] = {1, 2, 3, 4};
    static uint8_t pixels[28 * 28 * 3];
    be_image image = {.width = 28, .height = 28, .rgb = pixels}, drawn = {0}, both = {0};
    unsigned char *bytes = NULL;
    size_t size;
    be_status status = be_map_overlay(&image, map, 2, 2, 14, &drawn, error);
    if (status == BE_OK)
        status = be_images_beside(&image, &drawn, &both, error);
    if (status == BE_OK)
        status = be_image_encode_png(&both, &bytes, &size, error);
    free(bytes);
    be_image_free(&drawn);
    be_image_free(&both);
    return status;
}

static void test_maps(void **state)
{
    (void)state;
    fail_each("a map over a picture", draw_map, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_files), cmocka_unit_test(test_reading_json),
                                       cmocka_unit_test(test_pictures), cmocka_unit_test(test_hdf5),
                                       cmocka_unit_test(test_maps)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
