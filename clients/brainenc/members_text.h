/* A subject's members in a few words. */
#ifndef BRAINENC_TOOL_MEMBERS_TEXT_H
#define BRAINENC_TOOL_MEMBERS_TEXT_H

#include "core/answer/text.h"
#include "core/subject/subject.h"

/* Adds "dinov2_q layer 1", or "dinov2_q layers 1, 3 (4 members, 2 runs)"; of features of no layer their name alone. */
void add_members(be_text *text, const be_subject_info *info);

#endif
