// Stochastic gradient descent with momentum: one launch for a whole buffer of parameters, and one
// before it that brings all gradients together.

#include "common.cuh"

//   g = grad + weight_decay param
//   v = momentum v + g
//   param = param - lr (g + momentum v if `nesterov`, else v)
//
// The learning rate is `lr`, or what `lr_array` points to: a captured step cannot change an
// argument, but it can read a number that was changed in the meantime.
template <typename R>
__global__ void sgd_update(R* param, const R* grad, R* velocity, R lr, const R* lr_array,
                           R momentum, R weight_decay, int nesterov, int count) {
  const R rate = lr_array ? *lr_array : lr;
  FOR_EACH(i, count) {
    const R g = grad[i] + weight_decay * param[i];
    const R v = momentum * velocity[i] + g;
    velocity[i] = v;
    param[i] -= rate * (nesterov ? g + momentum * v : v);
  }
}

// flat[first + i] = array[i] for the array of each row of blocks. The arrays lie anywhere in the
// memory: `addresses` says where each starts, `places` its first number in `flat` and its size.
template <typename R>
__global__ void gather(const unsigned long long* addresses, const int* places, R* flat) {
  const R* array = reinterpret_cast<const R*>(addresses[blockIdx.y]);
  const int first = places[2 * blockIdx.y], size = places[2 * blockIdx.y + 1];
  FOR_EACH(i, size) flat[first + i] = array[i];
}
