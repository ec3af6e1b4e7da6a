// What a batch must know of deep supervision before there is a sample: how many targets there are and of which shape.
#pragma once

#include "fastnnunet/transforms/transform.h"

namespace fastnnunet::transforms {

bool is_full_scale(const Record::Numbers& scale);
// Python's round of shape * scale on the axes that count.
Index3 downsampled_shape(const Index3& shape, int dims, const Record::Numbers& scale);

}  // namespace fastnnunet::transforms
