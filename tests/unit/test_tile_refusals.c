/* What AMX refuses, the emulation of its instructions does; the tiles of threads; how a program ends; and that the products which
 * ship release their tiles. */
#if defined(__x86_64__)

#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/memory.h"
#include "core/compute/matrix.h"
#include "tests/unit/tile_support.h"

CODE(load_3, "tileloadd (%%rax,%%rcx,1), %%tmm3")
CODE(load_4, "tileloadd (%%rax,%%rcx,1), %%tmm4")
CODE(store_3, "tilestored %%tmm3, (%%rax,%%rcx,1)")
CODE(store_4, "tilestored %%tmm4, (%%rax,%%rcx,1)")
CODE(zero_0, "tilezero %%tmm0")
CODE(zero_3, "tilezero %%tmm3")
CODE(load_configuration, "ldtilecfg (%%rax)")

/* --- refusals ----------------------------------------------------------------------------------------------------- */

/* Code the assembler refuses too: an operand in VEX.vvvv, tile 8 in each place, a tile twice, no SIB byte. */
CODE(configure_with_operand, ".byte 0xc4, 0xe2, 0x70, 0x49, 0x00")
CODE(release_with_operand, ".byte 0xc4, 0xe2, 0x70, 0x49, 0xc0")
CODE(zero_with_operand, ".byte 0xc4, 0xe2, 0x73, 0x49, 0xc0")
CODE(load_with_operand, ".byte 0xc4, 0xe2, 0x73, 0x4b, 0x04, 0x08")
CODE(zero_8, ".byte 0xc4, 0x62, 0x7b, 0x49, 0xc0")
CODE(load_8, ".byte 0xc4, 0x62, 0x7b, 0x4b, 0x04, 0x08")
CODE(store_8, ".byte 0xc4, 0x62, 0x7a, 0x4b, 0x04, 0x08")
CODE(multiply_into_8, ".byte 0xc4, 0x62, 0x6a, 0x5c, 0xc1")
CODE(multiply_9, ".byte 0xc4, 0xc2, 0x6a, 0x5c, 0xc1")
CODE(multiply_by_10, ".byte 0xc4, 0xe2, 0x2a, 0x5c, 0xc1")
CODE(multiply_own_rows, ".byte 0xc4, 0xe2, 0x6a, 0x5c, 0xc0")
CODE(multiply_own_columns, ".byte 0xc4, 0xe2, 0x7a, 0x5c, 0xc1")
CODE(multiply_square, ".byte 0xc4, 0xe2, 0x72, 0x5c, 0xc1")
CODE(load_without_sib, ".byte 0xc4, 0xe2, 0x7b, 0x4b, 0x00")
CODE(store_without_sib, ".byte 0xc4, 0xe2, 0x7a, 0x4b, 0x00")

/* NULL: nothing was refused. */
static void assert_sentence(const char *found, const char *wanted)
{
    if (wanted && found)
        assert_string_equal(found, wanted);
    else if (wanted || found)
        fail_msg("%s, expected: %s", found ? found : "done", wanted ? wanted : "done");
}

static void assert_refused(const configuration *configured, void (*run)(void *), void *place, const char *wanted)
{
    release();
    if (configured)
        configure(configured);
    assert_sentence(refused_tile_instruction(run, place), wanted);
    release();
}

static void test_refused_tiles(void **state)
{
    (void)state;
    static const struct { void (*run)(void *); const char *sentence; } rows[] = {
        {configure_with_operand, "VEX.vvvv names an operand where there is none"},
        {release_with_operand, "VEX.vvvv names an operand where there is none"},
        {zero_with_operand, "VEX.vvvv names an operand where there is none"},
        {load_with_operand, "VEX.vvvv names an operand where there is none"},
        {zero_8, "the tiles are 0 to 7"}, {load_8, "the tiles are 0 to 7"}, {store_8, "the tiles are 0 to 7"},
        {multiply_into_8, "the tiles are 0 to 7"}, {multiply_9, "the tiles are 0 to 7"}, {multiply_by_10, "the tiles are 0 to 7"},
        {multiply_own_rows, "two of a product's three tiles are one"},
        {multiply_own_columns, "two of a product's three tiles are one"},
        {multiply_square, "two of a product's three tiles are one"},
        {load_without_sib, "the address of a tile in memory has no SIB byte"},
        {store_without_sib, "the address of a tile in memory has no SIB byte"},
        {zero_3, "a tile has no size in the configuration"}, {load_3, "a tile has no size in the configuration"},
        {store_3, "a tile has no size in the configuration"},
        {load_4, "a tile's row is no whole number of 4 bytes"}, {store_4, "a tile's row is no whole number of 4 bytes"},
        {zero_0, NULL}, {load_0, NULL}, {store_0, NULL}, {multiply, NULL},
    };
    if (find_tiles() != EMULATED)
        skip();
    area place = make_area(0), before = place;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_refused(&small, rows[i].run, &place, rows[i].sentence);
    assert_rows(&place, &(area){0}, 0, 2, 12, &before); /* what store_0 wrote, and no other did */
}

