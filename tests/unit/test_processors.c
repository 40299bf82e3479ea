/* How many threads a process gets processors for, on machines made of files: threads of one core, nodes, quotas, nonsense. */
#include "tests/unit/support.h"

#include <stdio.h>
#include <sys/stat.h>

#include "core/compute/processors.h"

enum { MOST = 4096 };

static char root[512];

/* A machine of which nothing is told. */
static void begin_machine(void)
{
    static int number;
    char name[32];
    snprintf(name, sizeof name, "machine%d", number++);
    snprintf(root, sizeof root, "%s", scratch(name));
    assert_int_equal(mkdir(root, 0700), 0);
}

/* A file below the root, with the folders above it. */
static void tell(const char *path, const char *text)
{
    char whole[1024];
    int length = snprintf(whole, sizeof whole, "%s", root);
    for (const char *at = path; *at; at++) {
        if (*at == '/')
            mkdir(whole, 0700);
        whole[length++] = *at;
        whole[length] = 0;
    }
    write_bytes(whole, text, strlen(text));
}

static void tell_siblings(int processor, const char *name, const char *list)
{
    char path[256];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/%s", processor, name);
    tell(path, list);
}

/* `allowed` as a list of ranges, each two numbers; ends with -1. */
static size_t count_in(const int *allowed)
{
    static cpu_set_t set[MOST / CPU_SETSIZE];
    CPU_ZERO_S(sizeof set, set);
    for (; allowed[0] >= 0; allowed += 2) {
        for (int i = allowed[0]; i <= allowed[1]; i++)
            CPU_SET_S((size_t)i, sizeof set, set);
    }
    return be_processors_in(root, set, sizeof set);
}
#define COUNT(...) count_in((const int[]){__VA_ARGS__, -1})

static void test_nothing_is_told(void **state)
{
    (void)state;
    begin_machine();
    assert_int_equal(COUNT(0, 3), 4);
    assert_int_equal(COUNT(0, 0, 7, 9, 2000, 2000, MOST - 1, MOST - 1), 6);
    assert_int_equal(COUNT(-1, -1), 1);
}

/* Two nodes of four cores of two threads: 0-3 and 8-11 on the first, 4-7 and 12-15 on the second; i and i + 8 are one core. */
static void test_threads_of_a_core_count_once(void **state)
{
    (void)state;
    static const char *const names[] = {"core_cpus_list", "thread_siblings_list"};
    for (int n = 0; n < 2; n++) {
        begin_machine();
        for (int i = 0; i < 16; i++) {
            char list[32];
            snprintf(list, sizeof list, "%d,%d\n", i % 8, i % 8 + 8);
            tell_siblings(i, names[n], list);
        }
        assert_int_equal(COUNT(0, 15), 8);
        assert_int_equal(COUNT(0, 7), 8);
        assert_int_equal(COUNT(8, 15), 8);
        assert_int_equal(COUNT(0, 3, 8, 11), 4); /* one node */
        assert_int_equal(COUNT(2, 4, 11, 12), 3); /* parts of both: 2, 3 with 11, 4 with 12 */
        assert_int_equal(COUNT(5, 5, 13, 13), 1);
        assert_int_equal(COUNT(13, 13), 1);
    }
}

/* Threads next to each other, four a core; the third core's last two are switched off, so that no mask holds them. */
static void test_ranges_and_processors_that_are_off(void **state)
{
    (void)state;
    begin_machine();
    for (int i = 0; i < 10; i++) {
        char list[32];
        snprintf(list, sizeof list, "%d-%d\n", i / 4 * 4, i < 8 ? i / 4 * 4 + 3 : 9);
        tell_siblings(i, "core_cpus_list", list);
        tell_siblings(i, "thread_siblings_list", "0-9\n"); /* the newer name counts */
    }
    assert_int_equal(COUNT(0, 9), 3);
    assert_int_equal(COUNT(3, 4), 2);
    assert_int_equal(COUNT(1, 3, 9, 9), 2);
}

static void test_nonsense_about_cores(void **state)
{
    (void)state;
    static const char *const lists[] = {"", "\n", "none", "1-", "-1", "0x1", "7\n", "0-2,", "99999999999999999999-1\n", "2-0\n",
                                        "0,1 2\n", "1\n"};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        begin_machine();
        for (int p = 1; p < 3; p++)
            tell_siblings(p, "core_cpus_list", lists[i]);
        assert_int_equal(COUNT(0, 2), 3);
    }
    begin_machine();
    tell_siblings(2, "core_cpus_list", "0-4294967295\n"); /* it is a list that holds 2 */
    assert_int_equal(COUNT(0, 3), 3);
}

