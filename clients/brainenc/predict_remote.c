/* Pictures that a server predicts: files are sent as they are, those in HDF5 files as .npy, and what comes back is checked and
 * written in their order. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clients/brainenc/predict.h"
#include "clients/brainenc/remote.h"
#include "clients/brainenc/remote_json.h"
#include "clients/brainenc/remote_subjects.h"
#include "core/base/memory.h"
#include "core/files/json.h"
#include "core/files/mapped_file.h"

/* A picture on its way. */
typedef struct sent_picture {
    be_mapped_file file;
    void *array;      /* made of a picture in an HDF5 file, which has no file of its own */
    const void *body; /* one of these two */
    size_t size;
    picture picture; /* a status other than BE_OK: it was not sent */
} sent_picture;

struct predict_remote {
    predict_job *job;
    remote *server;
    remote_subjects subjects;
    char *path;                          /* of the requests */
    size_t sent;                         /* images so far, with those of an earlier run */
    sent_picture places[REMOTE_REQUESTS];/* image i: at i % REMOTE_REQUESTS */
    be_output outputs[MOST_SUBJECTS];
    be_text texts[MOST_SUBJECTS];        /* JSON: of the picture at hand */
};

static const cJSON *member(const cJSON *object, const char *key)
{
    return cJSON_GetObjectItemCaseSensitive(object, key);
}

static bool wants_vertices(const predict_request *ask)
{
    return strcmp(ask->what, "rois") != 0;
}

/* Whether the server is asked for the vertices in the space of the results: where its text is passed on. Otherwise it gives the
 * subject's own, which are far fewer, and they are placed here. */
static bool is_placed(const predict_request *ask)
{
    return ask->kind == KIND_JSON && ask->space != BE_SPACE_CHALLENGE;
}

/* --- setting up ----------------------------------------------------------------------------------- */

static be_status make_path(predict_remote *self, be_error *error)
{
    const predict_job *job = self->job;
    const predict_request *ask = job->ask;
    be_text path = {0}, names = {0};
    for (size_t s = 0; s < job->n_subjects; s++) {
        be_text_add(&names, s ? "," : "");
        be_text_add(&names, job->subjects[s].info->name);
    }
    be_status status = be_text_finish(&names, error);
    be_text_add(&path, "/predict");
    if (status == BE_OK)
        remote_add_parameter(&path, "subject", names.bytes);
    remote_add_parameter(&path, "fit", be_fit_name(ask->compute.fit));
    remote_add_parameter(&path, "output", ask->kind == KIND_JSON ? ask->what : "vertices");
    if (is_placed(ask))
        remote_add_parameter(&path, "space", be_space_name(ask->space));
    if (ask->rois)
        remote_add_parameter(&path, "rois", ask->rois);
    if (ask->attention)
        remote_add_parameter(&path, "attention", ask->attention);
    if (ask->spread)
        remote_add_parameter(&path, "spread", "true");
    if (ask->quality)
        remote_add_parameter(&path, "quality", "true");
    free(names.bytes);
    self->path = path.bytes;
    return status == BE_OK ? be_text_finish(&path, error) : status;
}

static be_status make_outputs(predict_remote *self, be_error *error)
{
    be_status status = BE_OK;
    for (size_t s = 0; s < self->job->n_subjects && status == BE_OK; s++) {
        const be_subject_info *info = self->job->subjects[s].info;
        status = be_allocate_floats(&self->outputs[s].vertices, info->n_vertices[BE_LEFT] + info->n_vertices[BE_RIGHT], "answers",
                                    error);
    }
    return status;
}

