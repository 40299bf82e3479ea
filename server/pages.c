#include "server/pages.h"

#include <string.h>

#include "core/files/json.h"

static be_status end(be_json *json, answer *to, be_error *error)
{
    be_status status = be_json_print(json, &to->bytes, error);
    if (status != BE_OK)
        return status;
    to->status = 200;
    to->type = "application/json";
    to->size = strlen(to->bytes);
    return BE_OK;
}

static void add_counts(be_json *json, cJSON *to, const char *key, const size_t counts[BE_HEMISPHERES])
{
    cJSON *object = be_json_object(json, to, key);
    for (int h = BE_LEFT; h < BE_HEMISPHERES; h++)
        be_json_number(json, object, be_hemisphere_name((be_hemisphere)h), (double)counts[h]);
}

/* The trained models, with the mean correlation on the validation images that training recorded of each. */
static void add_members(be_json *json, cJSON *to, const be_subject_info *info)
{
    cJSON *list = be_json_array(json, to, "trained");
    for (size_t m = 0; m < info->members; m++) {
        const be_member_info *it = &info->member[m];
        cJSON *object = be_json_object(json, list, NULL);
        be_json_number(json, object, "layer", (double)it->tap.layer);
        be_json_number(json, object, "run", (double)it->run);
        if (it->has_validation)
            be_json_number(json, object, "validation", it->validation);
        else
            be_json_null(json, object, "validation");
    }
}

static void add_subject(be_json *json, cJSON *list, const engine *served, size_t index)
{
    const engine_subject *subject = engine_subject_at(served, index);
    const be_subject_info *info = engine_subject_info(served, index);
    const be_model *model = engine_model(served, subject->model);
    const be_backbone_info *backbone = be_model_backbone(model);
    cJSON *object = be_json_object(json, list, NULL);
    be_json_text(json, object, "name", subject->name);
    be_json_flag(json, object, "demo", info->demo);
    be_answer_add_model(json, object, model, subject->subject);
    be_json_text(json, object, "backbone_unverified", backbone->unverified);
    be_json_text(json, object, "isa", be_session_isa(engine_session(served, subject->model)));
    be_json_number(json, object, "image_size", (double)info->image_size);
    add_counts(json, object, "vertices", info->n_vertices);
    add_counts(json, object, "fsaverage", info->n_fsaverage);
    be_json_number(json, object, "rois", (double)(info->rois.count - 1));
    be_answer_add_training(json, object, info);
    be_answer_add_quality(json, object, subject->quality);
    add_members(json, object, info);
    cJSON *unverified = be_json_array(json, object, "unverified");
    if (*info->unverified)
        be_json_text(json, unverified, NULL, info->unverified);
    if (*backbone->unverified)
        be_json_text(json, unverified, NULL, backbone->unverified);
}

be_status page_subjects(const engine *served, const parameters *from, answer *to, be_error *error)
{
    static const char *const keys[] = {NULL};
    be_status status = query_check_keys(from, keys, error);
    if (status != BE_OK)
        return status;
    be_json json = be_json_begin();
    cJSON *list = be_json_array(&json, json.root, "subjects");
    for (size_t i = 0; i < engine_subjects(served); i++)
        add_subject(&json, list, served, i);
    return end(&json, to, error);
}

static void add_vertices(be_json *json, cJSON *to, const be_roi *roi)
{
    cJSON *object = be_json_object(json, to, "vertices");
    for (int h = BE_LEFT; h < BE_HEMISPHERES; h++)
        be_answer_add_numbers(json, object, be_hemisphere_name((be_hemisphere)h), roi->vertices[h], roi->n_vertices[h]);
}

