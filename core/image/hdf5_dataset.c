#include "core/image/hdf5_dataset.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/image/hdf5_images.h"

/* --- what went wrong ------------------------------------------------------------------------------ */

typedef struct failure {
    char reason[160];
    be_status status;
} failure;

/* The first one visited is the one that made the others. */
static herr_t take_first(unsigned number, const H5E_error2_t *entry, void *context)
{
    failure *it = context;
    if (number > 0)
        return 0;
    snprintf(it->reason, sizeof it->reason, "%s", entry->desc ? entry->desc : "");
    if (entry->maj_num == H5E_RESOURCE && entry->min_num == H5E_NOSPACE)
        it->status = BE_ERROR_MEMORY;
    else if (entry->min_num == H5E_CANTLOCKFILE || (entry->maj_num == H5E_IO && entry->min_num == H5E_READERROR))
        it->status = BE_ERROR_IO;
    return 0;
}

be_status be_hdf5_fail(be_error *error, const char *name, const char *what)
{
    failure it = {.status = BE_ERROR_FORMAT};
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, take_first, &it);
    return be_fail(error, it.status, "%s: %s: %s", name, what, *it.reason ? it.reason : "libhdf5 does not say why");
}

/* --- what a dataset is ---------------------------------------------------------------------------- */

static bool name_type(hid_t dataset, char text[BE_HDF5_TYPE_SIZE])
{
    hid_t type = H5Dget_type(dataset);
    if (type < 0)
        return false;
    H5T_class_t kind = H5Tget_class(type);
    size_t bits = 8 * H5Tget_size(type);
    if (kind == H5T_INTEGER && H5Tget_precision(type) == bits)
        snprintf(text, BE_HDF5_TYPE_SIZE, "%sint%zu", H5Tget_sign(type) == H5T_SGN_NONE ? "u" : "", bits);
    else if (kind == H5T_FLOAT)
        snprintf(text, BE_HDF5_TYPE_SIZE, "float%zu", bits);
    else
        snprintf(text, BE_HDF5_TYPE_SIZE, "%s", kind == H5T_STRING ? "string" : kind == H5T_COMPOUND ? "compound" : "other");
    H5Tclose(type);
    return true;
}

static bool read_storage(hid_t dataset, be_hdf5_dataset *about)
{
    hid_t properties = H5Dget_create_plist(dataset);
    if (properties < 0)
        return false;
    H5D_layout_t layout = H5Pget_layout(properties);
    int files = layout == H5D_CONTIGUOUS ? H5Pget_external_count(properties) : 0;
    about->elsewhere = layout == H5D_VIRTUAL || files > 0;
    H5Pclose(properties);
    return layout >= 0 && files >= 0;
}

static bool read_shape(hid_t dataset, be_hdf5_dataset *about)
{
    hid_t space = H5Dget_space(dataset);
    if (space < 0)
        return false;
    int rank = H5Sget_simple_extent_dims(space, about->shape, NULL);
    H5Sclose(space);
    about->rank = rank < 0 ? 0 : (size_t)rank;
    return rank >= 0;
}

/* Asked for the shape of a virtual dataset, libhdf5 would open the files that it is made of. */
bool be_hdf5_examine(hid_t dataset, be_hdf5_dataset *about)
{
    *about = (be_hdf5_dataset){.rank = 0};
    return name_type(dataset, about->type) && read_storage(dataset, about) && (about->elsewhere || read_shape(dataset, about));
}

void be_hdf5_describe(const be_hdf5_dataset *about, char *text, size_t size)
{
    const char *next = about->elsewhere ? " in other files" : about->rank ? " " : "";
    size_t length = (size_t)snprintf(text, size, "%s%s", about->type, next);
    for (size_t i = 0; i < about->rank && length < size; i++)
        length += (size_t)snprintf(text + length, size - length, "[%llu]", (unsigned long long)about->shape[i]);
}

bool be_hdf5_is_pictures(const be_hdf5_dataset *about)
{
    return strcmp(about->type, "uint8") == 0 && !about->elsewhere && about->rank == BE_HDF5_DIMS && about->shape[0] > 0 &&
           about->shape[1] > 0 && about->shape[2] > 0 && about->shape[3] == 3;
}

/* --- which dataset -------------------------------------------------------------------------------- */

static be_status check_link(hid_t file, const char *path, const char *part, be_error *error)
{
    H5L_info_t link;
    if (H5Lexists(file, part, H5P_DEFAULT) <= 0 || H5Lget_info(file, part, &link, H5P_DEFAULT) < 0)
        return BE_ERROR_NOT_FOUND; /* without a sentence: the caller's lists what there is */
    if (link.type != H5L_TYPE_HARD)
        return be_fail(error, BE_ERROR_UNSUPPORTED, "%s: %s: is a link to another place or file, which is not followed", path,
                       part);
    return BE_OK;
}