be_status predict_remote_open(predict_job *job, be_error *error)
{
    const predict_request *ask = job->ask;
    const remote_options options = {.server = ask->server, .key_file = ask->key_file, .seconds = ask->seconds};
    void *memory;
    be_status status = be_allocate(&memory, 1, sizeof(predict_remote), "a run's state", error);
    if (status != BE_OK)
        return status;
    predict_remote *self = job->remote = memory;
    self->job = job;
    status = remote_open(&options, &self->server, error);
    if (status == BE_OK)
        status = remote_subjects_ask(self->server, ask->compute.subjects, ask->compute.n_subjects, &self->subjects, error);
    if (status != BE_OK)
        return status;
    job->n_subjects = self->subjects.count;
    memcpy(job->subjects, self->subjects.subjects, sizeof job->subjects);
    if ((ask->kind == KIND_NPY || ask->kind == KIND_GIFTI) && job->n_subjects > 1)
        return be_fail(error, BE_ERROR_ARGUMENT, "-o: %s takes one subject, --subject names %zu", ask->output, job->n_subjects);
    status = make_path(self, error);
    return status == BE_OK ? make_outputs(self, error) : status;
}

static void close_picture(sent_picture *it)
{
    be_mapped_file_close(&it->file);
    free(it->array);
    it->array = NULL;
}

void predict_remote_close(predict_remote *self)
{
    if (!self)
        return;
    remote_close(self->server); /* which may be reading the files */
    for (size_t i = 0; i < REMOTE_REQUESTS; i++)
        close_picture(&self->places[i]);
    for (size_t s = 0; s < MOST_SUBJECTS; s++) {
        free(self->outputs[s].vertices);
        free(self->texts[s].bytes);
    }
    remote_subjects_free(&self->subjects);
    free(self->path);
    free(self);
}

/* --- sending -------------------------------------------------------------------------------------- */

/* What does not even begin as a picture stays here. */
static be_status open_file(sent_picture *it, be_error *error)
{
    size_t width, height;
    be_status status = be_mapped_file_open(it->picture.about.name, &it->file, error);
    if (status == BE_OK)
        status = be_image_size(it->file.bytes, it->file.size, it->picture.about.name, &width, &height, error);
    it->body = it->file.bytes;
    it->size = it->file.size;
    return status;
}

/* uint8 [height][width][3] */
static be_status make_array(sent_picture *it, const be_image *image, be_error *error)
{
    const size_t shape[] = {image->height, image->width, 3}, bytes = image->height * image->width * 3;
    char header[BE_NPY_HEADER_MAX];
    size_t length;
    be_status status = be_npy_header(header, &length, BE_DTYPE_U8, 3, shape, error);
    if (status == BE_OK)
        status = be_allocate(&it->array, length + bytes, 1, "a picture", error);
    if (status != BE_OK)
        return status;
    memcpy(it->array, header, length);
    memcpy((char *)it->array + length, image->rgb, bytes);
    it->body = it->array;
    it->size = length + bytes;
    return BE_OK;
}

static be_status open_picture(const predict_remote *self, size_t index, sent_picture *it, be_error *error)
{
    picture_list *pictures = self->job->ask->pictures;
    be_image image = {0};
    if (!picture_list_at(pictures, index)->from)
        return open_file(it, error);
    be_status status = picture_list_load(pictures, index, &image, error);
    if (status == BE_OK)
        status = make_array(it, &image, error);
    be_image_free(&image);
    return status;
}

static be_status send_next(predict_remote *self, be_error *error)
{
    size_t place = self->sent % REMOTE_REQUESTS;
    sent_picture *it = &self->places[place];
    *it = (sent_picture){.picture = {.about = {.name = picture_list_at(self->job->ask->pictures, self->sent)->name}}};
    it->picture.status = open_picture(self, self->sent++, it, &it->picture.error);
    return it->picture.status == BE_OK ? remote_send(self->server, place, self->path, it->body, it->size, error) : BE_OK;
}

/* --- checking ------------------------------------------------------------------------------------- */

