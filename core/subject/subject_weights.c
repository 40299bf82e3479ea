#include "core/subject/subject_opening.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/base/memory.h"
#include "core/subject/subject_format.h"

/* Sessions are sized for the first member: the others must be of its shapes. */
static be_status check_alike(const be_opening *self, const be_encoder_info *b, size_t number)
{
    const be_encoder_info *a = &self->first;
    if (a->queries == b->queries && a->width == b->width && a->heads == b->heads && a->hidden == b->hidden &&
        a->encoder_hidden == b->encoder_hidden && a->side == b->side)
        return BE_OK;
    return be_fail(self->error, BE_ERROR_FORMAT,
                   "%s: member %zu is of other shapes than member 0 (token width %zu and %zu, feed-forward "
                   "width %zu and %zu, in encoder layers %zu and %zu)", self->path, number, b->width, a->width, b->hidden,
                   a->hidden, b->encoder_hidden, a->encoder_hidden);
}

static be_status load_member(be_opening *self, size_t number)
{
    be_subject *subject = self->subject;
    be_subject_info *info = &subject->info;
    be_encoder_settings settings = subject->settings;
    settings.precision = self->precision;
    be_loaded_member *to = &subject->members[number];
    char prefix[32];
    snprintf(prefix, sizeof prefix, BE_SUBJECT_MEMBER_PREFIX, number);
    settings.memory_layer = info->member[number].tap.layer;
    be_status status = be_encoder_load(self->file, prefix, &settings, &to->encoder, self->error);
    if (status != BE_OK)
        return status;
    if (number == 0) {
        self->first = *be_encoder_get_info(to->encoder);
        info->encoder = be_encoder_name(to->encoder);
    }
    status = check_alike(self, be_encoder_get_info(to->encoder), number);
    if (status != BE_OK)
        return status;
    return be_readout_load(self->file, prefix, self->first.width, info->n_vertices[BE_LEFT], info->n_vertices[BE_RIGHT],
                           subject->plan.by_vertex ? NULL : &subject->lists, &to->readout, self->error);
}

void be_loaded_member_free(be_loaded_member *member)
{
    be_encoder_free(member->encoder);
    be_readout_free(member->readout);
    *member = (be_loaded_member){0};
}

static be_status load_members(be_opening *self)
{
    void *memory;
    size_t members = self->subject->info.members;
    be_status status = be_allocate(&memory, members, sizeof(be_loaded_member), "members", self->error);
    if (status != BE_OK)
        return status;
    self->subject->members = memory;
    for (size_t m = 0; m < members && status == BE_OK; m++) {
        status = load_member(self, m);
        if (self->inspecting)
            be_loaded_member_free(&self->subject->members[m]);
        be_tensor_file_forget(self->file);
    }
    return status;
}

/* Which query each map is of. */
static be_status list_maps(be_opening *self)
{
    be_subject *subject = self->subject;
    be_subject_info *info = &subject->info;
    void *memory;
    if (info->heads == 0)
        return BE_OK;
    info->by_vertex = subject->plan.by_vertex;
    if (info->by_vertex)
        return BE_OK;
    info->maps = BE_HEMISPHERES * info->rois.count;
    be_status status = be_allocate(&memory, info->maps, sizeof(uint32_t), "a list of maps", self->error);
    if (status != BE_OK)
        return status;
    subject->map_queries = memory;
    for (size_t map = 0; map < info->maps; map++)
        subject->map_queries[map] = subject->plan.of_roi[map / info->rois.count][map % info->rois.count];
    return BE_OK;
}

static be_status make_plan(be_opening *self)
{
    be_subject *subject = self->subject;
    const be_subject_info *info = &subject->info;
    const char *text = "";
    be_streams_order order = BE_STREAMS_UNKNOWN;
    const cJSON *asked = cJSON_GetObjectItemCaseSensitive(self->root, "streams_order");
    be_status status = asked ? be_opening_text(self, self->root, "streams_order", &text) : BE_OK;
    if (status == BE_OK && *text && be_streams_order_parse(text, &order, NULL) != BE_OK)
        status = be_opening_fail(self, "streams_order", "order of rest-last and rest-first");
    if (status == BE_OK)
        status = be_readout_plan_make(info->readout, subject->settings.kind, order, &info->rois, info->n_vertices, self->path,
                                      &subject->plan, self->error);
    if (status == BE_OK && subject->settings.queries != subject->plan.queries)
        status = be_fail(self->error, BE_ERROR_FORMAT, "%s: the metadata's queries are %zu, its readout %s has %zu", self->path,
                         subject->settings.queries, info->readout, subject->plan.queries);
    return status == BE_OK ? be_readout_plan_lists(&subject->plan, &info->rois, info->n_vertices, &subject->lists, self->error)
           : status;
}

be_status be_opening_load_weights(be_opening *self)
{
    be_subject *subject = self->subject;
    be_subject_info *info = &subject->info;
    be_status status = make_plan(self);
    if (status == BE_OK)
        status = load_members(self);
    if (status != BE_OK)
        return status;
    info->queries = self->first.queries;
    info->heads = self->first.heads;
    info->dynamic = self->first.dynamic;
    return list_maps(self);
}
