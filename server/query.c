#include "server/query.h"

#include <stdio.h>
#include <string.h>

#include "core/answer/gifti.h"

const char *parameter(const parameters *from, const char *key)
{
    for (size_t i = 0; i < from->count; i++) {
        if (strcmp(from->keys[i], key) == 0)
            return from->values[i];
    }
    return NULL;
}

/* --- which parameters there are ------------------------------------------------------------------- */

static const char *const predict_keys[] = {"subject", "rois", "output", "attention", "spread", "quality", "fit", "space",
                                           "format", "hemi", NULL};
static const char *const attention_keys[] = {"roi", "vertex", "subject", "hemi", "heads", "format", "fit", NULL};
static const char *const held_keys[] = {"roi", "vertex", "id", "subject", "hemi", "heads", "format", NULL};

static const char *const *keys_of(request_kind kind)
{
    return kind == REQUEST_PREDICT ? predict_keys : kind == REQUEST_ATTENTION ? attention_keys : held_keys;
}

static bool is_among(const char *const *keys, const char *name)
{
    for (; *keys; keys++) {
        if (strcmp(*keys, name) == 0)
            return true;
    }
    return false;
}

bool query_has_parameter(request_kind kind, const char *name)
{
    return is_among(keys_of(kind), name);
}

be_status query_check_keys(const parameters *from, const char *const *keys, be_error *error)
{
    char names[200] = "";
    if (!*keys)
        snprintf(names, sizeof names, "none");
    for (const char *const *key = keys; *key; key++) {
        size_t length = strlen(names);
        snprintf(names + length, sizeof names - length, "%s%s", length ? ", " : "", *key);
    }
    if (from->overflowed)
        return be_fail(error, BE_ERROR_ARGUMENT, "more than %d parameters; there are: %s", MOST_PARAMETERS, names);
    for (size_t i = 0; i < from->count; i++) {
        if (!is_among(keys, from->keys[i]))
            return be_fail(error, BE_ERROR_ARGUMENT, "unknown parameter '%.40s'; there are: %s", from->keys[i], names);
        if (parameter(from, from->keys[i]) != from->values[i])
            return be_fail(error, BE_ERROR_ARGUMENT, "the parameter '%s' is there twice", from->keys[i]);
    }
    return BE_OK;
}

be_status query_choose(const parameters *from, const char *key, const char *const *words, size_t *place, be_error *error)
{
    const char *value = parameter(from, key);
    char names[120] = "";
    *place = 0;
    if (!value)
        return BE_OK;
    for (; words[*place]; (*place)++) {
        size_t length = strlen(names);
        if (strcmp(words[*place], value) == 0)
            return BE_OK;
        snprintf(names + length, sizeof names - length, "%s%s", length ? ", " : "", words[*place]);
    }
    return be_fail(error, BE_ERROR_ARGUMENT, "%s: '%.40s' is none of: %s", key, value, names);
}

be_status query_choose_flag(const parameters *from, const char *key, bool *flag, be_error *error)
{
    static const char *const words[] = {"false", "true", NULL};
    size_t place;
    be_status status = query_choose(from, key, words, &place, error);
    *flag = place == 1;
    return status;
}

/* --- single parameters ---------------------------------------------------------------------------- */

static be_status read_output(request *it, const parameters *from, be_error *error)
{
    static const char *const words[] = {"both", "vertices", "rois", NULL};
    size_t place;
    be_status status = query_choose(from, "output", words, &place, error);
    it->query.vertices = place != 2;
    it->query.rois = place != 1;
    return status;
}

be_status query_check_spread(const request *it, be_error *error)
{
    be_status status = BE_OK;
    for (size_t s = 0; s < it->query.n_subjects && status == BE_OK && it->query.spread; s++)
        status = be_answer_check_spread(engine_subject_info(it->engine, it->query.subjects[s]), error);
    return status;
}

/* What is told beside the vertices' responses. */
static be_status read_extras(request *it, const parameters *from, be_error *error)
{
    request_query *query = &it->query;
    be_status status = query_choose_flag(from, "spread", &query->spread, error);
    if (status == BE_OK)
        status = query_choose_flag(from, "quality", &query->quality, error);
    if (status == BE_OK && (query->spread || query->quality) && query->format != FORMAT_JSON)
        return be_fail(error, BE_ERROR_ARGUMENT, "%s: goes into JSON alone", query->spread ? "spread" : "quality");
    return status == BE_OK ? query_check_spread(it, error) : status;
}

be_status query_check_space(const request *it, be_error *error)
{
    be_status status = BE_OK;
    for (size_t s = 0; s < it->query.n_subjects && status == BE_OK; s++) {
        be_surface surface = engine_subject_surface(it->engine, it->query.subjects[s]);
        status = be_surface_check(&surface, it->query.space, error);
    }
    return status;
}