/* "SERVER: /predict: PICTURE: ..." */
static be_status __attribute__((format(printf, 4, 5)))
fail_answer(const predict_remote *self, const sent_picture *from, be_error *error, const char *format, ...)
{
    char sentence[BE_ERROR_MESSAGE_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    return be_fail(error, BE_ERROR_FORMAT, "%s: /predict: %s: %s", remote_name(self->server), from->picture.about.name, sentence);
}

/* One vertex's number, and its index where there are some. Answers what is wrong, or NULL. */
static const char *read_vertex(const cJSON *number, const cJSON *index, uint32_t known, float *value)
{
    size_t vertex;
    if (index && (!be_json_get_size(index, &vertex) || vertex != known))
        return "indices are not those of the ROIs";
    return remote_json_float(number, value) ? NULL : "vertices holds what is no number";
}

/* The numbers of one hemisphere, each put where the vertex stands that it is of. On the whole of fsaverage there is null between
 * the vertices. */
static be_status read_hemisphere(const predict_remote *self, const sent_picture *from, size_t subject, be_hemisphere hemisphere,
                                 const cJSON *object, be_error *error)
{
    const predict_job *job = self->job;
    const char *side = be_hemisphere_name(hemisphere), *wrong = NULL;
    const be_columns *columns = &job->columns[subject][hemisphere];
    const uint32_t *known = is_placed(job->ask) ? columns->numbers : columns->vertices;
    const bool gaps = is_placed(job->ask) && columns->whole;
    const cJSON *numbers = member(object, "vertices"), *number, *index = job->ask->rois ? member(object, "indices") : NULL;
    const size_t first = hemisphere == BE_LEFT ? 0 : job->subjects[subject].info->n_vertices[BE_LEFT];
    float *values = self->outputs[subject].vertices + first;
    size_t expected = gaps ? columns->length : columns->count, found = (size_t)cJSON_GetArraySize(numbers), place = 0, i = 0;
    if (!cJSON_IsArray(numbers) || found != expected)
        return fail_answer(self, from, error, "%s.vertices holds %zu numbers, %zu are expected", side, found, expected);
    if (job->ask->rois && (size_t)cJSON_GetArraySize(index) != expected)
        return fail_answer(self, from, error, "%s.indices are not as many as %s.vertices", side, side);
    index = index ? index->child : NULL;
    cJSON_ArrayForEach(number, numbers) {
        if (gaps && (i == columns->count || place++ != known[i])) {
            wrong = cJSON_IsNull(number) ? NULL : "vertices holds a number where the subject has no vertex";
        } else {
            wrong = read_vertex(number, index, known[i], &values[columns->vertices[i]]);
            index = index ? index->next : NULL;
            i++;
        }
        if (wrong)
            return fail_answer(self, from, error, "%s.%s", side, wrong);
    }
    return BE_OK;
}

/* It must be computed as those that the run began with: a server may get other weights or another configuration at any time. */
static be_status check_model(const predict_remote *self, const sent_picture *from, size_t subject, const cJSON *model,
                             be_error *error)
{
    const predict_subject *of = &self->job->subjects[subject];
    const struct { const char *key, *known, *what; } facts[] = {
        {"weights", of->info->weights_hash, "weights"}, {"backbone_weights", of->by.backbone_hash, "backbone"},
        {"backbone_activation", of->by.backbone_activation, "backbone's activation"}, {"precision", of->by.precision, "precision"},
    };
    size_t heads;
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++) {
        const char *found = cJSON_GetStringValue(member(model, facts[i].key));
        if (!found)
            return fail_answer(self, from, error, "model.%s is no text", facts[i].key);
        if (strcmp(found, facts[i].known) != 0)
            return be_fail(error, BE_ERROR_IO, "%s: the %s of %s changed since the run began", remote_name(self->server),
                           facts[i].what, of->info->name);
    }
    if (!be_json_get_size(member(model, "backbone_heads"), &heads))
        return fail_answer(self, from, error, "model.backbone_heads is no number that can be");
    if (heads != of->by.backbone_heads)
        return be_fail(error, BE_ERROR_IO, "%s: the backbone's heads of %s changed since the run began", remote_name(self->server),
                       of->info->name);
    return BE_OK;
}

