#include "core/subject/import_job.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/files/json.h"
#include "core/subject/subject_format.h"

/* Whether a text has nothing of a path in it, of any system: in one there may be a user's name. */
static bool is_word(const char *text)
{
    return !strpbrk(text, "/\\");
}

/* The arguments worth keeping: every number and flag, and of the texts those that are settings. Paths, user names and the
 * names of logging accounts are texts, and so are left out. */
static void add_training(be_json *json, cJSON *member, const be_value *args)
{
    static const char *const texts[] = {"backbone_arch", "encoder_arch", "readout_res", "position_embedding", "objective",
                                        "dataset", "subj"};
    cJSON *training = be_json_object(json, member, "training");
    for (size_t i = 0; args->kind == BE_VALUE_DICT && i < args->as.dict.count; i++) {
        const char *key, *text;
        const be_value *value = args->as.dict.pairs[i].value;
        double number;
        bool flag;
        if (!be_value_text(args->as.dict.pairs[i].key, &key) || cJSON_GetObjectItemCaseSensitive(training, key))
            continue;
        if (be_value_boolean(value, &flag))
            be_json_flag(json, training, key, flag);
        else if (be_value_number(value, &number))
            be_json_number(json, training, key, number);
        for (size_t t = 0; t < sizeof texts / sizeof *texts; t++) {
            if (strcmp(key, texts[t]) == 0 && be_value_text(value, &text) && is_word(text) && strlen(text) < 64)
                be_json_text(json, training, key, text);
        }
    }
}

/* What the checkpoints and their neighbours tell of the training images: nothing is guessed. */
static void add_training_set(be_json *json, const be_import_job *self)
{
    enum { PERCENT_TRAINING = 90 };
    const be_import_source *first = &self->sources[0];
    const char *dataset, *name = "";
    char text[256], counts[80] = "";
    bool agree = first->images > 0;
    if (be_value_text(be_value_get(be_value_get(be_tensor_file_root(first->file), "args"), "dataset"), &dataset) &&
        is_word(dataset) && be_name_is_plain(dataset))
        name = strcmp(dataset, "nsd_algo") == 0 ? "NSD (Algonauts 2023)" : dataset;
    for (size_t m = 1; m < self->n_sources; m++)
        agree = agree && self->sources[m].images == first->images;
    if (agree) {
        size_t training = (size_t)nearbyint((double)first->images / 100 * PERCENT_TRAINING);
        snprintf(counts, sizeof counts, ": %zu images, and %zu to validate on", training, first->images - training);
    }
    snprintf(text, sizeof text, "%s%s%s%s", name, *name && *first->checkpoint.subject ? ", " : "", first->checkpoint.subject,
             counts);
    be_json_text(json, json->root, "training_set", text);
}

static void add_rois(be_json *json, const be_roi_set *set)
{
    cJSON *list = be_json_array(json, json->root, "rois");
    for (size_t i = 0; i + 1 < set->count; i++) {
        cJSON *roi = be_json_object(json, list, NULL);
        be_json_text(json, roi, "name", set->rois[i].name);
        be_json_text(json, roi, "family", set->rois[i].family);
    }
}

static void add_member(be_json *json, cJSON *list, const be_import_source *from)
{
    const be_checkpoint *checkpoint = &from->checkpoint;
    cJSON *member = be_json_object(json, list, NULL);
    be_json_number(json, member, "layer", (double)checkpoint->enc_output_layer);
    be_json_number(json, member, "run", (double)checkpoint->run);
    cJSON *origin = be_json_object(json, member, "source");
    be_json_text(json, origin, "sha256", from->hash);
    be_json_text(json, origin, "format", be_tensor_format_name(be_tensor_file_format(from->file)));
    if (*from->date)
        be_json_text(json, member, "checkpoint_date", from->date);
    if (checkpoint->has_validation)
        be_json_number(json, member, "validation", checkpoint->validation);
    else
        be_json_null(json, member, "validation");
    add_training(json, member, be_value_get(be_tensor_file_root(from->file), "args"));
}

static void add_settings(be_json *json, const be_checkpoint *checkpoint)
{
    be_encoder_settings settings = be_checkpoint_settings(checkpoint);
    cJSON *to = be_json_object(json, json->root, "settings");
    const struct { const char *key; size_t value; } sizes[] = {
        {"width", settings.width}, {"queries", settings.queries}, {"heads", settings.heads}, {"enc_layers", settings.enc_layers},
        {"dec_layers", settings.dec_layers}, {"stride", settings.stride},
    };
    const struct { const char *key; bool value; } flags[] = {
        {"pre_norm", settings.pre_norm}, {"learned_position", settings.learned_position}, {"class_token", settings.class_token},
        {"input_projection", settings.input_projection},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        be_json_number(json, to, sizes[i].key, (double)sizes[i].value);
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        be_json_flag(json, to, flags[i].key, flags[i].value);
}

static const char *subject_name(const be_import_job *self)
{
    if (self->options->name)
        return self->options->name;
    return *self->sources[0].checkpoint.subject ? self->sources[0].checkpoint.subject : "subject";
}

be_status be_import_metadata(be_import_job *self)
{
    const be_checkpoint *checkpoint = &self->sources[0].checkpoint;
    char features[BE_CHECKPOINT_TEXT_SIZE];
    be_checkpoint_features(checkpoint, self->class_token, features);
    be_json json = be_json_begin();
    be_json_number(&json, json.root, "format", BE_SUBJECT_FORMAT);
    be_json_text(&json, json.root, "subject", subject_name(self));
    be_json_flag(&json, json.root, "demo", self->demo);
    be_json_text(&json, json.root, "units", BE_SUBJECT_UNITS);
    be_json_text(&json, json.root, "terms", BE_SUBJECT_TERMS);
    add_training_set(&json, self);
    be_json_text(&json, json.root, "storage", self->narrowed ? "bf16" : "f32");
    be_json_text(&json, json.root, "features", features);
    be_json_number(&json, json.root, "channels", (double)checkpoint->channels);
    if (checkpoint->image_size)
        be_json_number(&json, json.root, "image_size", (double)checkpoint->image_size);
    else
        be_json_null(&json, json.root, "image_size");
    be_json_flag(&json, json.root, "dilation", checkpoint->dilation);
    be_json_text(&json, json.root, "encoder", checkpoint->encoder_arch);
    be_json_text(&json, json.root, "readout", checkpoint->readout_res);
    if (self->streams_order != BE_STREAMS_UNKNOWN)
        be_json_text(&json, json.root, "streams_order", be_streams_order_name(self->streams_order));
    be_json_text(&json, json.root, "unverified", self->unverified);
    add_settings(&json, checkpoint);
    add_rois(&json, &self->data.rois);
    cJSON *surface = be_json_object(&json, json.root, "fsaverage");
    for (int h = BE_LEFT; h < BE_HEMISPHERES; h++)
        be_json_number(&json, surface, be_hemisphere_name((be_hemisphere)h), (double)self->data.n_fsaverage[h]);
    cJSON *members = be_json_array(&json, json.root, "members");
    for (size_t m = 0; m < self->n_sources; m++)
        add_member(&json, members, &self->sources[m]);
    return be_json_print(&json, &self->metadata, self->error);
}
