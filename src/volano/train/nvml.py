"""The energy counter of an NVIDIA device, as the driver's own library has it.

libnvidia-ml comes with every driver, so nothing has to be installed; it is called directly because
torch's readings of power need a package of their own. A device is named by its UUID: NVML counts
all devices of a machine, torch those that CUDA_VISIBLE_DEVICES leaves.

Source: NVIDIA, NVML API reference: nvmlDeviceGetTotalEnergyConsumption (millijoules since the
driver was loaded; Volta and newer).
"""

from ctypes import CDLL, byref, c_ulonglong, c_void_p
from typing import Any

LIBRARY = "libnvidia-ml.so.1"
SUCCESS = 0


class DeviceCounter:
    """What one device used, whoever computed on it."""

    name = "joules"

    def __init__(self, library: Any, handle: c_void_p) -> None:
        self._library, self._handle = library, handle

    def joules(self) -> float:
        """Raises OSError where the counter has gone."""
        millijoules = c_ulonglong()
        failed = self._library.nvmlDeviceGetTotalEnergyConsumption(self._handle, byref(millijoules))
        if failed != SUCCESS:
            raise OSError(f"NVML error {failed}: the energy of the device cannot be read")
        return millijoules.value / 1e3


def device_counter(uuid: str, library: Any = None) -> DeviceCounter | None:
    """The counter of the device of that UUID; None where there is no library, or the device (a part
    of one, or an old one) does not count."""
    if library is None:
        try:
            library = CDLL(LIBRARY)
        except OSError:
            return None
    handle = c_void_p()
    if library.nvmlInit_v2() != SUCCESS:
        return None
    if library.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}".encode(), byref(handle)) != SUCCESS:
        return None
    counter = DeviceCounter(library, handle)
    try:
        counter.joules()
    except OSError:
        return None
    return counter
