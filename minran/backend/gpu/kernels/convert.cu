// The same numbers, stored in another way: maps come into the network as float, and leave it so.

#include "common.cuh"

template <typename From, typename To>
__global__ void convert(const From* x, To* y, int count) {
  FOR_EACH(i, count) y[i] = To(x[i]);
}
