/* The restricted unpickler: what it refuses, and how it says so. */
#include "tests/unit/files_pickle.h"

#include <stdio.h>

static void test_other_globals_are_refused_by_name(void **state)
{
    (void)state;
    static const char *const names[] = {
        "os system", "posix system", "builtins eval", "builtins exec", "__builtin__ eval", "builtins getattr",
        "subprocess Popen", "torch load", "torch.hub load", "torch FloatTensor", "torch.jit load", "numpy load",
        "numpy.core.multiarray fromfile", "collections Counter", "collections defaultdict", "functools partial",
        "torch._utils _rebuild_tensor_v3", "torch._utils _rebuild_device_tensor_from_numpy", "operator attrgetter",
        "importlib import_module", "pathlib os", "_codecs decode", "codecs encode", "argparse ArgumentParser",
        "copyreg _reconstructor", "torch.storage _load_from_bytes", "torch.nn.parameter Parameter",
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char pickle[160], part[200];
        int module = (int)strcspn(names[i], " ");
        snprintf(part, sizeof part, "refuses the global %.*s.%s, which is not on the list", module, names[i],
                 names[i] + module + 1);
        int size = snprintf(pickle, sizeof pickle, "c%.*s\n%s\n)R.", module, names[i], names[i] + module + 1);
        assert_refused(plain_pickle_file(pickle, (size_t)size), BE_ERROR_FORMAT, part);
        size = snprintf(pickle, sizeof pickle, "\x8c%c%.*s\x8c%c%s\x93)R.", module, module, names[i],
                        (int)strlen(names[i] + module + 1), names[i] + module + 1);
        assert_refused(plain_pickle_file(pickle, (size_t)size), BE_ERROR_FORMAT, part);
    }
    assert_refused(PICKLE("cos\xff\nsystem\n."), BE_ERROR_FORMAT, "a global whose name is no text");
    assert_refused(PICKLE("K\1K\2\x93."), BE_ERROR_FORMAT, "a global whose name is no text");
    assert_refused(PICKLE("cos\nsystem"), BE_ERROR_FORMAT, "a line without end");
}

static void test_operations_no_checkpoint_needs_are_refused(void **state)
{
    (void)state;
    static const unsigned char operations[] = {'i', 'o', 'P', 0x82, 0x83, 0x84, 0x92, 0x97, 0x98, 0xff, 0, 'z'};
    for (size_t i = 0; i < sizeof operations; i++) {
        char pickle[] = {'N', (char)operations[i], '.'}, part[64];
        snprintf(part, sizeof part, "unknown operation 0x%02x at byte 1", operations[i]);
        assert_refused(plain_pickle_file(pickle, sizeof pickle), BE_ERROR_FORMAT, part);
    }
}

