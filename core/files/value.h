/* A plain value out of a pickle or a safetensors header: what Python would call None, bool, int, float, str, bytes,
 * list, tuple, dict, an object with attributes, or a tensor. A tree of values is owned by what it was read from and is
 * freed with it; nothing here is freed one by one. A value may be shared: the tree is a graph, but never a cycle
 * (the reader refuses cycles) and never deeper than BE_VALUE_MAX_DEPTH.
 */
#ifndef BRAINENC_FILES_VALUE_H
#define BRAINENC_FILES_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum be_value_kind {
    BE_VALUE_NONE, BE_VALUE_BOOL, BE_VALUE_INT, BE_VALUE_FLOAT, BE_VALUE_TEXT, BE_VALUE_BYTES,
    BE_VALUE_LIST,   /* list, tuple, set: items in order */
    BE_VALUE_DICT,   /* dict, OrderedDict, and argparse.Namespace as its attributes: pairs in order */
    BE_VALUE_TENSOR, /* `tensor` is its index in the tensor file */
    BE_VALUE_OTHER   /* an allowed object with no plain form (torch.device as text is BE_VALUE_TEXT, not this);
                        also an integer wider than 64 bits */
} be_value_kind;

enum { BE_VALUE_MAX_DEPTH = 64 };

typedef struct be_value be_value;
typedef struct be_value_pair {
    const be_value *key, *value;
} be_value_pair;

struct be_value {
    be_value_kind kind;
    union {
        bool boolean;
        int64_t integer;
        double number;
        struct { const char *bytes; size_t length; } text;  /* TEXT and BYTES; a 0 byte follows; TEXT is UTF-8 */
        struct { const be_value *const *items; size_t count; } list;
        struct { const be_value_pair *pairs; size_t count; } dict;
        size_t tensor;
    } as;
};

/* The value under the text key `key` of a dict; the last one when it is there twice. NULL when `dict` is NULL,
 * no dict, or has no such key. */
const be_value *be_value_get(const be_value *dict, const char *key);

/* The plain readings below answer false (and leave *out alone) when `value` is NULL or of another kind. Text with a
 * 0 byte inside, which is no C string, counts as another kind.
 * Integer: an int, a bool, or a float without a fraction, that fits. Number: an int, float or bool. */
bool be_value_text(const be_value *value, const char **out);
bool be_value_integer(const be_value *value, int64_t *out);
bool be_value_number(const be_value *value, double *out);
bool be_value_boolean(const be_value *value, bool *out);

#endif