static be_status read_prediction(const predict_remote *self, const sent_picture *from, size_t subject, const cJSON *prediction,
                                 be_error *error)
{
    be_status status = check_model(self, from, subject, member(prediction, "model"), error);
    for (int h = BE_LEFT; h < BE_HEMISPHERES && status == BE_OK && wants_vertices(self->job->ask); h++)
        status = read_hemisphere(self, from, subject, (be_hemisphere)h, member(prediction, be_hemisphere_name((be_hemisphere)h)),
                                 error);
    return status;
}

static be_status read_predictions(predict_remote *self, const sent_picture *from, const remote_answer *answer, be_error *error)
{
    const predict_job *job = self->job;
    bool several = job->n_subjects > 1;
    cJSON *root = NULL;
    be_error reason;
    be_status status = remote_json_parse(answer->text, answer->size, &root, &reason);
    if (status == BE_OK && several && cJSON_GetArraySize(member(root, "predictions")) != (int)job->n_subjects)
        status = be_fail(&reason, BE_ERROR_FORMAT, "predictions is no list of one for each subject");
    const cJSON *prediction = status != BE_OK ? NULL : several ? member(root, "predictions")->child : root;
    if (status == BE_OK && job->ask->kind == KIND_JSON)
        status = remote_json_split(answer->text, several, from->picture.about.name, self->texts, job->n_subjects, &reason);
    if (status != BE_OK)
        be_fail(error, status, "%s: /predict: %s: %s", remote_name(self->server), from->picture.about.name, reason.message);
    for (size_t s = 0; s < job->n_subjects && status == BE_OK; s++, prediction = prediction->next)
        status = read_prediction(self, from, s, prediction, error);
    cJSON_Delete(root);
    return status;
}

/* A picture the server refuses, in the words it would have been refused with here where there are such words. */
static void note_refusal(const predict_remote *self, sent_picture *it, const remote_answer *answer)
{
    static const char ours[] = "image 0: "; /* the picture's name in the server's sentence */
    const char *path = it->picture.about.name;
    char *message = remote_message(answer);
    it->picture.status = remote_status(answer->status);
    if (message && strncmp(message, ours, sizeof ours - 1) == 0)
        be_fail(&it->picture.error, it->picture.status, "%s: %s", path, message + sizeof ours - 1);
    else
        be_fail(&it->picture.error, it->picture.status, "%s: %s refuses it: %s", path, remote_name(self->server),
                message ? message : "it does not say why");
    free(message);
}

static bool is_refusal(unsigned status)
{
    return status == 413 || status == 415 || status == 422;
}

static be_status receive(predict_remote *self, size_t place, be_error *error)
{
    sent_picture *it = &self->places[place];
    remote_answer answer;
    be_status status = remote_receive(self->server, place, &answer, error);
    if (status == BE_OK && is_refusal(answer.status)) {
        note_refusal(self, it, &answer);
        return BE_OK;
    }
    if (status == BE_OK)
        status = remote_check(self->server, &answer, error);
    return status == BE_OK ? read_predictions(self, it, &answer, error) : status;
}

/* --- one picture ---------------------------------------------------------------------------------- */

be_status predict_remote_step(predict_job *job, be_error *error)
{
    predict_remote *self = job->remote;
    size_t place = job->first % REMOTE_REQUESTS;
    be_status status = BE_OK;
    if (self->sent < job->first)
        self->sent = job->first; /* an earlier run has those */
    while (self->sent < picture_list_count(job->ask->pictures) && self->sent < job->first + REMOTE_REQUESTS && status == BE_OK)
        status = send_next(self, error);
    sent_picture *it = &self->places[place];
    if (status == BE_OK && it->picture.status == BE_OK)
        status = receive(self, place, error);
    if (status != BE_OK)
        return status;
    const predict_answer answer = {.picture = &it->picture, .outputs = self->outputs, .texts = self->texts};
    status = predict_write(job, &answer, 1, error);
    close_picture(it);
    for (size_t s = 0; s < job->n_subjects; s++) {
        free(self->texts[s].bytes);
        self->texts[s] = (be_text){0};
    }
    return status;
}