static void test_bad_pickles_are_refused(void **state)
{
    (void)state;
    assert_refused(PICKLE("\x80\x06N."), BE_ERROR_FORMAT, "an unknown protocol");
    assert_refused(PICKLE("\x95\0\1\0\0\0\0\0\0N."), BE_ERROR_FORMAT, "a frame that goes beyond the end");
    assert_refused(PICKLE("."), BE_ERROR_FORMAT, "STOP too early");
    assert_refused(PICKLE("NN."), BE_ERROR_FORMAT, "STOP too early");
    assert_refused(PICKLE("N(."), BE_ERROR_FORMAT, "STOP too early");
    assert_refused(PICKLE("N(a."), BE_ERROR_FORMAT, "nothing on the stack");
    assert_refused(PICKLE("](K\1a."), BE_ERROR_FORMAT, "nothing on the stack");
    assert_refused(PICKLE("]K\1e."), BE_ERROR_FORMAT, "no mark on the stack");
    assert_refused(PICKLE(")K\1a."), BE_ERROR_FORMAT, "items for something that does not take them");
    assert_refused(PICKLE("]K\1K\1s."), BE_ERROR_FORMAT, "items for something that does not take them");
    assert_refused(PICKLE("}(K\1u."), BE_ERROR_FORMAT, "a key without a value");
    assert_refused(PICKLE("}]K\1s."), BE_ERROR_FORMAT, "a dict key that is no plain value");
    assert_refused(PICKLE("h\0."), BE_ERROR_FORMAT, "a memo that was not put");
    assert_refused(PICKLE("Nq\0" "0h\1."), BE_ERROR_FORMAT, "a memo that was not put");
    assert_refused(PICKLE("Nr\xff\xff\xff\xff."), BE_ERROR_FORMAT, "a memo that leaps ahead");
    assert_refused(PICKLE("Np18446744073709551615\n."), BE_ERROR_FORMAT, "a memo that is no number");
    assert_refused(PICKLE("(q\0N."), BE_ERROR_FORMAT, "nothing on the stack");
    assert_refused(PICKLE("K\1)R."), BE_ERROR_FORMAT, "a call of something that is no global");
    assert_refused(PICKLE("ccollections\nOrderedDict\nK\1R."), BE_ERROR_FORMAT, "a call of something");
    assert_refused(PICKLE("K\1K\1b."), BE_ERROR_FORMAT, "a state for something that has none");
    assert_refused(PICKLE("cargparse\nNamespace\n)RK\1b."), BE_ERROR_FORMAT, "a Namespace whose state is no dict");
    assert_refused(PICKLE("cargparse\nNamespace\nK\1\x85R."), BE_ERROR_FORMAT, "argparse.Namespace");
    assert_refused(PICKLE("ccollections\nOrderedDict\nK\1\x85R."), BE_ERROR_FORMAT, "collections.OrderedDict");
    assert_refused(PICKLE("ctorch\nFloatStorage\n)R."), BE_ERROR_FORMAT, "a call of the global torch.FloatStorage");
    assert_refused(PICKLE("cpathlib\nPosixPath\nK\1\x85R."), BE_ERROR_FORMAT, "pathlib.PosixPath");
    assert_refused(PICKLE("c_codecs\nencode\nX\1\0\0\0aX\6\0\0\0base64\x86R."), BE_ERROR_FORMAT, "_codecs.encode");
    assert_refused(PICKLE("c_codecs\nencode\nX\3\0\0\0\xe2\x82\xacX\6\0\0\0latin1\x86R."), BE_ERROR_FORMAT, "Latin-1");
    assert_refused(PICKLE("X\1\0\0\0\xff."), BE_ERROR_FORMAT, "no UTF-8");
    assert_refused(PICKLE("V\\ud800\n."), BE_ERROR_FORMAT, "no UTF-8");
    assert_refused(PICKLE("V\\u12\n."), BE_ERROR_FORMAT, "not written as Python does");
    assert_refused(PICKLE("S'abc\n."), BE_ERROR_FORMAT, "not written as Python does");
    assert_refused(PICKLE("S'\\'\n."), BE_ERROR_FORMAT, "not written as Python does");
    assert_refused(PICKLE("S'\n."), BE_ERROR_FORMAT, "not written as Python does");
    assert_refused(PICKLE("I1x\n."), BE_ERROR_FORMAT, "no integer");
    assert_refused(PICKLE("I\n."), BE_ERROR_FORMAT, "no number");
    assert_refused(PICKLE("F1.5x\n."), BE_ERROR_FORMAT, "no number");
    assert_refused(PICKLE("\x8b\xff\xff\xff\xff."), BE_ERROR_FORMAT,
                   "an integer of 4294967295 bytes at byte 0 goes beyond");
    assert_refused(PICKLE("\x8e\xff\xff\xff\xff\xff\xff\xff\xff."), BE_ERROR_FORMAT,
                   "a string of 18446744073709551615");
}

