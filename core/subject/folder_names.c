#include "core/subject/folder_names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool be_numbered_name(const char *name, const char *stem, size_t *number)
{
    enum { MOST_DIGITS = 6 };
    size_t length = strlen(stem);
    if (strncmp(name, stem, length) != 0)
        return false;
    const char *digits = name + length;
    size_t n_digits = strspn(digits, "0123456789");
    if (n_digits == 0 || n_digits > MOST_DIGITS || digits[n_digits])
        return false;
    *number = strtoul(digits, NULL, 10);
    return true;
}

static bool is_subject(const char *name, size_t *number)
{
    return be_numbered_name(name, "subj", number) || be_numbered_name(name, "subj_", number);
}

bool be_subject_number(const char *path, size_t *number)
{
    char name[16];
    size_t end = strlen(path);
    while (end > 0 && path[end - 1] == '/')
        end--;
    size_t start = end;
    while (start > 0 && path[start - 1] != '/')
        start--;
    if (end - start >= sizeof name)
        return false;
    snprintf(name, sizeof name, "%.*s", (int)(end - start), path + start);
    return is_subject(name, number);
}

bool be_path_has_subject(const char *path, size_t subject)
{
    for (const char *at = path; *at; at += strspn(at, "/")) {
        char name[16];
        size_t length = strcspn(at, "/"), number;
        if (length < sizeof name) {
            snprintf(name, sizeof name, "%.*s", (int)length, at);
            if (is_subject(name, &number) && number == subject)
                return true;
        }
        at += length;
    }
    return false;
}
