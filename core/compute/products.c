#include "core/compute/products.h"

void be_list_linear(const be_product_list *list, be_stage stage, be_precision precision, size_t rows, size_t columns, size_t inner)
{
    list->add(list->context, &(be_product){.stage = stage, .precision = precision, .rows = rows, .columns = columns, .inner = inner,
                                           .count = 1, .shared = true, .transposed = true});
}

void be_list_attention(const be_product_list *list, be_stage stage, be_precision precision, size_t queries, size_t tokens,
                       size_t head_width, size_t heads)
{
    be_product product = {.stage = stage, .precision = precision, .rows = queries, .columns = tokens, .inner = head_width,
                          .count = heads, .transposed = true};
    list->add(list->context, &product);
    product.columns = head_width, product.inner = tokens, product.transposed = false;
    list->add(list->context, &product);
}