static be_status read_space(request *it, const parameters *from, be_error *error)
{
    const char *value = parameter(from, "space");
    be_status status = value ? be_space_parse(value, &it->query.space, error) : BE_OK;
    return status == BE_OK ? query_check_space(it, error) : status;
}

/* Of a prediction's file that holds one hemisphere. */
static be_status read_side(request *it, const parameters *from, be_error *error)
{
    static const char *const words[] = {"lh", "rh", NULL};
    const char *value = parameter(from, "hemi");
    size_t place;
    if (it->query.format != FORMAT_GIFTI)
        return value ? be_fail(error, BE_ERROR_ARGUMENT, "hemi: goes with format=gifti; other answers hold both sides") : BE_OK;
    if (!value)
        return be_fail(error, BE_ERROR_ARGUMENT, "hemi: a GIFTI file holds one hemisphere: say hemi=lh or hemi=rh");
    be_status status = query_choose(from, "hemi", words, &place, error);
    it->query.hemisphere = place == 0 ? BE_LEFT : BE_RIGHT;
    return status;
}

static be_status read_hemisphere(request *it, const parameters *from, be_error *error)
{
    static const char *const words[] = {"both", "lh", "rh", NULL};
    size_t place;
    be_status status = query_choose(from, "hemi", words, &place, error);
    it->query.hemispheres[BE_LEFT] = place != 2;
    it->query.hemispheres[BE_RIGHT] = place != 1;
    if (parameter(from, "hemi") && parameter(from, "vertex"))
        return be_fail(error, BE_ERROR_ARGUMENT, "hemi: a vertex's name says its hemisphere");
    return status;
}

static be_status read_heads(request *it, const parameters *from, be_error *error)
{
    static const char *const words[] = {"mean", "all", NULL};
    size_t place;
    be_status status = query_choose(from, "heads", words, &place, error);
    it->query.heads = place == 1;
    return status;
}

/* format=, else what Accept names, else JSON. */
static be_status read_format(request *it, const parameters *from, const char *accept, be_error *error)
{
    static const char *const predict_words[] = {"json", "npy", "gifti", NULL};
    static const char *const attention_words[] = {"json", "npy", "png", NULL};
    const char *value = parameter(from, "format");
    bool predict = it->kind == REQUEST_PREDICT;
    size_t place;
    be_status status = query_choose(from, "format", predict ? predict_words : attention_words, &place, error);
    if (!value && accept && (strstr(accept, "application/x-npy") || strstr(accept, "application/npy")))
        place = 1;
    else if (!value && accept && strstr(accept, predict ? GIFTI_TYPE : "image/png") && !strstr(accept, "text/html"))
        place = 2;
    it->query.format = place == 0 ? FORMAT_JSON : place == 1 ? FORMAT_NPY : predict ? FORMAT_GIFTI : FORMAT_PNG;
    return status;
}

/* Fitted once for all, so the subjects must agree on the size; each may be read from a backbone of its own, whose patches must
 * then agree too. */
static be_status check_subjects(const request *it, be_error *error)
{
    const engine *served = it->engine;
    const request_query *query = &it->query;
    for (size_t s = 1; s < query->n_subjects; s++) {
        const engine_subject *first = engine_subject_at(served, query->subjects[0]);
        const engine_subject *other = engine_subject_at(served, query->subjects[s]);
        if (engine_subject_info(served, query->subjects[s])->image_size !=
                engine_subject_info(served, query->subjects[0])->image_size ||
            be_model_backbone(engine_model(served, other->model))->patch !=
                be_model_backbone(engine_model(served, first->model))->patch)
            return be_fail(error, BE_ERROR_ARGUMENT,
                           "subject: %s and %s were trained on images of other sizes: ask for them one by one",
                           first->name, other->name);
    }
    if (query->n_subjects > 1 && query->format != FORMAT_JSON)
        return be_fail(error, BE_ERROR_ARGUMENT, "format: several subjects come as JSON only");
    return BE_OK;
}

static be_status read_subjects(request *it, const parameters *from, be_error *error)
{
    if (engine_subjects(it->engine) > MOST_SUBJECTS && parameter(from, "subject") &&
        strcmp(parameter(from, "subject"), "all") == 0)
        return be_fail(error, BE_ERROR_ARGUMENT, "subject: more than %d at once", MOST_SUBJECTS);
    size_t found[1024];
    be_status status = engine_find_subjects(it->engine, parameter(from, "subject"), found, &it->query.n_subjects, error);
    if (status == BE_OK && it->query.n_subjects > MOST_SUBJECTS)
        status = be_fail(error, BE_ERROR_ARGUMENT, "subject: more than %d at once", MOST_SUBJECTS);
    if (status != BE_OK)
        it->query.n_subjects = 0;
    memcpy(it->query.subjects, found, it->query.n_subjects * sizeof *found);
    return status;
}

be_status query_check_maps(const request *it, be_error *error)
{
    for (size_t s = 0; s < it->query.n_subjects; s++) {
        be_status status = be_map_check_subject(engine_subject_info(it->engine, it->query.subjects[s]), error);
        if (status != BE_OK)
            return status;
    }
    return BE_OK;
}

