// A training batch from pictures that live on the GPU: pick, pad and crop, mirror, subtract the
// mean, in one launch. Nothing is drawn from a generator with a state: chance is a function of
// (seed, step, place in the batch), so that any thread, and NumPy as well, finds the same numbers.

#include "common.cuh"

// Mixes the bits of a number: neighbouring numbers become unrelated ones, and no two the same.
// (The constants are those of "lowbias32" from Chris Wellons' search for such functions.)
__device__ inline unsigned mixed(unsigned bits) {
  bits ^= bits >> 16;
  bits *= 0x7feb352du;
  bits ^= bits >> 15;
  bits *= 0x846ca68bu;
  return bits ^ (bits >> 16);
}

// Draw number `draw` of place i in the batch of a step.
__device__ inline unsigned random_bits(unsigned seed, unsigned step, unsigned i, unsigned draw) {
  return mixed(mixed(mixed(mixed(seed) ^ step) ^ i) ^ draw);
}

// Which picture stands at place i: the epoch's order is cut into steps of `batch` pictures.
__device__ inline int picture_at(const int* order, int pictures, unsigned step, int batch, int i) {
  const unsigned steps = pictures / batch;
  return order[step % steps * batch + i];
}

// y = (window of the padded picture - mean) / std; rows and columns of padding are black (0).
// seed_and_step: two numbers in device memory; images: (pictures, H, W, C); mean: (H, W, C).
// The window is `pad` more or less to each side, at random; half of the windows are mirrored if
// `mirror`. A square of `cutout` pixels a side, its centre anywhere, is 0 (Cutout; 0: none).
// y has `count` pictures of the batch, from place `first` on.
__global__ void augment(const unsigned char* images, const int* order, const float* mean,
                        const unsigned* seed_and_step, float* y, float std, int pad, int mirror,
                        int cutout, int pictures, int batch, int first, int count, int H, int W,
                        int C) {
  const unsigned seed = seed_and_step[0], step = seed_and_step[1];
  FOR_EACH(index, count * H * W * C) {
    Position p = unravel(index, H, W, C);
    p.n += first;
    const int shifts = 2 * pad + 1;
    const int row = p.i - pad + int(random_bits(seed, step, p.n, 0) % shifts);
    const bool flip = mirror && random_bits(seed, step, p.n, 2) & 1;
    const int across = flip ? W - 1 - p.j : p.j;
    const int column = across - pad + int(random_bits(seed, step, p.n, 1) % shifts);
    const int picture = picture_at(order, pictures, step, batch, p.n);
    const bool inside = unsigned(row) < unsigned(H) && unsigned(column) < unsigned(W);
    const float pixel = inside ? images[offset({picture, row, column, p.c}, H, W, C)] : 0;
    const int top = int(random_bits(seed, step, p.n, 3) % H) - cutout / 2;
    const int left = int(random_bits(seed, step, p.n, 4) % W) - cutout / 2;
    const bool hidden =
        unsigned(p.i - top) < unsigned(cutout) && unsigned(p.j - left) < unsigned(cutout);
    y[index] = hidden ? 0 : (pixel - mean[index % (H * W * C)]) / std;
  }
}

// The targets of the same batch: y[i, k] = 1 if the label of the picture at place i is k, else 0.
__global__ void one_hot(const unsigned char* labels, const int* order,
                        const unsigned* seed_and_step, float* y, int pictures, int batch,
                        int first, int count, int classes) {
  FOR_EACH(index, count * classes) {
    const int place = first + index / classes;
    const int picture = picture_at(order, pictures, seed_and_step[1], batch, place);
    y[index] = labels[picture] == index % classes ? 1.f : 0.f;
  }
}
