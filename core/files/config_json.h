/* The config.json that Hugging Face puts beside a model's weights. */
#ifndef BRAINENC_FILES_CONFIG_JSON_H
#define BRAINENC_FILES_CONFIG_JSON_H

#include <stddef.h>

#include "core/base/error.h"

/* *value = the positive whole number under `key` in the config.json of the folder `weights_path` lies in; 0 when there is
 * no such file or key. BE_ERROR_FORMAT when the file is no JSON object or the value no positive whole number. */
be_status be_config_json_size(const char *weights_path, const char *key, size_t *value, be_error *error);

#endif
