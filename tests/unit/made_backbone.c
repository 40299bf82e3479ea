#include "tests/unit/made_backbone.h"

#include <stdio.h>

weights make_dinov2(const sizes *s, uint32_t *random)
{
    weights it = {.count = 0};
    size_t c = s->width;
    add_weight(&it, random, SHAPE(1, 1, c), "cls_token");
    add_weight(&it, random, SHAPE(1, 1 + s->grid * s->grid, c), "pos_embed");
    add_weight(&it, random, SHAPE(c, 3, s->patch, s->patch), "patch_embed.proj.weight");
    add_weight(&it, random, SHAPE(c), "patch_embed.proj.bias");
    if (s->registers)
        add_weight(&it, random, SHAPE(1, s->registers, c), "register_tokens");
    add_norm(&it, random, "", "norm", c);
    for (size_t i = 0; i < s->depth; i++) {
        char block[32];
        snprintf(block, sizeof block, "blocks.%zu.", i);
        add_norm(&it, random, block, "norm1", c);
        add_norm(&it, random, block, "norm2", c);
        add_layer(&it, random, block, "attn.qkv", 3 * c, c);
        add_layer(&it, random, block, "attn.proj", c, c);
        add_layer(&it, random, block, s->gated ? "mlp.w12" : "mlp.fc1", s->gated ? 2 * s->hidden : s->hidden, c);
        add_layer(&it, random, block, s->gated ? "mlp.w3" : "mlp.fc2", c, s->hidden);
        add_weight(&it, random, SHAPE(c), "%sls1.gamma", block);
        add_weight(&it, random, SHAPE(c), "%sls2.gamma", block);
    }
    return it;
}

weights make_clip(const sizes *s)
{
    weights it = {.count = 0};
    size_t c = s->width;
    add_weight(&it, NULL, SHAPE(c), "visual.class_embedding");
    add_weight(&it, NULL, SHAPE(1 + s->grid * s->grid, c), "visual.positional_embedding");
    add_weight(&it, NULL, SHAPE(c, 3, s->patch, s->patch), "visual.conv1.weight");
    add_weight(&it, NULL, SHAPE(c, s->channels), "visual.proj");
    add_norm(&it, NULL, "visual.", "ln_pre", c);
    add_norm(&it, NULL, "visual.", "ln_post", c);
    for (size_t i = 0; i < s->depth; i++) {
        char block[64];
        snprintf(block, sizeof block, "visual.transformer.resblocks.%zu.", i);
        add_norm(&it, NULL, block, "ln_1", c);
        add_norm(&it, NULL, block, "ln_2", c);
        add_weight(&it, NULL, SHAPE(3 * c, c), "%sattn.in_proj_weight", block);
        add_weight(&it, NULL, SHAPE(3 * c), "%sattn.in_proj_bias", block);
        add_layer(&it, NULL, block, "attn.out_proj", c, c);
        add_layer(&it, NULL, block, "mlp.c_fc", s->hidden, c);
        add_layer(&it, NULL, block, "mlp.c_proj", c, s->hidden);
    }
    return it;
}
