"""The GPU backend without a GPU: its Python and its kernels' source, run on the CPU."""

from emulation.arrays import DeviceArray, Library
from emulation.device import EmulatedBackend, EmulatedDevice, RemoteDevice

__all__ = ["DeviceArray", "EmulatedBackend", "EmulatedDevice", "Library", "RemoteDevice"]
