#include "server/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/utf8.h"
#include "core/files/json.h"

/* What a client sent may hold anything; a line of the log stays one line. */
static void put_text(char *to, size_t size, const char *from)
{
    snprintf(to, size, "%s", from);
    be_make_printable(to);
}

static void write_json(const log_access_line *line)
{
    char *text;
    be_json json = be_json_begin();
    be_json_text(&json, json.root, "client", line->client);
    be_json_text(&json, json.root, "method", line->method);
    be_json_text(&json, json.root, "path", line->path);
    be_json_number(&json, json.root, "status", line->status);
    be_json_number(&json, json.root, "bytes", (double)line->bytes);
    be_json_number(&json, json.root, "ms", (double)(long long)(line->seconds * 1e6) / 1e3);
    be_json_text(&json, json.root, "id", line->id);
    be_json_flag(&json, json.root, "cut", line->cut);
    if (be_json_print(&json, &text, NULL) != BE_OK)
        return;
    fprintf(stderr, "%s\n", text);
    free(text);
}

void log_access(const log_access_line *line, bool json)
{
    char method[16], path[200];
    if (json) {
        write_json(line);
        return;
    }
    put_text(method, sizeof method, line->method);
    put_text(path, sizeof path, line->path);
    fprintf(stderr, "%s %s %s %u %zu bytes %.1f ms%s%s%s\n", line->client, method, path, line->status, line->bytes,
            1e3 * line->seconds, *line->id ? " " : "", line->id, line->cut ? " (cut)" : "");
}

void log_note(const char *format, ...)
{
    char message[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    be_make_printable(message);
    fprintf(stderr, "brainencd: %s\n", message);
}