/* Each vertex's number on fsaverage, or null. */
static void add_fsaverage(be_json *json, cJSON *to, const be_surface *surface)
{
    if (!surface->fsaverage[BE_LEFT] || !surface->fsaverage[BE_RIGHT]) {
        be_json_null(json, to, "fsaverage");
        return;
    }
    cJSON *object = be_json_object(json, to, "fsaverage");
    for (int h = BE_LEFT; h < BE_HEMISPHERES; h++) /* none is negative */
        be_answer_add_numbers(json, object, be_hemisphere_name((be_hemisphere)h), (const uint32_t *)surface->fsaverage[h],
                              surface->info->n_vertices[h]);
}

static void add_rois(be_json *json, cJSON *list, const engine *served, size_t index, bool with_vertices, bool with_quality)
{
    const engine_subject *it = engine_subject_at(served, index);
    const be_subject_info *info = engine_subject_info(served, index);
    cJSON *object = be_json_object(json, list, NULL);
    be_json_text(json, object, "subject", it->name);
    if (with_vertices) {
        const be_surface surface = engine_subject_surface(served, index);
        add_fsaverage(json, object, &surface);
    }
    cJSON *rois = be_json_array(json, object, "rois");
    for (size_t r = 0; r < info->rois.count; r++) {
        const be_roi *roi = &info->rois.rois[r];
        cJSON *entry = be_answer_add_roi(json, rois, roi);
        for (int h = BE_LEFT; h < BE_HEMISPHERES; h++)
            be_json_number(json, entry, be_hemisphere_name((be_hemisphere)h), (double)roi->n_vertices[h]);
        if (with_vertices)
            add_vertices(json, entry, roi);
        if (with_quality)
            be_answer_add_roi_quality(json, entry, be_model_subject(engine_model(served, it->model), it->subject), roi);
    }
}

be_status page_rois(const engine *served, const parameters *from, answer *to, be_error *error)
{
    static const char *const keys[] = {"subject", "output", "quality", NULL}, *const outputs[] = {"counts", "vertices", NULL};
    const char *names = parameter(from, "subject");
    size_t indices[1024], count, output;
    bool quality;
    be_status status = query_check_keys(from, keys, error);
    if (status == BE_OK)
        status = query_choose(from, "output", outputs, &output, error);
    if (status == BE_OK)
        status = query_choose_flag(from, "quality", &quality, error);
    if (status == BE_OK)
        status = engine_find_subjects(served, names ? names : "all", indices, &count, error);
    if (status != BE_OK)
        return status;
    be_json json = be_json_begin();
    cJSON *list = be_json_array(&json, json.root, "subjects");
    for (size_t i = 0; i < count; i++)
        add_rois(&json, list, served, indices[i], output == 1, quality);
    return end(&json, to, error);
}

/* --- the description of the API ------------------------------------------------------------------- */

enum { MOST_DESCRIBED = 12 };

/* What a route asks of the daemon; each also does what those before it do. */
typedef enum demand { ASKS_NO_KEY, ASKS_FOR_A_KEY, LOOKS_UP, COMPUTES, TAKES_AN_IMAGE } demand;

/* A route and its parameters (name and description, NULL ends them). */
typedef struct described_route {
    const char *path, *method, *summary;
    const char *parameters[MOST_DESCRIBED][2];
    demand demand;
} described_route;

