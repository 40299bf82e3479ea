#include "core/base/error.h"

#include <stdarg.h>
#include <stdio.h>

#include "core/base/utf8.h"

be_status be_fail(be_error *error, be_status status, const char *format, ...)
{
    if (!error)
        return status;
    error->status = status;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
    be_make_printable(error->message);
    return status;
}

be_status be_fail_memory(be_error *error, size_t bytes, const char *what)
{
    return be_fail(error, BE_ERROR_MEMORY, "out of memory: %zu bytes for %s", bytes, what);
}

const char *be_status_name(be_status status)
{
    switch (status) {
    case BE_OK: return "ok";
    case BE_ERROR_ARGUMENT: return "argument";
    case BE_ERROR_NOT_FOUND: return "not_found";
    case BE_ERROR_IO: return "io";
    case BE_ERROR_FORMAT: return "format";
    case BE_ERROR_UNSUPPORTED: return "unsupported";
    case BE_ERROR_LIMIT: return "limit";
    case BE_ERROR_MEMORY: return "memory";
    }
    return "unknown";
}
