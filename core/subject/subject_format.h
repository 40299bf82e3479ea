/* The JSON object in a subject file's metadata; for the files of this folder only.
 *
 *  {"format": 2, "subject": "subj01", "demo": false, "units": "...", "terms": "...",
 *   "features": "dinov2_q", "channels": 768, "image_size": 425 or null, "dilation": false,
 *   "storage": "f32" or "bf16" (of matrices; "f32" when missing), "training_set": "NSD (Algonauts 2023), subj01: ..." (or missing),
 *   "encoder": "transformer", "readout": "rois_all", "streams_order": "rest-last" (of streams_inc), "unverified": "",
 *   "settings": {"width": 768, "queries": 50, "heads": 16, "enc_layers": 0, "dec_layers": 1, "pre_norm": true,
 *                "learned_position": false, "class_token": false, "input_projection": false, "stride": 3},
 *   "rois": [{"name": "V1v", "family": "prf-visualrois"}, ...],          without "rest"
 *   "fsaverage": {"lh": 163842, "rh": 163842},
 *   "members": [{"layer": 1, "run": 1, "source": {"sha256": "...", "format": "torch zip"},
 *                "checkpoint_date": "2025-03-01" (when the checkpoint was last changed, UTC; or missing),
 *                "validation": 0.4 or null, "training": {"lr": 0.0005, ...}}]}
 */
#ifndef BRAINENC_SUBJECT_SUBJECT_FORMAT_H
#define BRAINENC_SUBJECT_SUBJECT_FORMAT_H

#define BE_SUBJECT_METADATA_KEY "brainenc"
#define BE_SUBJECT_MEMBER_PREFIX "members.%zu."
#define BE_SUBJECT_UNITS "as trained (NSD: z-scored betas)"
#define BE_SUBJECT_TERMS \
    "Holds masks derived from the data it was trained on: that data's terms of use apply (NSD: not to be passed on)."
enum { BE_SUBJECT_FORMAT = 2 };

#endif
