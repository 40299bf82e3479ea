#include "core/files/config_json.h"

#include <stdio.h>
#include <string.h>

#include "core/files/json.h"
#include "core/files/mapped_file.h"

enum { PATH_SIZE = 4096, LARGEST = 1 << 20 };

/* *root = the config.json beside the weights, to be deleted; NULL when there is none. `path` becomes its path. */
static be_status open_config(const char *weights_path, char path[PATH_SIZE], cJSON **root, be_error *error)
{
    const char *slash = strrchr(weights_path, '/');
    int folder = slash ? (int)(slash - weights_path) + 1 : 0;
    be_mapped_file file;
    *root = NULL;
    if (snprintf(path, PATH_SIZE, "%.*sconfig.json", folder, weights_path) >= PATH_SIZE)
        return be_fail(error, BE_ERROR_ARGUMENT, "%s: the path is too long", weights_path);
    be_status status = be_mapped_file_open(path, &file, error);
    if (status != BE_OK)
        return status == BE_ERROR_NOT_FOUND ? BE_OK : status;
    status = be_json_parse((const char *)file.bytes, file.size, path, root, error);
    be_mapped_file_close(&file);
    if (status != BE_OK || cJSON_IsObject(*root))
        return status;
    cJSON_Delete(*root);
    return be_fail(error, BE_ERROR_FORMAT, "%s: is no JSON object", path);
}

static const cJSON *find_item(const cJSON *root, const char *key)
{
    const cJSON *vision = cJSON_GetObjectItemCaseSensitive(root, "vision_config");
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(vision, key);
    return item ? item : cJSON_GetObjectItemCaseSensitive(root, key);
}

be_status be_config_json_size(const char *weights_path, const char *key, size_t *value, be_error *error)
{
    char path[PATH_SIZE];
    cJSON *root;
    *value = 0;
    be_status status = open_config(weights_path, path, &root, error);
    if (status != BE_OK)
        return status;
    const cJSON *item = find_item(root, key);
    if (item && (!be_json_get_size(item, value) || *value < 1 || *value > LARGEST))
        status = be_fail(error, BE_ERROR_FORMAT, "%s: '%s' is no whole number between 1 and %d", path, key, LARGEST);
    cJSON_Delete(root);
    return status;
}

be_status be_config_json_text(const char *weights_path, const char *key, char *value, size_t size, be_error *error)
{
    char path[PATH_SIZE];
    cJSON *root;
    *value = '\0';
    be_status status = open_config(weights_path, path, &root, error);
    if (status != BE_OK)
        return status;
    const cJSON *item = find_item(root, key);
    const char *text = cJSON_GetStringValue(item);
    if (item && (!text || strlen(text) >= size))
        status = be_fail(error, BE_ERROR_FORMAT, "%s: '%s' is no text of fewer than %zu bytes", path, key, size);
    else if (text)
        memcpy(value, text, strlen(text) + 1);
    cJSON_Delete(root);
    return status;
}
