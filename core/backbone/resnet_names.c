/* Finding a residual network in a file, in torchvision's tensor names. */
#include "core/backbone/resnet_names.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "core/base/memory.h"

enum { STAGE_LIMIT = 128, WIDTH_LIMIT = 1 << 16, COLOURS = 3 };

/* --- names ---------------------------------------------------------------------------------------- */

static const char mark[] = "layer1.0.conv1.weight", other_mark[] = "layer1.0.conv2.weight";

/* Whether the name ends in `end`; what stands before it is the prefix. */
static bool find_prefix(const char *name, const char *end, char prefix[RESNET_PREFIX_SIZE])
{
    size_t size = strlen(name), length = strlen(end);
    if (size < length || size - length >= RESNET_PREFIX_SIZE || strcmp(name + size - length, end) != 0)
        return false;
    snprintf(prefix, RESNET_PREFIX_SIZE, "%.*s", (int)(size - length), name);
    return true;
}

bool resnet_find(const be_tensor_file *file, resnet_source *found)
{
    for (size_t t = 0; t < be_tensor_file_count(file); t++) {
        found->file = file;
        if (find_prefix(be_tensor_file_at(file, t)->name, mark, found->prefix))
            return true;
    }
    return false;
}

void resnet_recognise(const be_tensor_file *file, be_backbone_signs *signs)
{
    char prefix[RESNET_PREFIX_SIZE];
    for (size_t t = 0; t < be_tensor_file_count(file); t++) {
        const char *name = be_tensor_file_at(file, t)->name;
        if (find_prefix(name, other_mark, prefix))
            snprintf(signs->missing, sizeof signs->missing, "%s%s", prefix, mark);
        else if (find_prefix(name, mark, prefix) && signs->first)
            signs->second = name;
        else if (find_prefix(name, mark, prefix))
            signs->first = name;
    }
}

resnet_place resnet_stem_place(void)
{
    return (resnet_place){"conv1", "bn1"};
}

resnet_place resnet_step_place(size_t stage, size_t block, size_t step)
{
    resnet_place it;
    snprintf(it.convolution, sizeof it.convolution, "layer%zu.%zu.conv%zu", stage + 1, block, step + 1);
    snprintf(it.norm, sizeof it.norm, "layer%zu.%zu.bn%zu", stage + 1, block, step + 1);
    return it;
}

resnet_place resnet_shortcut_place(size_t stage, size_t block)
{
    resnet_place it;
    snprintf(it.convolution, sizeof it.convolution, "layer%zu.%zu.downsample.0", stage + 1, block);
    snprintf(it.norm, sizeof it.norm, "layer%zu.%zu.downsample.1", stage + 1, block);
    return it;
}

const be_tensor *resnet_look_up(const resnet_source *from, const char *part, const char *suffix, char name[RESNET_NAME_SIZE])
{
    snprintf(name, RESNET_NAME_SIZE, "%s%s.%s", from->prefix, part, suffix);
    return be_tensor_file_find(from->file, name);
}

static bool is_there(const resnet_source *from, const char *part)
{
    char name[RESNET_NAME_SIZE];
    return resnet_look_up(from, part, "weight", name) != NULL;
}

static be_status fail_missing(const resnet_source *from, const char *part, be_error *error)
{
    return be_fail(error, BE_ERROR_FORMAT, "%s: tensor '%s%s.weight' is missing", be_tensor_file_path(from->file), from->prefix,
                   part);
}

/* --- shapes --------------------------------------------------------------------------------------- */

const char *const resnet_norm_parts[NORM_PARTS] = {"weight", "bias", "running_mean", "running_var"};

static be_status check_norm(const resnet_source *from, const resnet_place *at, size_t channels, be_error *error)
{
    char name[RESNET_NAME_SIZE];
    for (size_t i = 0; i < NORM_PARTS; i++) {
        const be_tensor *tensor = resnet_look_up(from, at->norm, resnet_norm_parts[i], name);
        if (!tensor)
            return be_fail(error, BE_ERROR_FORMAT, "%s: tensor '%s' is missing", be_tensor_file_path(from->file), name);
        if (tensor->n_dims != 1 || tensor->count != channels)
            return be_fail(error, BE_ERROR_FORMAT, "%s: tensor '%s' has the wrong shape, expected [%zu]",
                           be_tensor_file_path(from->file), name, channels);
    }
    return BE_OK;
}

/* Checks the tensors of a convolution whose `in` and `kernel` are set; and its `out`, which is taken from the file when it
 * is 0. */
