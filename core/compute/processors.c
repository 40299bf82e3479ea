#include "core/compute/processors.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_SIZE = 4096, PATH_SIZE = 4096 };

/* The beginning of a small file as text; false when it cannot be read. */
static bool read_text(const char *root, const char *path, char text[TEXT_SIZE])
{
    char whole[2 * PATH_SIZE];
    if (snprintf(whole, sizeof whole, "%s%s", root, path) >= (int)sizeof whole)
        return false;
    FILE *file = fopen(whole, "re");
    if (!file)
        return false;
    size_t length = fread(text, 1, TEXT_SIZE - 1, file);
    text[length] = 0;
    fclose(file);
    return length > 0;
}

/* A number without a sign; *at moves behind it. */
static bool read_number(const char **at, unsigned long *number)
{
    char *end;
    if (**at < '0' || **at > '9')
        return false;
    errno = 0;
    *number = strtoul(*at, &end, 10);
    *at = end;
    return errno == 0;
}

/* --- cores ---------------------------------------------------------------------------------------- */

static bool is_allowed(unsigned long processor, const cpu_set_t *allowed, size_t bytes)
{
    return processor < bytes * CHAR_BIT && CPU_ISSET_S(processor, bytes, allowed);
}

/* The first allowed processor of a list such as "0-1,64" that holds `processor`; the processor itself when it is no such list. */
static size_t first_sibling(const char *list, size_t processor, const cpu_set_t *allowed, size_t bytes)
{
    size_t found = processor;
    bool holds = false;
    for (const char *at = list;; at++) {
        unsigned long first, last;
        if (!read_number(&at, &first))
            return processor;
        last = first;
        if (*at == '-' && (at++, !read_number(&at, &last)))
            return processor;
        holds = holds || (first <= processor && processor <= last);
        for (unsigned long other = first; other <= last && other < found; other++) {
            if (is_allowed(other, allowed, bytes))
                found = other;
        }
        if (*at != ',')
            return holds && (*at == '\n' || !*at) ? found : processor;
    }
}

/* Each core is counted at the first of its threads that is allowed. */
static bool begins_core(const char *root, size_t processor, const cpu_set_t *allowed, size_t bytes)
{
    static const char *const names[] = {"core_cpus_list", "thread_siblings_list"}; /* since Linux 5.3, and before */
    char path[PATH_SIZE], text[TEXT_SIZE];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%zu/topology/%s", processor, names[i]);
        if (read_text(root, path, text))
            return first_sibling(text, processor, allowed, bytes) == processor;
    }
    return true;
}

/* --- the quota ------------------------------------------------------------------------------------ */

/* *least = the whole processors of `quota` in `period` when that is less. */
static void note_quota(unsigned long quota, unsigned long period, size_t *least)
{
    size_t whole = period > 0 ? quota / period : 0;
    if (period > 0 && quota > 0 && (whole > 0 ? whole : 1) < *least)
        *least = whole > 0 ? whole : 1;
}

/* cgroup v2: "QUOTA PERIOD" or "max PERIOD". */
static void read_unified(const char *root, const char *folder, size_t *least)
{
    char path[PATH_SIZE], text[TEXT_SIZE];
    unsigned long quota, period;
    const char *at = text;
    if (snprintf(path, sizeof path, "%s/cpu.max", folder) >= (int)sizeof path || !read_text(root, path, text))
        return;
    if (read_number(&at, &quota) && *at++ == ' ' && read_number(&at, &period))
        note_quota(quota, period, least);
}

/* cgroup v1: a file each; a quota of -1 is none. */
static void read_legacy(const char *root, const char *folder, size_t *least)
{
    static const char *const names[] = {"cpu.cfs_quota_us", "cpu.cfs_period_us"};
    char path[PATH_SIZE], text[TEXT_SIZE];
    unsigned long numbers[2];
    for (int i = 0; i < 2; i++) {
        const char *at = text;
        if (snprintf(path, sizeof path, "%s/%s", folder, names[i]) >= (int)sizeof path || !read_text(root, path, text) ||
            !read_number(&at, &numbers[i]))
            return;
    }
    note_quota(numbers[0], numbers[1], least);
}

/* The group's and those of all above it: each of them holds. In a container only the topmost may be there. */
static void read_upwards(const char *root, const char *mount, const char *group, size_t *least,
                         void (*read)(const char *root, const char *folder, size_t *least))
{
    char folder[PATH_SIZE];
    size_t base = strlen(mount);
    if (snprintf(folder, sizeof folder, "%s%s", mount, group) >= (int)sizeof folder)
        return;
    for (;;) {
        read(root, folder, least);
        char *slash = strrchr(folder + base, '/');
        if (!slash)
            return;
        *slash = 0;
    }
}

static bool names_cpu(const char *controllers)
{
    for (const char *at = controllers; *at; at += strcspn(at, ","), at += *at == ',') {
        if (strcspn(at, ",") == 3 && strncmp(at, "cpu", 3) == 0)
            return true;
    }
    return false;
}

/* The processors that the cgroups of this process grant, rounded down; SIZE_MAX when they say nothing of it. */
static size_t read_quota(const char *root)
{
    size_t least = SIZE_MAX;
    char text[TEXT_SIZE], *rest, *line;
    if (!read_text(root, "/proc/self/cgroup", text))
        return least;
    for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) { /* NUMBER:CONTROLLERS:GROUP */
        char *controllers = strchr(line, ':'), *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group || group[1] != '/')
            continue;
        *group++ = 0;
        controllers++;
        if (!*controllers)
            read_upwards(root, "/sys/fs/cgroup", group, &least, read_unified);
        else if (names_cpu(controllers))
            read_upwards(root, "/sys/fs/cgroup/cpu", group, &least, read_legacy);
    }
    return least;
}

/* --- both ----------------------------------------------------------------------------------------- */

size_t be_processors_in(const char *root, const cpu_set_t *allowed, size_t bytes)
{
    size_t cores = 0, quota = read_quota(root);
    for (size_t processor = 0; processor < bytes * CHAR_BIT; processor++)
        cores += is_allowed(processor, allowed, bytes) && begins_core(root, processor, allowed, bytes);
    cores = cores < quota ? cores : quota;
    return cores > 0 ? cores : 1;
}

size_t be_processors(void)
{
    static const size_t MOST_PROCESSORS = 65536; /* more than any kernel is built for */
    size_t bytes = CPU_ALLOC_SIZE(MOST_PROCESSORS), count = 1;
    cpu_set_t *allowed = CPU_ALLOC(MOST_PROCESSORS);
    if (allowed && sched_getaffinity(0, bytes, allowed) == 0)
        count = be_processors_in("", allowed, bytes);
    CPU_FREE(allowed);
    return count;
}
