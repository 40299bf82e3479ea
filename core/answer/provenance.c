#include "core/answer/provenance.h"

be_provenance be_provenance_of(const be_model *model)
{
    const be_backbone_info *backbone = be_model_backbone(model);
    return (be_provenance){
        .backbone = backbone->name, .backbone_hash = be_model_backbone_hash(model), .backbone_heads = backbone->heads,
        .backbone_activation = be_activation_name(backbone->activation), .backbone_unverified = backbone->unverified,
        .precision = be_precision_name(be_model_precision(model)), .version = "brainenc " BRAINENC_VERSION,
    };
}

void be_provenance_add(be_json *json, cJSON *to, const be_provenance *it)
{
    be_json_text(json, to, "backbone", it->backbone);
    be_json_text(json, to, "backbone_weights", it->backbone_hash);
    be_json_number(json, to, "backbone_heads", (double)it->backbone_heads);
    be_json_text(json, to, "backbone_activation", it->backbone_activation);
    be_json_text(json, to, "precision", it->precision);
    be_json_text(json, to, "version", it->version);
}
