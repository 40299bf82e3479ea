/* Pictures that are predicted here. */
#include <stdlib.h>
#include <string.h>

#include "clients/brainenc/predict.h"
#include "core/base/memory.h"

struct predict_local {
    const predict_job *job;
    engine engine;
    size_t batch;            /* images computed at a time */
    picture *pictures;       /* [batch] */
    be_output *outputs;      /* [batch * n_subjects] */
    be_image *inputs;        /* [batch]: of the good pictures, next to each other */
    be_timing *timings;      /* [batch]: theirs */
    predict_answer *answers; /* [batch] */
};

/* --- setting up ----------------------------------------------------------------------------------- */

static be_status make_output(const predict_local *self, size_t subject, be_output *output, be_error *error)
{
    const predict_request *ask = self->job->ask;
    const be_subject_info *info = self->job->subjects[subject].info;
    size_t tokens = ask->compute.tokens ? ask->compute.tokens : BE_DEFAULT_TOKENS;
    size_t vertices = info->n_vertices[BE_LEFT] + info->n_vertices[BE_RIGHT];
    be_status status = be_allocate_floats(&output->vertices, vertices, "answers", error);
    if (status == BE_OK && ask->spread)
        status = be_allocate_floats(&output->spread, vertices, "answers", error);
    if (status != BE_OK || !ask->attention)
        return status;
    if (!info->by_vertex)
        return be_allocate_floats(&output->attention, info->maps * tokens, "answers", error);
    return be_allocate_floats(&output->features, be_session_layers(self->engine.session, subject) * tokens *
                              be_model_backbone(self->engine.model)->channels, "answers", error);
}

static be_status make_buffers(predict_local *self, be_error *error)
{
    void *memory;
    size_t total = self->batch * self->job->n_subjects;
    be_status status = be_allocate(&memory, self->batch, sizeof(picture), "pictures", error);
    if (status != BE_OK)
        return status;
    self->pictures = memory;
    status = be_allocate(&memory, self->batch, sizeof(be_image), "pictures", error);
    if (status != BE_OK)
        return status;
    self->inputs = memory;
    status = be_allocate(&memory, self->batch, sizeof(be_timing), "timings", error);
    if (status != BE_OK)
        return status;
    self->timings = memory;
    status = be_allocate(&memory, self->batch, sizeof(predict_answer), "answers", error);
    if (status != BE_OK)
        return status;
    self->answers = memory;
    status = be_allocate(&memory, total, sizeof(be_output), "answers", error);
    if (status != BE_OK)
        return status;
    self->outputs = memory;
    for (size_t i = 0; i < total && status == BE_OK; i++)
        status = make_output(self, i % self->job->n_subjects, &self->outputs[i], error);
    return status;
}

static void describe_subjects(const predict_local *self, predict_job *job)
{
    const be_model *model = self->engine.model;
    job->n_subjects = be_model_subjects(model);
    for (size_t s = 0; s < job->n_subjects; s++) {
        const be_surface surface = be_surface_of(be_model_subject(model, s));
        job->subjects[s] = (predict_subject){
            .info = surface.info, .fsaverage = {surface.fsaverage[BE_LEFT], surface.fsaverage[BE_RIGHT]},
            .by = be_provenance_of(model), .isa = be_session_isa(self->engine.session)};
    }
}

be_status predict_local_open(predict_job *job, be_error *error)
{
    void *memory;
    be_status status = be_allocate(&memory, 1, sizeof(predict_local), "a run's state", error);
    if (status != BE_OK)
        return status;
    predict_local *self = job->local = memory;
    self->job = job;
    status = open_engine(&job->ask->compute, &self->engine, error);
    if (status != BE_OK)
        return status;
    describe_subjects(self, job);
    self->batch = 4 * be_session_threads(self->engine.session);
    if (self->batch > picture_list_count(job->ask->pictures))
        self->batch = picture_list_count(job->ask->pictures);
    return make_buffers(self, error);
}

void predict_local_close(predict_local *self)
{
    if (!self)
        return;
    for (size_t i = 0; self->outputs && i < self->batch * self->job->n_subjects; i++) {
        free(self->outputs[i].vertices);
        free(self->outputs[i].spread);
        free(self->outputs[i].attention);
        free(self->outputs[i].features);
    }
    free(self->outputs);
    free(self->pictures);
    free(self->inputs);
    free(self->timings);
    free(self->answers);
    close_engine(&self->engine);
    free(self);
}

/* --- computing ------------------------------------------------------------------------------------ */

static void read_one(void *context, size_t index, size_t worker)
{
    const predict_local *self = context;
    const predict_request *ask = self->job->ask;
    (void)worker;
    picture_list_read(ask->pictures, self->job->first + index, &ask->compute, self->engine.model, &self->pictures[index]);
}

be_status predict_local_step(predict_job *job, be_error *error)
{
    predict_local *self = job->local;
    size_t good = 0, left = picture_list_count(job->ask->pictures) - job->first, count = left < self->batch ? left : self->batch;
    be_session_run(self->engine.session, count, read_one, self);
    for (size_t i = 0; i < count; i++) {
        self->answers[i] = (predict_answer){.picture = &self->pictures[i], .outputs = &self->outputs[good * job->n_subjects],
                                            .timing = &self->timings[good]};
        if (self->pictures[i].status == BE_OK)
            self->inputs[good++] = self->pictures[i].input;
    }
    be_status status = be_session_predict(self->engine.session, self->inputs, good, self->outputs, self->timings, error);
    if (status == BE_OK)
        status = predict_write(job, self->answers, count, error);
    for (size_t i = 0; i < count; i++)
        free_picture(&self->pictures[i]);
    return status;
}

/* The maps of one picture and subject; to be freed. */
static be_status make_maps(const predict_job *job, size_t subject, const predict_answer *answer, float **values, be_error *error)
{
    const be_answer_image *about = &answer->picture->about;
    const be_map_source source = {.info = job->subjects[subject].info, .output = &answer->outputs[subject], .rows = about->rows,
                                  .columns = about->columns, .session = job->local->engine.session, .subject = subject};
    be_status status = be_allocate_floats(values, be_map_selection_count(&job->maps[subject]) * about->rows * about->columns,
                                          "answers", error);
    if (status != BE_OK)
        return status;
    status = be_maps_compute(&source, &job->maps[subject], *values, error);
    if (status != BE_OK)
        free(*values);
    return status;
}

be_status predict_local_json(const predict_job *job, size_t subject, const predict_answer *answer, char **text, be_error *error)
{
    const predict_request *ask = job->ask;
    const picture *from = answer->picture;
    float *values = NULL;
    be_status status = ask->attention ? make_maps(job, subject, answer, &values, error) : BE_OK;
    if (status != BE_OK)
        return status;
    const be_answer_maps maps = {&job->maps[subject], values};
    be_answer_options options = {.vertices = strcmp(ask->what, "rois") != 0, .rois = strcmp(ask->what, "vertices") != 0,
                                 .quality = ask->quality, .space = ask->space, .only = ask->rois ? &job->only[subject] : NULL,
                                 .maps = ask->attention ? &maps : NULL};
    be_answer_timing times = {.decode = from->decode_ms, .backbone = 1e3 * answer->timing->backbone,
                              .encoder = 1e3 * answer->timing->encoder};
    times.total = times.decode + times.backbone + times.encoder;
    status = be_answer_prediction(job->local->engine.model, subject, &from->about, &answer->outputs[subject], &options, &times,
                                  text, error);
    free(values);
    return status;
}