static const described_route described[] = {
    {"/predict", "post", "The response of every vertex to the images of the body. model tells what computed it: in a precision "
                         "other than f32 with "
     "precision_error, how far its answers to drawn pictures are from those in f32.",
     {{"subject", "a name, names with commas, or all (default: the first configured)"},
      {"rois", "only these ROIs' vertices: names, stems, families, all; commas combine"},
      {"output", "vertices, rois or both (default)"}, {"attention", "adds these ROIs' attention maps"},
      {"spread", "true: the standard deviation over an ensemble's runs, of each vertex, and its mean over each ROI's (JSON)"},
      {"quality", "true: how well they are predicted, of each vertex and ROI, as far as the weights carry it (JSON)"},
      {"fit", "crop, stretch, pad or native (default: the configuration's, crop)"},
      {"space", "challenge (default), or fsaverage: vertices are the whole surface, null (NaN) where the subject has none, "
       "indices are its numbers, and JSON says \"space\": \"fsaverage\""},
      {"format", "json, npy, or gifti: a .func.gii with an array an image (also by Accept: application/x-npy, " GIFTI_TYPE ")"},
      {"hemi", "lh or rh: which hemisphere a GIFTI file holds; needed there, and there alone"}}, TAKES_AN_IMAGE},
    {"/attention", "post", "Where in the image of the body each named ROI or vertex looks.",
     {{"roi", "names, stems, families, all; commas combine (this or vertex)"},
      {"vertex", "of a subject with a query a vertex: lh:1234,rh:7, up to 64"}, {"subject", "as for /predict"},
      {"hemi", "of ROIs: lh, rh or both (default)"},
      {"heads", "mean (default) or all"}, {"format", "json, npy or png (also by Accept)"},
      {"fit", "as for /predict"}}, TAKES_AN_IMAGE},
    {"/attention", "get", "The same of a prediction that is still held.",
     {{"roi", "names, stems, families, all; commas combine (this or vertex)"},
      {"vertex", "of a subject with a query a vertex: lh:1234,rh:7, up to 64"},
      {"id", "the prediction's; without it your most recent one"}, {"subject", "one name: your most recent prediction of it"},
      {"hemi", "of ROIs: lh, rh or both (default)"}, {"heads", "mean (default) or all"},
      {"format", "json, npy or png (also by Accept)"}}, COMPUTES},
    {"/subjects", "get", "What is loaded, what the precision costs each subject, and how well each is predicted (each ROI: "
                         "/rois?quality=true).",
     {{NULL, NULL}}, ASKS_FOR_A_KEY},
    {"/rois", "get", "The ROIs of the subjects.", {{"subject", "as for /predict (default: all)"},
      {"quality", "true: how well each one's vertices are predicted"},
      {"output", "counts (default), or vertices: adds each ROI's vertices and the subject's places on fsaverage"}}, LOOKS_UP},
    {"/healthz", "get", "200 while the daemon lives.", {{NULL, NULL}}, ASKS_NO_KEY},
    {"/readyz", "get", "200 when it takes work, 503 while it loads or ends.", {{NULL, NULL}}, ASKS_NO_KEY},
    {"/metrics", "get", "Counters and times in Prometheus' text format.", {{NULL, NULL}}, ASKS_NO_KEY},
    {"/openapi.json", "get", "This description.", {{NULL, NULL}}, ASKS_NO_KEY},
};

static void describe_parameters(be_json *json, cJSON *operation, const described_route *route)
{
    cJSON *list = be_json_array(json, operation, "parameters");
    for (size_t i = 0; i < MOST_DESCRIBED && route->parameters[i][0]; i++) {
        cJSON *entry = be_json_object(json, list, NULL);
        be_json_text(json, entry, "name", route->parameters[i][0]);
        be_json_text(json, entry, "in", "query");
        be_json_text(json, entry, "description", route->parameters[i][1]);
        be_json_flag(json, entry, "required", false);
        be_json_text(json, be_json_object(json, entry, "schema"), "type", "string");
    }
}

static void describe_body(be_json *json, cJSON *operation)
{
    static const char bytes[] = "{\"type\":\"string\",\"format\":\"binary\"}";
    static const struct { const char *type, *schema; } kinds[] = {
        {"image/png", bytes}, {"image/jpeg", bytes}, {"application/x-npy", bytes},
        {"multipart/form-data", "{\"type\":\"object\",\"required\":[\"image\"],\"properties\":{\"image\":{\"type\":\"array\","
         "\"items\":{\"type\":\"string\",\"format\":\"binary\"}}}}"},
        {"application/json", "{\"type\":\"object\",\"properties\":{\"image\":{\"type\":\"string\",\"format\":\"byte\"},"
         "\"images\":{\"type\":\"array\",\"items\":{\"type\":\"string\",\"format\":\"byte\"}}},"
         "\"additionalProperties\":false,\"minProperties\":1,\"maxProperties\":1}"},
    };
    cJSON *body = be_json_object(json, operation, "requestBody");
    be_json_flag(json, body, "required", true);
    be_json_text(json, body, "description", "a picture, an array of uint8 [H][W][3] or [N][H][W][3], a form with one or more "
                 "parts named image, or base64 in JSON: image or images");
    cJSON *content = be_json_object(json, body, "content");
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        be_json_raw(json, be_json_object(json, content, kinds[i].type), "schema", kinds[i].schema);
}