static be_status check_convolution(const resnet_source *from, const resnet_place *at, be_convolution *it, be_error *error)
{
    char name[RESNET_NAME_SIZE];
    const be_tensor *tensor = resnet_look_up(from, at->convolution, "weight", name);
    if (!tensor)
        return fail_missing(from, at->convolution, error);
    const char *path = be_tensor_file_path(from->file);
    if (tensor->n_dims != 4)
        return be_fail(error, BE_ERROR_FORMAT, "%s: tensor '%s' has %zu dimensions, expected 4", path, name, tensor->n_dims);
    size_t out = it->out ? it->out : tensor->shape[0];
    if (tensor->shape[0] != out || tensor->shape[1] != it->in || tensor->shape[2] != it->kernel ||
        tensor->shape[3] != it->kernel)
        return be_fail(error, BE_ERROR_FORMAT, "%s: tensor '%s' is [%zu][%zu][%zu][%zu], expected [%zu][%zu][%zu][%zu]", path,
                       name, tensor->shape[0], tensor->shape[1], tensor->shape[2], tensor->shape[3], out, it->in, it->kernel,
                       it->kernel);
    if (out == 0 || out > WIDTH_LIMIT)
        return be_fail(error, BE_ERROR_FORMAT, "%s: tensor '%s' has %zu output channels, expected 1 to %d", path, name, out,
                       WIDTH_LIMIT);
    it->out = out;
    return check_norm(from, at, out, error);
}

/* --- the network ---------------------------------------------------------------------------------- */

/* The stride of a block is on its 3x3 convolution (a basic block's first one). Dilation replaces the stride of the last
 * stage, whose first block keeps a kernel without gaps: it follows a stage without dilation. */
static void shape_steps(resnet_block *block, size_t stage, size_t number, bool dilated)
{
    size_t stride = number == 0 && stage > 0 ? 2 : 1, dilation = 1, strided = block->n_steps == BASIC_STEPS ? 0 : 1;
    if (dilated && stage + 1 == RESNET_STAGES) {
        stride = 1;
        dilation = number == 0 ? 1 : 2;
    }
    for (size_t s = 0; s < block->n_steps; s++) {
        bool wide = block->n_steps == BASIC_STEPS || s == 1;
        block->steps[s] = (be_convolution){.kernel = wide ? 3 : 1, .padding = wide ? dilation : 0, .dilation = dilation,
                                           .stride = s == strided ? stride : 1};
    }
    block->shortcut = (be_convolution){.kernel = 1, .dilation = 1, .stride = stride};
}

/* `in` channels enter the block; those that leave are its last convolution's. */
static be_status describe_block(const resnet_source *from, resnet_block *block, size_t stage, size_t number, size_t in,
                                be_error *error)
{
    resnet_place shortcut = resnet_shortcut_place(stage, number);
    be_convolution *last = &block->steps[block->n_steps - 1];
    bool changes = is_there(from, shortcut.convolution);
    be_status status = BE_OK;
    for (size_t s = 0; s < block->n_steps && status == BE_OK; s++) {
        resnet_place at = resnet_step_place(stage, number, s);
        be_convolution *step = &block->steps[s];
        step->in = s == 0 ? in : block->steps[s - 1].out;
        step->out = step == last && number > 0 && !changes ? in : 0;
        status = check_convolution(from, &at, step, error);
    }
    if (status != BE_OK)
        return status;
    if (!changes && (block->shortcut.stride != 1 || last->out != in))
        return fail_missing(from, shortcut.convolution, error);
    block->shortcut.in = in;
    block->shortcut.out = last->out;
    if (changes)
        return check_convolution(from, &shortcut, &block->shortcut, error);
    block->shortcut.kernel = 0;
    return BE_OK;
}

/* The number of a tensor's block when it is one of the stage's: 4 for "layer1.4.bn1.bias"; SIZE_MAX otherwise. */
static size_t block_number(const resnet_source *from, size_t stage, const char *name)
{
    char start[RESNET_NAME_SIZE];
    size_t length = (size_t)snprintf(start, sizeof start, "%slayer%zu.", from->prefix, stage + 1), number = 0, digits;
    if (strncmp(name, start, length) != 0)
        return SIZE_MAX;
    for (digits = 0; name[length] >= '0' && name[length] <= '9' && digits < 4; length++, digits++)
        number = number * 10 + (size_t)(name[length] - '0');
    return digits > 0 && name[length] == '.' ? number : SIZE_MAX;
}

