"""Devices that fail and lie on command: houses with a shim between writ-deviced and its device, and the orders that the shim takes.

The shims are tests/contract/pkcs11_shim.c and tcti_shim.c; the order is a file that they map (tests/contract/shim_order.h).  Knows nothing of what a test
claims.
"""
import mmap
import os
import struct

from house import BUILD, House

FOREVER = 2 ** 64 - 1
SHIMS = os.environ.get("WRIT_SHIMS", os.path.join(BUILD, "tests"))
LAYOUT = struct.Struct("<32s24sQQQQQQ")
COUNTERS = {"calls": 72, "logins": 80, "signs": 88, "faults": 96}
LEFT = 64


class Order:
    """`set("C_Sign", "rv", 0x30, times=1)`; for a TPM the call is a command code in hex: "15d" signs."""

    def __init__(self, path):
        with open(path, "wb") as f:
            f.write(bytes(LAYOUT.size))
        with open(path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), LAYOUT.size)

    def get(self, offset):
        return struct.unpack_from("<Q", self.map, offset)[0]

    def set(self, call, fault, value=0, times=1):
        self.clear()
        struct.pack_into("<32s24sQ", self.map, 0, call.encode(), fault.encode(), value)
        struct.pack_into("<Q", self.map, LEFT, times)

    def clear(self):
        struct.pack_into("<Q", self.map, LEFT, 0)

    @property
    def left(self):
        return self.get(LEFT)

    def __getattr__(self, name):
        return self.get(COUNTERS[name])


class ShimHouse(House):
    """A House whose device answers as `order` says."""

    def configuration(self):
        text = super().configuration()
        self.order = Order(self.path("order"))
        if self.custody == "swtpm":
            inner = f"swtpm:path={self.path('tpm/sock')}"
            shim = os.path.join(SHIMS, "libtss2-tcti-writshim.so")
            return text.replace(inner, f"{shim}:{self.path('order')},{inner}")
        before, _, rest = text.partition("module: ")
        module, comma, rest = rest.partition(",")
        assert module.endswith("libsofthsm2.so")
        shim = os.path.join(SHIMS, "libpkcs11_shim.so")
        return before + "module: " + shim + comma + rest.replace("environment: [", f"environment: ['WRIT_SHIM_ORDER={self.path('order')}', ")