static void test_refused_without_configuration(void **state)
{
    (void)state;
    static void (*const runs[])(void *) = {zero_0, load_0, load_5_once, store_0, multiply};
    if (find_tiles() != EMULATED)
        skip();
    area place = make_area(0), before = place;
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        assert_refused(NULL, runs[i], &place, "no tiles are configured");
        assert_refused(&small, runs[i], &place, NULL);
        configure(&small);
        configure(&(configuration){.palette = 0, .start_row = 9, .reserved = {9}}); /* palette 0: the rest is not looked at */
        assert_sentence(refused_tile_instruction(runs[i], &place), "no tiles are configured");
    }
    assert_memory_equal(place.bytes[2], before.bytes[2], sizeof place - 128);
}

static void test_refused_start_row(void **state)
{
    (void)state;
    if (find_tiles() != EMULATED)
        skip();
    area place = make_area(0);
    configuration late = small;
    late.start_row = 2;
    assert_refused(&late, load_0, &place, "start_row is not one of the tile's rows");
    assert_refused(&late, store_0, &place, "start_row is not one of the tile's rows");
    assert_refused(&late, zero_0, &place, NULL);
    late.start_row = 1;
    assert_refused(&late, load_0, &place, NULL);
}

static void test_refused_sizes_of_products(void **state)
{
    (void)state;
    static const struct { int tile; uint8_t rows; uint16_t row_bytes; const char *sentence; } rows[] = {
        {0, 3, 12, "the sums have not the rows of the first factor"}, {1, 1, 16, "the sums have not the rows of the first factor"},
        {0, 2, 16, "the sums have not the columns of the second factor"},
        {2, 4, 8, "the sums have not the columns of the second factor"},
        {1, 2, 20, "the second factor has not a row for each pair of the first"},
        {2, 3, 12, "the second factor has not a row for each pair of the first"},
        {0, 2, 13, "a tile's row is no whole number of 4 bytes"}, {1, 2, 18, "a tile's row is no whole number of 4 bytes"},
        {2, 4, 14, "a tile's row is no whole number of 4 bytes"}, {0, 0, 0, "a tile has no size in the configuration"},
        {1, 0, 0, "a tile has no size in the configuration"}, {2, 0, 0, "a tile has no size in the configuration"},
    };
    if (find_tiles() != EMULATED)
        skip();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        configuration other = small;
        other.rows[rows[i].tile] = rows[i].rows, other.row_bytes[rows[i].tile] = rows[i].row_bytes;
        assert_refused(&other, multiply, NULL, rows[i].sentence);
    }
}

/* Every byte that is reserved, every tile's sizes; and then nothing has changed. */
static void test_refused_configurations(void **state)
{
    (void)state;
    static const char reserved[] = "a reserved byte of the configuration is not 0", wide[] = "a tile's row has more than 64 bytes",
                      high[] = "a tile has more than 16 rows", half[] = "a tile has rows without bytes or bytes without rows";
    if (find_tiles() != EMULATED)
        skip();
    for (size_t byte = 2; byte < sizeof(configuration); byte++) {
        if ((byte >= 16 && byte < 32) || (byte >= 48 && byte < 56))
            continue;
        uint8_t bytes[sizeof small];
        memcpy(bytes, &small, sizeof bytes);
        bytes[byte] = 1;
        assert_refused(NULL, load_configuration, bytes, reserved);
    }
    for (size_t tile = 0; tile < 8; tile++) {
        configuration other = small;
        other.row_bytes[tile] = 65, other.rows[tile] = 1;
        assert_refused(NULL, load_configuration, &other, wide);
        other.row_bytes[tile] = 0x100 + 64;
        assert_refused(NULL, load_configuration, &other, wide);
        other.row_bytes[tile] = 64, other.rows[tile] = 17;
        assert_refused(NULL, load_configuration, &other, high);
        other.row_bytes[tile] = 4, other.rows[tile] = 0;
        assert_refused(NULL, load_configuration, &other, half);
        other.row_bytes[tile] = 0, other.rows[tile] = 4;
        assert_refused(NULL, load_configuration, &other, half);
    }
    configuration other = small;
    other.palette = 2;
    area from = make_area(1), before = make_area(90), to = before;
    configure(&small);
    load_0(&from);
    assert_sentence(refused_tile_instruction(load_configuration, &other), "the palettes are 0 and 1");
    store_0(&to);
    assert_rows(&to, &from, 0, 2, 12, &before);
    release();
}

