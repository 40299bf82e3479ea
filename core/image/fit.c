#include "core/image/image.h"

#include <string.h>

#include "core/image/resample.h"

static const char *const FIT_NAMES[] = {
    [BE_FIT_CROP] = "crop", [BE_FIT_STRETCH] = "stretch", [BE_FIT_PAD] = "pad", [BE_FIT_NATIVE] = "native"};

be_status be_fit_parse(const char *text, be_fit *fit, be_error *error)
{
    for (size_t i = 0; i < sizeof FIT_NAMES / sizeof *FIT_NAMES; i++) {
        if (strcmp(text, FIT_NAMES[i]) == 0) {
            *fit = (be_fit)i;
            return BE_OK;
        }
    }
    return be_fail(error, BE_ERROR_ARGUMENT, "fit \"%s\" is none of crop, stretch, pad, native", text);
}

const char *be_fit_name(be_fit fit)
{
    return FIT_NAMES[fit];
}

static be_canvas whole(const be_image *image)
{
    return (be_canvas){.rgb = image->rgb,
                       .stride = image->width * 3,
                       .width = image->width,
                       .height = image->height,
                       .canvas_width = image->width,
                       .canvas_height = image->height};
}

static be_canvas centre_square(const be_image *image)
{
    be_canvas canvas = whole(image);
    size_t side = image->width < image->height ? image->width : image->height;
    size_t left = (image->width - side) / 2, top = (image->height - side) / 2;
    canvas.rgb += top * canvas.stride + left * 3;
    canvas.width = canvas.height = canvas.canvas_width = canvas.canvas_height = side;
    return canvas;
}

/* The ground is the mean colour, which is zero in the model's input but for rounding. */
static be_canvas padded_square(const be_image *image)
{
    be_canvas canvas = whole(image);
    size_t side = image->width > image->height ? image->width : image->height;
    canvas.left = (side - image->width) / 2;
    canvas.top = (side - image->height) / 2;
    canvas.canvas_width = canvas.canvas_height = side;
    memcpy(canvas.ground, (const uint8_t[3]){124, 116, 104}, 3);
    return canvas;
}

static be_status copy(const be_image *image, be_image *out, be_error *error)
{
    be_image made;
    be_status status = be_image_create(image->width, image->height, &made, error);
    if (status != BE_OK)
        return status;
    memcpy(made.rgb, image->rgb, image->width * image->height * 3);
    *out = made;
    return BE_OK;
}

be_status be_image_resize(const be_image *image, size_t width, size_t height, be_image *out, be_error *error)
{
    if (image->width == width && image->height == height)
        return copy(image, out, error);
    be_canvas canvas = whole(image);
    return be_resample(&canvas, width, height, out, error);
}

be_status be_image_fit(const be_image *image, be_fit fit, size_t size, be_image *out, be_error *error)
{
    if (fit == BE_FIT_NATIVE)
        return copy(image, out, error);
    if (fit == BE_FIT_STRETCH || image->width == image->height)
        return be_image_resize(image, size, size, out, error);
    be_canvas canvas = fit == BE_FIT_PAD ? padded_square(image) : centre_square(image);
    return be_resample(&canvas, size, size, out, error);
}