enum { LISTED_SIZE = 320 };

/* What stands at a file's top level. */
typedef struct listing {
    char text[LISTED_SIZE]; /* as much of it as there is room for */
    size_t length;
    bool cut;
    size_t pictures;        /* datasets of pictures */
    char *name;             /* of the first of these */
    be_status status;       /* of copying it */
} listing;

static void list(listing *it, const char *name, const char *what)
{
    char entry[128];
    snprintf(entry, sizeof entry, "%s%.40s%s", it->length ? ", " : "", name, what);
    if (it->length + strlen(entry) < LISTED_SIZE)
        it->length += (size_t)snprintf(it->text + it->length, LISTED_SIZE - it->length, "%s", entry);
    else
        it->cut = true;
}

static void list_dataset(listing *it, hid_t dataset, const char *name)
{
    be_hdf5_dataset about;
    char what[80] = " ";
    if (!be_hdf5_examine(dataset, &about)) {
        list(it, name, " (damaged)");
        return;
    }
    be_hdf5_describe(&about, what + 1, sizeof what - 1);
    list(it, name, what);
    if (be_hdf5_is_pictures(&about) && it->pictures++ == 0)
        it->status = be_copy_text(&it->name, name, NULL);
}

static herr_t visit(hid_t group, const char *name, const H5L_info_t *link, void *context)
{
    listing *it = context;
    if (link->type != H5L_TYPE_HARD) {
        list(it, name, " (a link)");
        return 0;
    }
    hid_t object = H5Oopen(group, name, H5P_DEFAULT);
    H5I_type_t kind = object < 0 ? H5I_BADID : H5Iget_type(object);
    if (kind == H5I_DATASET)
        list_dataset(it, object, name);
    else
        list(it, name, kind == H5I_GROUP ? "/" : " (no dataset)");
    if (object >= 0)
        H5Oclose(object);
    return 0;
}

static be_status list_all(hid_t file, const char *path, listing *all, be_error *error)
{
    *all = (listing){.length = 0};
    be_status status = BE_OK;
    if (H5Literate(file, H5_INDEX_NAME, H5_ITER_NATIVE, NULL, visit, all) < 0)
        status = be_hdf5_fail(error, path, "its datasets cannot be listed");
    else if (all->status != BE_OK)
        status = be_fail_memory(error, 1, "a dataset's name");
    if (status != BE_OK)
        free(all->name);
    return status;
}

static be_status fail_listing(hid_t file, const char *path, const char *part, be_error *error)
{
    listing all;
    be_status status = list_all(file, path, &all, error);
    if (status != BE_OK)
        return status;
    free(all.name);
    return be_fail(error, BE_ERROR_NOT_FOUND, "%s: there is no '%s' in the file, which holds: %s%s", path, part,
                   all.length ? all.text : "nothing", all.cut ? ", ..." : "");
}

/* From the front, so that libhdf5 never walks through a link that has not been looked at. */
be_status be_hdf5_check_path(hid_t file, const char *path, const char *name, be_error *error)
{
    char *part;
    size_t length = strlen(name);
    be_status status = be_copy_text(&part, name, error);
    if (status != BE_OK)
        return status;
    if (length == 0)
        status = be_fail(error, BE_ERROR_NOT_FOUND, "%s: the dataset's name is empty", path);
    for (size_t end = strspn(name, "/"); end < length && status == BE_OK; end++) {
        end += strcspn(name + end, "/");
        part[end] = '\0';
        status = check_link(file, path, part, error);
        if (status == BE_ERROR_NOT_FOUND)
            status = fail_listing(file, path, part, error);
        part[end] = name[end];
    }
    free(part);
    return status;
}

be_status be_hdf5_choose(hid_t file, const char *path, char **name, be_error *error)
{
    listing all;
    if (H5Lexists(file, BE_HDF5_DATASET, H5P_DEFAULT) > 0)
        return be_copy_text(name, BE_HDF5_DATASET, error);
    be_status status = list_all(file, path, &all, error);
    if (status != BE_OK)
        return status;
    if (all.pictures == 1) {
        *name = all.name;
        return BE_OK;
    }
    free(all.name);
    return be_fail(error, BE_ERROR_NOT_FOUND, "%s: there is no dataset '%s', nor %s of pictures (uint8 "
                   "[pictures][height][width][3]) to take in its place: --dataset names another; the file holds: %s%s", path,
                   BE_HDF5_DATASET, all.pictures ? "just one" : "any", all.length ? all.text : "nothing", all.cut ? ", ..." : "");
}