static void describe_answers(be_json *json, cJSON *operation, const described_route *route)
{
    static const struct { const char *code, *meaning; demand from; } errors[] = {
        {"400", "a parameter is wrong", ASKS_FOR_A_KEY}, {"401", "the key is missing or wrong", ASKS_FOR_A_KEY},
        {"404", "an unknown subject, ROI or id", LOOKS_UP},
        {"408", "the upload took longer than limits.deadline_ms", TAKES_AN_IMAGE},
        {"409", "maps or spread of a model without, fsaverage without an index", COMPUTES},
        {"413", "a limit is exceeded", COMPUTES}, {"415", "an unknown kind of image", TAKES_AN_IMAGE},
        {"422", "a damaged image", TAKES_AN_IMAGE},
        {"503", "busy, loading or ending: try again after Retry-After", ASKS_FOR_A_KEY}, {"504", "the deadline passed", COMPUTES},
    };
    cJSON *answers = be_json_object(json, operation, "responses");
    be_json_text(json, be_json_object(json, answers, "200"), "description", route->summary);
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        if (route->demand >= errors[i].from)
            be_json_text(json, be_json_object(json, answers, errors[i].code), "description", errors[i].meaning);
    }
}

/* A key in either header, or none: whether one is needed is the configuration's. */
static void describe_keys(be_json *json)
{
    cJSON *schemes = be_json_object(json, be_json_object(json, json->root, "components"), "securitySchemes");
    be_json_raw(json, schemes, "bearer", "{\"type\":\"http\",\"scheme\":\"bearer\",\"description\":\"Authorization: Bearer KEY. "
                "Needed where auth.keys_file is set.\"}");
    be_json_raw(json, schemes, "api_key", "{\"type\":\"apiKey\",\"in\":\"header\",\"name\":\"X-API-Key\",\"description\":"
                "\"In the place of a bearer's.\"}");
    be_json_raw(json, json->root, "security", "[{\"bearer\":[]},{\"api_key\":[]},{}]");
}

static void describe_route(be_json *json, cJSON *paths, const described_route *route)
{
    cJSON *path = cJSON_GetObjectItemCaseSensitive(paths, route->path);
    if (!path)
        path = be_json_object(json, paths, route->path);
    cJSON *operation = be_json_object(json, path, route->method);
    be_json_text(json, operation, "summary", route->summary);
    if (route->demand == ASKS_NO_KEY)
        be_json_array(json, operation, "security");
    describe_parameters(json, operation, route);
    if (route->demand == TAKES_AN_IMAGE)
        describe_body(json, operation);
    describe_answers(json, operation, route);
}

be_status page_openapi(answer *to, be_error *error)
{
    be_json json = be_json_begin();
    be_json_text(&json, json.root, "openapi", "3.0.3");
    cJSON *info = be_json_object(&json, json.root, "info");
    be_json_text(&json, info, "title", "brainencd");
    be_json_text(&json, info, "version", BRAINENC_VERSION);
    be_json_text(&json, be_json_object(&json, info, "license"), "name", "Apache-2.0");
    describe_keys(&json);
    cJSON *paths = be_json_object(&json, json.root, "paths");
    for (size_t i = 0; i < sizeof described / sizeof *described; i++)
        describe_route(&json, paths, &described[i]);
    return end(&json, to, error);
}
