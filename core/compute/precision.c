#include "core/compute/precision.h"

#include <string.h>

static const char *const names[] = {"f32", "bf16", "bf16x3"}; /* in the order of be_precision */

const char *be_precision_name(be_precision precision)
{
    return names[precision];
}

be_status be_precision_parse(const char *name, be_precision *precision, be_error *error)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(name, names[i]) == 0) {
            *precision = (be_precision)i;
            return BE_OK;
        }
    }
    return be_fail(error, BE_ERROR_ARGUMENT, "precision: '%s' is none of f32, bf16, bf16x3", name);
}
