/* What computed an answer, beside the subject's own weights: all that its numbers depend on but the picture and how it was
 * fitted. */
#ifndef BRAINENC_ANSWER_PROVENANCE_H
#define BRAINENC_ANSWER_PROVENANCE_H

#include "core/brainenc.h"
#include "core/files/json.h"

/* The texts are the model's, or those of a server's answer. */
typedef struct be_provenance {
    const char *backbone;            /* be_backbone_info.name */
    const char *backbone_hash;       /* the file's SHA-256 */
    const char *backbone_activation; /* be_activation_name */
    const char *backbone_unverified; /* "" or what no golden case covers */
    const char *precision, *version;
    size_t backbone_heads;           /* 0: it has no attention */
} be_provenance;

be_provenance be_provenance_of(const be_model *model);

/* Adds "backbone", "backbone_weights", "backbone_heads", "backbone_activation", "precision" and "version". */
void be_provenance_add(be_json *json, cJSON *to, const be_provenance *it);

#endif
