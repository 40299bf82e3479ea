/* The inside of the unpickler: stack, marks, memo, and what its operations are made of. */
#ifndef BRAINENC_FILES_PICKLE_MACHINE_H
#define BRAINENC_FILES_PICKLE_MACHINE_H

#include "core/files/unpickle.h"

typedef struct be_pickle_machine {
    const be_pickle *pickle;
    be_error *error;
    const unsigned char *next, *end;
    size_t operation; /* where the running operation stands, for the error sentences */
    be_object **stack;
    size_t depth, stack_capacity;
    size_t *marks; /* depths; nothing below the last one may be popped */
    size_t n_marks, mark_capacity;
    be_object **memo; /* NULL where nothing was put */
    size_t n_memo, memo_capacity;
} be_pickle_machine;

typedef be_status (*be_pickle_operation)(be_pickle_machine *);

/* The operations of each file; NULL for an opcode that is not among them. */
be_pickle_operation be_pickle_scalar_operation(unsigned char opcode);    /* pickle_scalars.c */
be_pickle_operation be_pickle_line_operation(unsigned char opcode);      /* pickle_lines.c */
be_pickle_operation be_pickle_container_operation(unsigned char opcode); /* pickle_containers.c */

/* BE_ERROR_FORMAT: "NAME: bad pickle: WHAT at byte N". */
be_status be_pickle_fail(const be_pickle_machine *machine, const char *what);

/* --- input --- */
/* The next `size` bytes; `what` is what goes beyond the end when they are not there. */
be_status be_pickle_take(be_pickle_machine *machine, uint64_t size, const char *what, const unsigned char **bytes);
/* An unsigned little-endian number of 1, 2, 4 or 8 bytes. */
be_status be_pickle_number(be_pickle_machine *machine, size_t width, uint64_t *number);
/* The bytes up to the next newline, which is passed. */
be_status be_pickle_line(be_pickle_machine *machine, const unsigned char **line, size_t *length);

/* --- stack --- */
be_status be_pickle_push(be_pickle_machine *machine, be_object *object);
be_status be_pickle_pop(be_pickle_machine *machine, be_object **object);
be_status be_pickle_mark(be_pickle_machine *machine);
/* What lies above the last mark, and the mark, come off. *items is good until the next push. */
be_status be_pickle_pop_mark(be_pickle_machine *machine, be_object ***items, size_t *count);

/* --- objects --- */
/* A new, empty object of a kind. */
be_status be_pickle_object(be_pickle_machine *machine, be_object_kind kind, be_value_kind value, be_object **object);
be_status be_pickle_integer(be_pickle_machine *machine, int64_t integer, be_object **object);
be_status be_pickle_push_integer(be_pickle_machine *machine, int64_t integer);
/* One that is too large for 64 bits, which nothing is computed with: its bytes or digits, copied. */
be_status be_pickle_push_big_integer(be_pickle_machine *machine, const void *bytes, size_t length);
be_status be_pickle_float(be_pickle_machine *machine, double number, be_object **object);
/* TEXT (checked to be UTF-8) or BYTES, copied. */
be_status be_pickle_text(be_pickle_machine *machine, be_value_kind kind, const void *bytes, size_t length,
                         be_object **object);
/* A tuple of the items, which are frozen. */
be_status be_pickle_tuple(be_pickle_machine *machine, be_object *const *items, size_t count, be_object **object);
/* Appends to a list or set, or to a dict; the items are frozen. */
be_status be_pickle_append(be_pickle_machine *machine, be_object *list, be_object *item);
be_status be_pickle_set_item(be_pickle_machine *machine, be_object *dict, be_object *key, be_object *value);
/* The items of `from` become those of `to` as well (a frozen value, shared from now on). */
be_status be_pickle_adopt(be_pickle_machine *machine, be_object *to, be_object *from);

#endif
