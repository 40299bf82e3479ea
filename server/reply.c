#include "server/reply.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/files/npy.h"
#include "server/reply_gifti.h"

/* Makes a text the answer when it was written well, and frees it otherwise. */
static be_status give_text(request *it, be_text *text, const char *type, be_status status, be_error *error)
{
    if (status == BE_OK)
        status = be_text_finish(text, error);
    if (status != BE_OK) {
        free(text->bytes);
        return status;
    }
    it->answer.bytes = text->bytes;
    it->answer.size = text->length;
    it->answer.type = type;
    return BE_OK;
}

/* --- JSON ----------------------------------------------------------------------------------------- */

static be_status predict_json(const request *it, const request_image *image, size_t place, char **text, be_error *error)
{
    const engine_subject *subject = engine_subject_at(it->engine, it->query.subjects[place]);
    const request_query *query = &it->query;
    const be_answer_maps maps = {&query->maps[place], image->maps[place]};
    be_answer_options options = {.vertices = query->vertices, .rois = query->rois, .quality = query->quality,
                                 .space = query->space, .only = query->only_some ? &query->only[place] : NULL,
                                 .maps = query->with_maps ? &maps : NULL};
    be_answer_timing timing = {.decode = image->decode_ms, .queue = 1e3 * (it->started - it->received),
                               .backbone = 1e3 * image->timing.backbone, .encoder = 1e3 * image->timing.encoder,
                               .total = 1e3 * (be_clock() - it->received)};
    return be_answer_prediction(engine_model(it->engine, subject->model), subject->subject, &image->about,
                                &image->outputs[place], &options, &timing, text, error);
}

static be_status attention_json(const request *it, const request_image *image, size_t place, char **text, be_error *error)
{
    const engine_subject *subject = engine_subject_at(it->engine, it->query.subjects[place]);
    const be_answer_maps maps = {&it->query.maps[place], image->maps[place]};
    return be_answer_attention(engine_model(it->engine, subject->model), subject->subject, &image->about, &maps, text, error);
}

static be_status add_json(request *it, const request_image *image, size_t place, be_text *to, be_error *error)
{
    char *text;
    be_status status = it->kind == REQUEST_PREDICT ? predict_json(it, image, place, &text, error)
                                                   : attention_json(it, image, place, &text, error);
    if (status != BE_OK)
        return status;
    be_text_add(to, text);
    free(text);
    return BE_OK;
}

/* One object for one image and subject; {"predictions": [...]} for more, images outermost. */
static be_status write_json(request *it, be_error *error)
{
    bool several = it->n_images * it->query.n_subjects != 1;
    be_text text = {0};
    be_status status = BE_OK;
    be_text_add(&text, several ? "{\"predictions\":[" : "");
    for (size_t i = 0; i < it->n_images && status == BE_OK; i++) {
        for (size_t s = 0; s < it->query.n_subjects && status == BE_OK; s++) {
            be_text_add(&text, i || s ? "," : "");
            status = add_json(it, &it->images[i], s, &text, error);
        }
    }
    be_text_add(&text, several ? "]}\n" : "\n");
    return give_text(it, &text, "application/json", status, error);
}

/* --- files ---------------------------------------------------------------------------------------- */

static void add_rows(const request *it, const be_columns columns[BE_HEMISPHERES], be_text *file)
{
    size_t left = engine_subject_info(it->engine, it->query.subjects[0])->n_vertices[BE_LEFT];
    for (size_t i = 0; i < it->n_images; i++) {
        const float *values = it->images[i].outputs[0].vertices;
        be_columns_add_bytes(&columns[BE_LEFT], values, file);
        be_columns_add_bytes(&columns[BE_RIGHT], values + left, file);
    }
}

/* [images][V_lh + V_rh], or of the wanted vertices alone. */
static be_status write_vertices(request *it, be_error *error)
{
    const be_surface surface = engine_subject_surface(it->engine, it->query.subjects[0]);
    const be_roi_selection *only = it->query.only_some ? &it->query.only[0] : NULL;
    be_columns columns[BE_HEMISPHERES] = {{0}};
    char header[BE_NPY_HEADER_MAX];
    size_t length;
    be_text file = {0};
    be_status status = BE_OK;
    for (int h = BE_LEFT; h < BE_HEMISPHERES && status == BE_OK; h++)
        status = be_columns_make(&surface, it->query.space, only, (be_hemisphere)h, &columns[h], error);
    const size_t counts[] = {columns[BE_LEFT].length, columns[BE_RIGHT].length};
    const size_t shape[] = {it->n_images, counts[BE_LEFT] + counts[BE_RIGHT]};
    if (status == BE_OK)
        status = be_npy_header(header, &length, BE_DTYPE_F32, 2, shape, error);
    if (status == BE_OK) {
        be_text_add_bytes(&file, header, length);
        add_rows(it, columns, &file);
    }
    be_columns_free(&columns[BE_LEFT]);
    be_columns_free(&columns[BE_RIGHT]);
    status = give_text(it, &file, "application/x-npy", status, error);
    if (status == BE_OK)
        snprintf(it->answer.split, sizeof it->answer.split, "lh=%zu,rh=%zu", counts[BE_LEFT], counts[BE_RIGHT]);
    return status;
}

/* Maps of the one image and subject as a file. */
static be_status write_maps(request *it, be_error *error)
{
    const request_image *image = &it->images[0];
    const be_answer_maps maps = {&it->query.maps[0], image->maps[0]};
    const be_subject_info *info = engine_subject_info(it->engine, it->query.subjects[0]);
    const engine_subject *subject = engine_subject_at(it->engine, it->query.subjects[0]);
    size_t patch = be_model_backbone(engine_model(it->engine, subject->model))->patch;
    bool png = it->query.format == FORMAT_PNG;
    unsigned char *bytes;
    size_t *size = &it->answer.size;
    be_status status = png ? be_answer_attention_png(info, patch, &image->about, &image->input, &maps, &bytes, size, error)
                           : be_answer_attention_npy(info, &image->about, &maps, &bytes, size, error);
    if (status != BE_OK)
        return status;
    it->answer.bytes = (char *)bytes;
    it->answer.type = png ? "image/png" : "application/x-npy";
    return BE_OK;
}

static be_status write_answer(request *it, be_error *error)
{
    if (it->query.format == FORMAT_JSON)
        return write_json(it, error);
    if (it->query.format == FORMAT_GIFTI)
        return reply_write_gifti(it, error);
    return it->kind == REQUEST_PREDICT ? write_vertices(it, error) : write_maps(it, error);
}

/* --- the whole ------------------------------------------------------------------------------------ */

/* The first image's id, and what else an answer that is no JSON cannot say, go into headers. */
static void note_headers(request *it)
{
    const be_subject_info *info = engine_subject_info(it->engine, it->query.subjects[0]);
    const engine_subject *subject = engine_subject_at(it->engine, it->query.subjects[0]);
    const be_model *model = engine_model(it->engine, subject->model);
    if (be_answer_id(model, subject->subject, &it->images[0].about, it->answer.id, NULL) != BE_OK)
        it->answer.id[0] = '\0';
    it->answer.demo = info->demo;
    it->answer.unverified = *info->unverified ? info->unverified : be_model_backbone(model)->unverified;
}

be_status reply_write(request *it, be_error *error)
{
    be_status status = write_answer(it, error);
    if (status != BE_OK)
        return status;
    it->answer.status = 200;
    note_headers(it);
    return BE_OK;
}