/* --- threads and the end of the program --------------------------------------------------------------------------- */

static void *use_tile_0(void *sentence)
{
    *(const char **)sentence = refused_tile_instruction(zero_0, NULL);
    configure(&small);
    zero_0(NULL);
    release();
    return NULL;
}

static void test_a_thread_has_tiles_of_its_own(void **state)
{
    (void)state;
    if (find_tiles() != EMULATED)
        skip();
    area from = make_area(1), before = make_area(90), to = before;
    const char *sentence = NULL;
    pthread_t thread;
    configure(&small);
    load_0(&from);
    assert_int_equal(pthread_create(&thread, NULL, use_tile_0, &sentence), 0);
    pthread_join(thread, NULL);
    assert_sentence(sentence, "no tiles are configured");
    store_0(&to);
    assert_rows(&to, &from, 0, 2, 12, &before);
    release();
}

CODE(unknown, "ud2")

/* A process of its own ends by SIGILL, having said `wanted`. */
static void assert_ends(void (*run)(void *), const char *wanted)
{
    int ends[2], status;
    char said[200] = "";
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        dup2(ends[1], STDERR_FILENO);
        run(NULL);
        _exit(0);
    }
    close(ends[1]);
    for (size_t at = 0; at + 1 < sizeof said;) {
        ssize_t count = read(ends[0], said + at, sizeof said - 1 - at);
        if (count <= 0)
            break;
        at += (size_t)count;
    }
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGILL);
    assert_string_equal(said, wanted);
}

static void test_the_program_ends(void **state)
{
    (void)state;
    if (find_tiles() != EMULATED)
        skip();
    assert_ends(zero_0, "tilezero: no tiles are configured\n");
    assert_ends(multiply, "tdpbf16ps: no tiles are configured\n");
    assert_ends(unknown, "");
}

/* --- what ships --------------------------------------------------------------------------------------------------- */

/* Nothing is left configured: a thread that goes on to other work saves no tiles. */
static void test_products_release_the_tiles(void **state)
{
    (void)state;
    if (find_tiles() != EMULATED)
        skip();
    const be_isa isa = {"amx", &be_kernels_avx512, &be_tiles_amx, BE_PRECISION_BF16};
    const float in[2] = {3, 5}, weight[2] = {7, 11};
    float out = 0;
    be_error error;
    be_arena arena;
    be_matrix matrix;
    be_activations made;
    void *memory;
    size_t bytes;
    assert_true(be_matrix_bytes(BE_PRECISION_BF16, 1, 2, &bytes));
    assert_ok(be_allocate_aligned(&memory, bytes, 1, "a test", &error), &error);
    assert_ok(be_arena_create(&arena, 1 << 16, "a test", &error), &error);
    be_matrix_pack(&matrix, &isa, BE_PRECISION_BF16, weight, 1, 2, memory);
    be_activations_round(&made, &isa, BE_PRECISION_BF16, in, 2, 1, 2, 1, &arena);
    configure(&small);
    be_matrix_multiply(&isa, &(be_matrix_product){.in = &made, .weight = &matrix, .out = &out, .out_stride = 1}, &arena);
    assert_true(out == 3 * 7 + 5 * 11);
    assert_sentence(refused_tile_instruction(zero_0, NULL), "no tiles are configured");
    be_arena_destroy(&arena);
    free(memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused_tiles), cmocka_unit_test(test_refused_without_configuration),
        cmocka_unit_test(test_refused_start_row), cmocka_unit_test(test_refused_sizes_of_products),
        cmocka_unit_test(test_refused_configurations), cmocka_unit_test(test_a_thread_has_tiles_of_its_own),
        cmocka_unit_test(test_the_program_ends), cmocka_unit_test(test_products_release_the_tiles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
#else
#include "tests/unit/support.h"

int main(void)
{
    print_message("test_tile_refusals is left out: this is no x86-64\n");
    return 0;
}
#endif
