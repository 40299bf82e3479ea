/* The config.json that Hugging Face puts beside a model's weights. */
#ifndef BRAINENC_FILES_CONFIG_JSON_H
#define BRAINENC_FILES_CONFIG_JSON_H

#include <stddef.h>

#include "core/base/error.h"

/* Both look in the config.json of the folder `weights_path` lies in; a key under "vision_config", which models of pictures
 * and text have, goes before one at the top. BE_ERROR_FORMAT when the file is no JSON object. */

/* *value = the positive whole number under `key`; 0 when there is no such file or key. BE_ERROR_FORMAT when the value is no
 * positive whole number. */
be_status be_config_json_size(const char *weights_path, const char *key, size_t *value, be_error *error);

/* value[size] = the text under `key`; "" when there is no such file or key. BE_ERROR_FORMAT when the value is no text or too
 * long for it. */
be_status be_config_json_text(const char *weights_path, const char *key, char *value, size_t size, be_error *error);

#endif
