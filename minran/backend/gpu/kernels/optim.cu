// Stochastic gradient descent with momentum: one launch for a whole buffer of parameters, and one
// before it that brings all gradients together.

#include "common.cuh"

//   g = grad + weight_decay param
//   v = momentum v + g
//   param = param - lr (g + momentum v if `nesterov`, else v)
//
// The learning rate is `lr`, or what `lr_array` points to: a captured step cannot change an
// argument, but it can read a number that was changed in the meantime.
template <typename T>
__global__ void sgd_update(T* param, const T* grad, T* velocity, T lr, const T* lr_array,
                           T momentum, T weight_decay, int nesterov, int count) {
  const T rate = lr_array ? *lr_array : lr;
  FOR_EACH(i, count) {
    const T g = grad[i] + weight_decay * param[i];
    const T v = momentum * velocity[i] + g;
    velocity[i] = v;
    param[i] -= rate * (nesterov ? g + momentum * v : v);
  }
}

// flat[first + i] = array[i] for the array of each row of blocks. The arrays lie anywhere in the
// memory: `addresses` says where each starts, `places` its first number in `flat` and its size.
template <typename T>
__global__ void gather(const unsigned long long* addresses, const int* places, T* flat) {
  const T* array = reinterpret_cast<const T*>(addresses[blockIdx.y]);
  const int first = places[2 * blockIdx.y], size = places[2 * blockIdx.y + 1];
  FOR_EACH(i, size) flat[first + i] = array[i];
}