/* A stage has as many blocks as the highest number in any name says: each of them must then be whole. */
static be_status count_blocks(const resnet_source *from, resnet *model, be_error *error)
{
    for (size_t stage = 0; stage < RESNET_STAGES; stage++) {
        size_t count = 1;
        for (size_t t = 0; t < be_tensor_file_count(from->file); t++) {
            size_t number = block_number(from, stage, be_tensor_file_at(from->file, t)->name);
            if (number != SIZE_MAX && number >= count)
                count = number + 1;
        }
        if (count > STAGE_LIMIT)
            return be_fail(error, BE_ERROR_LIMIT, "%s: layer%zu has a block number %zu, the limit is %d blocks",
                           be_tensor_file_path(from->file), stage + 1, count - 1, STAGE_LIMIT);
        model->counts[stage] = count;
        model->n_blocks += count;
    }
    return BE_OK;
}

/* Whether `part`, what stands after a block's number, is of a convolution, a batch norm or the shortcut of such a block. */
static bool is_block_part(const char *part, size_t n_steps)
{
    static const char *const endings[] = {".weight", ".bias", ".running_mean", ".running_var", ".num_batches_tracked"};
    char stems[2 * RESNET_MOST_STEPS + 2][RESNET_PART_SIZE] = {"downsample.0", "downsample.1"};
    for (size_t s = 0; s < n_steps; s++) {
        snprintf(stems[2 + 2 * s], RESNET_PART_SIZE, "conv%zu", s + 1);
        snprintf(stems[3 + 2 * s], RESNET_PART_SIZE, "bn%zu", s + 1);
    }
    for (size_t s = 0; s < 2 + 2 * n_steps; s++) {
        size_t length = strlen(stems[s]), known = s % 2 == 0 ? 1 : sizeof endings / sizeof *endings; /* convolutions have no bias */
        for (size_t e = 0; e < known && strncmp(part, stems[s], length) == 0; e++) {
            if (strcmp(part + length, endings[e]) == 0)
                return true;
        }
    }
    return false;
}

/* What else is in a block would change what it computes. */
static be_status check_block_parts(const resnet_source *from, bool bottleneck, be_error *error)
{
    for (size_t stage = 0; stage < RESNET_STAGES; stage++) {
        for (size_t t = 0; t < be_tensor_file_count(from->file); t++) {
            const char *name = be_tensor_file_at(from->file, t)->name;
            if (block_number(from, stage, name) == SIZE_MAX)
                continue;
            const char *part = name + strlen(from->prefix) + strlen("layer1."); /* then the block's number */
            part = strchr(part, '.') + 1;
            if (!is_block_part(part, bottleneck ? BOTTLENECK_STEPS : BASIC_STEPS))
                return be_fail(error, BE_ERROR_UNSUPPORTED, "%s: tensor '%s' is of no %s block known here",
                               be_tensor_file_path(from->file), name, bottleneck ? "bottleneck" : "basic");
        }
    }
    return BE_OK;
}

/* A bottleneck begins with a 1x1 convolution. */
static bool has_bottlenecks(const resnet_source *from)
{
    char name[RESNET_NAME_SIZE];
    const be_tensor *first = resnet_look_up(from, resnet_step_place(0, 0, 0).convolution, "weight", name);
    return first && first->n_dims == 4 && first->shape[2] == 1;
}

be_status resnet_describe(const resnet_source *from, bool dilated, resnet *model, be_error *error)
{
    void *memory;
    resnet_place stem = resnet_stem_place();
    bool bottleneck = has_bottlenecks(from);
    if (dilated && !bottleneck)
        return be_fail(error, BE_ERROR_UNSUPPORTED, "%s: dilation is for bottleneck blocks (resnet50), this has basic ones",
                       be_tensor_file_path(from->file));
    model->stem = (be_convolution){.in = COLOURS, .kernel = 7, .stride = 2, .padding = 3, .dilation = 1};
    be_status status = check_convolution(from, &stem, &model->stem, error);
    if (status == BE_OK)
        status = count_blocks(from, model, error);
    if (status == BE_OK)
        status = be_allocate(&memory, model->n_blocks, sizeof(resnet_block), "the blocks of a backbone", error);
    if (status != BE_OK)
        return status;
    model->blocks = memory;
    resnet_block *block = model->blocks;
    size_t channels = model->stem.out;
    for (size_t stage = 0; stage < RESNET_STAGES; stage++) {
        for (size_t number = 0; number < model->counts[stage] && status == BE_OK; number++, block++) {
            block->n_steps = bottleneck ? BOTTLENECK_STEPS : BASIC_STEPS;
            shape_steps(block, stage, number, dilated);
            status = describe_block(from, block, stage, number, channels, error);
            channels = block->steps[block->n_steps - 1].out;
        }
    }
    return status == BE_OK ? check_block_parts(from, bottleneck, error) : status;
}
