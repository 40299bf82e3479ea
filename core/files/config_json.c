#include "core/files/config_json.h"

#include <stdio.h>
#include <string.h>

#include "core/files/json.h"
#include "core/files/mapped_file.h"

enum { PATH_SIZE = 4096, LARGEST = 1 << 20 };

be_status be_config_json_size(const char *weights_path, const char *key, size_t *value, be_error *error)
{
    char path[PATH_SIZE];
    const char *slash = strrchr(weights_path, '/');
    int folder = slash ? (int)(slash - weights_path) + 1 : 0;
    be_mapped_file file;
    *value = 0;
    if (snprintf(path, sizeof path, "%.*sconfig.json", folder, weights_path) >= (int)sizeof path)
        return be_fail(error, BE_ERROR_ARGUMENT, "%s: the path is too long", weights_path);
    be_status status = be_mapped_file_open(path, &file, error);
    if (status == BE_ERROR_NOT_FOUND)
        return BE_OK;
    if (status != BE_OK)
        return status;
    cJSON *root;
    status = be_json_parse((const char *)file.bytes, file.size, path, &root, error);
    be_mapped_file_close(&file);
    if (status != BE_OK)
        return status;
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(root, key);
    if (!cJSON_IsObject(root))
        status = be_fail(error, BE_ERROR_FORMAT, "%s: is no JSON object", path);
    else if (item && (!be_json_get_size(item, value) || *value < 1 || *value > LARGEST))
        status = be_fail(error, BE_ERROR_FORMAT, "%s: '%s' is no whole number between 1 and %d", path, key, LARGEST);
    cJSON_Delete(root);
    return status;
}
