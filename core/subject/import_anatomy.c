#include "core/subject/import_job.h"

#include "core/subject/parcellation.h"

/* All or nothing of a parcellation is given. */
static be_status check_options(const be_import_options *options, bool *given, be_error *error)
{
    bool labels[] = {options->parcellation[BE_LEFT] != NULL, options->parcellation[BE_RIGHT] != NULL};
    bool names = options->parcellation_names != NULL;
    *given = names;
    if (labels[BE_LEFT] != names || labels[BE_RIGHT] != names)
        return be_fail(error, BE_ERROR_ARGUMENT, "parcellation: needs the labels of both hemispheres and their names");
    if (options->parcellation_family && !be_name_is_plain(options->parcellation_family))
        return be_fail(error, BE_ERROR_ARGUMENT,
                       "parcellation: '%.80s' is no name for a family (1 to %d printable bytes, no comma)",
                       options->parcellation_family, BE_ROI_NAME_SIZE - 1);
    return BE_OK;
}

/* Where the ROIs are those of a parcellation, the families' are not read. */
be_status be_import_anatomy(be_import_job *self)
{
    static const char *const none[] = {NULL};
    const be_import_options *options = self->options;
    const be_checkpoint *checkpoint = &self->sources[0].checkpoint;
    const char *const *families = be_readout_families(checkpoint->readout_res);
    const be_parcellation parcellation = {.labels = {options->parcellation[BE_LEFT], options->parcellation[BE_RIGHT]},
                                          .names = options->parcellation_names,
                                          .family = options->parcellation_family ? options->parcellation_family : "parcellation"};
    be_queried_rois queried = be_readout_queried_rois(checkpoint->readout_res, checkpoint->encoder_arch);
    bool given;
    be_status status = check_options(options, &given, self->error);
    self->rois_from = options->data;
    if (status != BE_OK || !given)
        return status == BE_OK ? be_algonauts_read(options->data, families, &self->data, self->error) : status;
    if (queried == BE_QUERIED_OWN)
        return be_fail(self->error, BE_ERROR_ARGUMENT,
                       "%s: readout_res %s has queries for regions of its own, which a parcellation cannot "
                       "replace", self->sources[0].from.checkpoint, checkpoint->readout_res);
    if (queried == BE_QUERIED_ANY) {
        families = none;
        self->rois_from = parcellation.names;
    }
    status = be_algonauts_read(options->data, families, &self->data, self->error);
    return status == BE_OK ? be_parcellation_add(&parcellation, &self->data, self->error) : status;
}
