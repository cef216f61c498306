
// Behind a kernel file and the list of its instances: how Python finds and runs them.

extern "C" __attribute__((visibility("default"))) const char* signature(int kernel) {
  return kernels[kernel].signature.c_str();
}

// 0, or 1 if threads waited for each other forever.
extern "C" __attribute__((visibility("default"))) int run(int kernel, const unsigned* grid,
                                                          const unsigned* block, void** args,
                                                          int downwards) {
  emulator::kernel = kernels[kernel].entry;
  emulator::arguments = args;
  return emulator::run_grid(grid, block, downwards) ? 0 : 1;
}