static void test_cycles_are_refused(void **state)
{
    (void)state;
    assert_refused(PICKLE("]q\0h\0a."), BE_ERROR_FORMAT, "a cycle?");
    assert_refused(PICKLE("]q\0]q\1h\0ah\1a."), BE_ERROR_FORMAT, "a cycle?");
    assert_refused(PICKLE("]q\0h\0\x85" "0h\0K\1a."), BE_ERROR_FORMAT, "a cycle?");
    assert_refused(PICKLE("}q\0X\1\0\0\0ah\0s."), BE_ERROR_FORMAT, "a cycle?");
    assert_refused(PICKLE("cargparse\nNamespace\n)Rq\0}X\1\0\0\0ah\0sb."), BE_ERROR_FORMAT, "a cycle?");
    assert_refused(PICKLE("cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85" "C\1b\x87Rq\0(K\1K\1\x85"
                          "cnumpy\ndtype\nX\2\0\0\0O8\x89\x88\x87R\x89](h\0etb."),
                   BE_ERROR_FORMAT, "a cycle?");
}

/* 64 lists in each other are allowed, 65 are not. */
static void test_depth_is_limited(void **state)
{
    (void)state;
    for (size_t depth = BE_VALUE_MAX_DEPTH; depth <= BE_VALUE_MAX_DEPTH + 1; depth++) {
        char pickle[4 * BE_VALUE_MAX_DEPTH];
        memset(pickle, ']', depth);
        memset(pickle + depth, 'a', depth - 1);
        pickle[2 * depth - 1] = '.';
        const char *path = plain_pickle_file(pickle, 2 * depth);
        if (depth == BE_VALUE_MAX_DEPTH)
            be_tensor_file_close(open_good(path));
        else
            assert_refused(path, BE_ERROR_FORMAT, "nested deeper than 64 levels");
    }
}

/* Sixty lists, each of which holds the one before it ten times: 10^60 ways to the innermost one. */
static void test_shared_lists_do_not_multiply(void **state)
{
    (void)state;
    char pickle[2048];
    size_t size = 0;
    pickle[size++] = ')';
    for (int level = 0; level < 60; level++) {
        int memo = level % 250;
        size += (size_t)sprintf(pickle + size, "q%c", memo);
        pickle[size++] = '0';
        pickle[size++] = '(';
        for (int i = 0; i < 10; i++) {
            pickle[size++] = 'h';
            pickle[size++] = (char)memo;
        }
        pickle[size++] = 't';
    }
    pickle[size++] = '.';
    assert_refused(plain_pickle_file(pickle, size), BE_ERROR_LIMIT, "shared too often");
}

static void test_legacy_frames_are_checked(void **state)
{
    (void)state;
    assert_refused(scratch_bytes("bare", "\x80\x02}.", 4), BE_ERROR_FORMAT, "without torch's magic number");
    assert_refused(scratch_bytes("one", "\x80", 1), BE_ERROR_FORMAT, "bad pickle");
    unsigned char bytes[128];
    memcpy(bytes, legacy_start, legacy_start_size);
    memcpy(bytes + legacy_start_size, "N.].", 5);
    be_tensor_file_close(open_good(scratch_bytes("good", bytes, legacy_start_size + 4)));
    bytes[18]++;
    assert_refused(scratch_bytes("protocol", bytes, legacy_start_size + 4), BE_ERROR_FORMAT,
                   "its protocol is not 1001");
    bytes[18]--;
    bytes[legacy_start_size - 3] = 0x89;
    assert_refused(scratch_bytes("endian", bytes, legacy_start_size + 4), BE_ERROR_UNSUPPORTED,
                   "big-endian byte order");
    bytes[legacy_start_size - 4] = 'x';
    assert_refused(scratch_bytes("silent", bytes, legacy_start_size + 4), BE_ERROR_FORMAT,
                   "does not say its byte order");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_other_globals_are_refused_by_name),
        cmocka_unit_test(test_operations_no_checkpoint_needs_are_refused),
        cmocka_unit_test(test_bad_pickles_are_refused),
        cmocka_unit_test(test_cycles_are_refused),
        cmocka_unit_test(test_depth_is_limited),
        cmocka_unit_test(test_shared_lists_do_not_multiply),
        cmocka_unit_test(test_legacy_frames_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
