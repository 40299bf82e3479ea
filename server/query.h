/* The query string of a request, resolved against what is served. */
#ifndef BRAINENCD_QUERY_H
#define BRAINENCD_QUERY_H

#include "server/request.h"

enum { MOST_PARAMETERS = 32 };

/* The parameters of a URL, decoded; the texts are owned by the HTTP library for as long as the exchange lasts. */
typedef struct parameters {
    const char *keys[MOST_PARAMETERS], *values[MOST_PARAMETERS]; /* value "" when there is none */
    size_t count;
    bool overflowed;
} parameters;

/* The value of `key`, NULL when it is not there. */
const char *parameter(const parameters *from, const char *key);

/* Whether requests of this kind have a parameter of that name. */
bool query_has_parameter(request_kind kind, const char *name);

/* BE_ERROR_ARGUMENT when there is a parameter that is none of `keys`, which NULL ends, one twice, or too many. */
be_status query_check_keys(const parameters *from, const char *const *keys, be_error *error);

/* The place of a parameter's value in a list of words that NULL ends; 0 when it is not there. BE_ERROR_ARGUMENT names them. */
be_status query_choose(const parameters *from, const char *key, const char *const *words, size_t *place, be_error *error);
/* true or false; false when it is not there. */
be_status query_choose_flag(const parameters *from, const char *key, bool *flag, be_error *error);

/* Fills it->query for it->kind; `accept` is the Accept header or NULL. `id` takes GET /attention's id (NULL: none).
 * BE_ERROR_ARGUMENT names the valid parameters or values, BE_ERROR_NOT_FOUND the known subjects or close ROIs,
 * BE_ERROR_UNSUPPORTED a subject without the maps that are asked for. */
be_status query_read(request *it, const parameters *from, const char *accept, be_fit fit, const char **id, be_error *error);

/* BE_ERROR_UNSUPPORTED with the reason when the predictions of a subject that is asked cannot be given in the space asked for, or
 * with the spread that is. */
be_status query_check_space(const request *it, be_error *error);
be_status query_check_spread(const request *it, be_error *error);

/* BE_ERROR_UNSUPPORTED with the reason when a subject that is asked has no maps. */
be_status query_check_maps(const request *it, be_error *error);

/* The maps that roi= or vertex= names, of it->query.subjects. */
be_status query_select_maps(request *it, const parameters *from, be_error *error);

#endif
