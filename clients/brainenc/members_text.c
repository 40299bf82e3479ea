#include "clients/brainenc/members_text.h"

/* Whether a member is the first one that is read from its layer. */
static bool is_first(const be_subject_info *info, size_t member)
{
    for (size_t m = 0; m < member; m++) {
        if (info->member[m].tap.layer == info->member[member].tap.layer)
            return false;
    }
    return true;
}

void add_members(be_text *text, const be_subject_info *info)
{
    size_t layers = 0;
    be_text_add(text, be_features_name(info->member[0].tap.features));
    if (info->member[0].tap.dilation)
        be_text_add(text, " dilated");
    for (size_t m = 0; m < info->members; m++)
        layers += is_first(info, m);
    bool told_apart = layers > 1 || be_features_have_layers(info->member[0].tap.features);
    if (told_apart)
        be_text_add(text, layers == 1 ? " layer" : " layers");
    for (size_t m = 0, told = 0; m < info->members && told_apart; m++) {
        if (is_first(info, m))
            be_text_add_format(text, "%s%zu", told++ > 0 ? ", " : " ", info->member[m].tap.layer);
    }
    if (info->members > 1)
        be_text_add_format(text, " (%zu members, %zu %s)", info->members, info->runs, info->runs == 1 ? "run" : "runs");
}