/* The ROIs named by one parameter, for each subject. */
static be_status read_rois(request *it, const char *names, be_roi_selection *selections, bool *asked, be_error *error)
{
    be_status status = BE_OK;
    *asked = names != NULL;
    for (size_t s = 0; names && s < it->query.n_subjects && status == BE_OK; s++)
        status = be_roi_select(&engine_subject_info(it->engine, it->query.subjects[s])->rois, names, &selections[s], error);
    return status;
}

/* A GIFTI file without a vertex is refused here, before anything is computed. The whole of a subject is never empty. */
static be_status check_gifti(const request *it, be_error *error)
{
    be_columns columns = {0};
    if (it->query.format != FORMAT_GIFTI || !it->query.only_some)
        return BE_OK;
    const be_surface surface = engine_subject_surface(it->engine, it->query.subjects[0]);
    be_status status = be_columns_make(&surface, it->query.space, &it->query.only[0], it->query.hemisphere, &columns, error);
    if (status == BE_OK)
        status = be_gifti_check(&columns, it->query.hemisphere, error);
    be_columns_free(&columns);
    return status;
}

/* The maps of ROIs or, when `rois` is NULL, of vertices, for each subject. */
static be_status read_maps(request *it, const char *rois, const char *vertices, be_error *error)
{
    request_query *query = &it->query;
    be_status status = BE_OK;
    for (size_t s = 0; s < query->n_subjects && status == BE_OK; s++) {
        const be_subject_info *info = engine_subject_info(it->engine, query->subjects[s]);
        be_map_selection *to = &query->maps[s];
        *to = (be_map_selection){.heads = query->heads};
        memcpy(to->hemispheres, query->hemispheres, sizeof to->hemispheres);
        status = rois ? be_map_select_rois(info, rois, to, error) : be_map_select_vertices(info, vertices, to, error);
    }
    query->with_maps = true;
    return status;
}

/* --- the whole ------------------------------------------------------------------------------------ */

static be_status read_predict(request *it, const parameters *from, be_error *error)
{
    request_query *query = &it->query;
    be_status status = read_output(it, from, error);
    if (status == BE_OK)
        status = read_extras(it, from, error);
    if (status == BE_OK)
        status = read_space(it, from, error);
    if (status == BE_OK)
        status = read_side(it, from, error);
    if (status == BE_OK)
        status = read_rois(it, parameter(from, "rois"), query->only, &query->only_some, error);
    if (status == BE_OK)
        status = check_gifti(it, error);
    query->hemispheres[BE_LEFT] = query->hemispheres[BE_RIGHT] = true;
    if (status == BE_OK && parameter(from, "attention"))
        status = read_maps(it, parameter(from, "attention"), NULL, error);
    if (status == BE_OK && query->with_maps && query->format != FORMAT_JSON)
        status = be_fail(error, BE_ERROR_ARGUMENT, "attention: maps go into JSON; /attention gives them in other formats");
    return status;
}

be_status query_select_maps(request *it, const parameters *from, be_error *error)
{
    be_status status = read_maps(it, parameter(from, "roi"), parameter(from, "vertex"), error);
    if (status == BE_OK && it->query.format == FORMAT_PNG)
        status = be_map_check_picture(engine_subject_info(it->engine, it->query.subjects[0]), &it->query.maps[0], error);
    return status;
}

static be_status read_attention(request *it, const parameters *from, be_error *error)
{
    if (!parameter(from, "roi") == !parameter(from, "vertex"))
        return be_fail(error, BE_ERROR_ARGUMENT, parameter(from, "roi") ? "roi and vertex are both there: one or the other"
                                                                        : "the parameter roi (or vertex) is missing: whose map?");
    be_status status = read_hemisphere(it, from, error);
    if (status == BE_OK)
        status = read_heads(it, from, error);
    if (status == BE_OK && it->kind == REQUEST_ATTENTION)
        return query_select_maps(it, from, error);
    if (status == BE_OK && parameter(from, "subject")) /* else the held prediction's subject is it */
        return query_check_maps(it, error);
    return status;
}

be_status query_read(request *it, const parameters *from, const char *accept, be_fit fit, const char **id, be_error *error)
{
    const char *fit_name = parameter(from, "fit");
    be_status status = query_check_keys(from, keys_of(it->kind), error);
    it->query.fit = fit;
    *id = parameter(from, "id");
    if (status == BE_OK && fit_name)
        status = be_fit_parse(fit_name, &it->query.fit, error);
    if (status == BE_OK)
        status = read_format(it, from, accept, error);
    if (status == BE_OK)
        status = read_subjects(it, from, error);
    if (status == BE_OK)
        status = check_subjects(it, error);
    if (status != BE_OK)
        return status;
    return it->kind == REQUEST_PREDICT ? read_predict(it, from, error) : read_attention(it, from, error);
}