static void test_a_quota(void **state)
{
    (void)state;
    static const struct { const char *text; size_t count; } cases[] = {
        {"max 100000\n", 8}, {"400000 100000\n", 4}, {"450000 100000\n", 4}, {"50000 100000\n", 1}, {"9900000 100000\n", 8},
        {"200000 50000", 4},
        {"0 100000\n", 8}, {"300000 0\n", 8}, {"300000\n", 8}, {"300000 -1\n", 8}, {"-1 100000\n", 8}, {"", 8}, {"abc\n", 8},
        {"99999999999999999999999 1\n", 8},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        begin_machine();
        tell("/proc/self/cgroup", "0::/\n");
        tell("/sys/fs/cgroup/cpu.max", cases[i].text);
        assert_int_equal(COUNT(0, 7), cases[i].count);
    }
}

/* Each group above holds too, and what is not there says nothing. */
static void test_quotas_above(void **state)
{
    (void)state;
    begin_machine();
    tell("/proc/self/cgroup", "0::/a/b/c\n");
    tell("/sys/fs/cgroup/a/b/c/cpu.max", "600000 100000\n");
    assert_int_equal(COUNT(0, 7), 6);
    tell("/sys/fs/cgroup/a/cpu.max", "300000 100000\n");
    assert_int_equal(COUNT(0, 7), 3);
    tell("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
    assert_int_equal(COUNT(0, 7), 3);
    assert_int_equal(COUNT(0, 1), 2);
    tell("/sys/fs/cgroup/cpu.max", "100000 100000\n");
    assert_int_equal(COUNT(0, 7), 1);
}

static void test_quotas_of_old_kernels(void **state)
{
    (void)state;
    static const char groups[] = "12:cpuset:/other\n7:cpu,cpuacct:/docker/x\n1:name=systemd:/docker/x\n0::/unified\n";
    static const struct { const char *quota, *period; size_t count; } cases[] = {
        {"250000\n", "100000\n", 2}, {"-1\n", "100000\n", 8}, {"250000\n", "0\n", 8}, {"250000\n", "", 8}, {"x\n", "100000\n", 8},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        static const char *const folders[] = {"/sys/fs/cgroup/cpu/docker/x", "/sys/fs/cgroup/cpu"};
        for (size_t f = 0; f < 2; f++) { /* in a container the group's own folder is not there */
            char path[128];
            begin_machine();
            tell("/proc/self/cgroup", groups);
            snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", folders[f]);
            tell(path, cases[i].quota);
            snprintf(path, sizeof path, "%s/cpu.cfs_period_us", folders[f]);
            tell(path, cases[i].period);
            assert_int_equal(COUNT(0, 7), cases[i].count);
        }
    }
}

static void test_nonsense_about_groups(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "0", "0:", "0::", "0::relative\n", "::::\n", "no colon\n", "3:cpuset:/\n", "3:cpu\n"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        begin_machine();
        tell("/proc/self/cgroup", texts[i]);
        tell("/sys/fs/cgroup/cpu.max", "100000 100000\n");
        tell("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "100000\n");
        tell("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
        assert_int_equal(COUNT(0, 3), 4);
    }
    begin_machine();
    static char deep[9000];
    size_t length = (size_t)snprintf(deep, sizeof deep, "0::");
    while (length < sizeof deep - 8)
        length += (size_t)snprintf(deep + length, sizeof deep - length, "/deep");
    tell("/proc/self/cgroup", deep);
    assert_int_equal(COUNT(0, 3), 4);
}

/* This machine, whatever it is: never more threads than the mask has processors. */
static void test_this_process(void **state)
{
    (void)state;
    cpu_set_t before, one;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    assert_in_range(be_processors(), 1, (size_t)CPU_COUNT(&before));
    CPU_ZERO(&one);
    for (size_t i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++) {
        if (CPU_ISSET(i, &before))
            CPU_SET(i, &one);
    }
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    assert_int_equal(be_processors(), 1);
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_told), cmocka_unit_test(test_threads_of_a_core_count_once),
        cmocka_unit_test(test_ranges_and_processors_that_are_off), cmocka_unit_test(test_nonsense_about_cores),
        cmocka_unit_test(test_a_quota), cmocka_unit_test(test_quotas_above), cmocka_unit_test(test_quotas_of_old_kernels),
        cmocka_unit_test(test_nonsense_about_groups), cmocka_unit_test(test_this_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
