"""Devices that fail and lie on command: houses with a shim between writ-deviced and its device, and the orders that the shim takes.

The shims are tests/contract/pkcs11_shim.c and tcti_shim.c; the order is a file that they map (tests/contract/shim_order.h).  Knows nothing of what a test
claims.
"""
import mmap
import os
import struct

from house import BUILD, House

FOREVER = 2 ** 64 - 1
ORDERS = 4
COUNTERS = {"calls": 0, "logins": 8, "signs": 16, "faults": 24}
ONE = struct.Struct("<32s24sQQ")
LEFT = ONE.size - 8


class Order:
    """
    `set("C_Sign", "rv", 0x30, 1)`, or several of them as tuples; for a TPM the call is a command code in hex: "15d" signs.  The last number: for how many
    calls.
    """

    def __init__(self, path):
        size = 8 * len(COUNTERS) + ORDERS * ONE.size
        with open(path, "wb") as f:
            f.write(bytes(size))
        with open(path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), size)

    @staticmethod
    def at(i):
        return 8 * len(COUNTERS) + i * ONE.size

    def set(self, *orders):
        self.clear()
        if isinstance(orders[0], str):
            orders = [orders]
        for i, (call, fault, value, times) in enumerate(orders):
            struct.pack_into("<32s24sQ", self.map, self.at(i), call.encode(), fault.encode(), value)
            struct.pack_into("<Q", self.map, self.at(i) + LEFT, times)

    def clear(self):
        for i in range(ORDERS):
            struct.pack_into("<Q", self.map, self.at(i) + LEFT, 0)

    def left(self, i=0):
        return struct.unpack_from("<Q", self.map, self.at(i) + LEFT)[0]

    def __getattr__(self, name):
        return struct.unpack_from("<Q", self.map, COUNTERS[name])[0]


class ShimHouse(House):
    """A House whose device answers as `order` says.  `inner`: another TCTI than the one that leads to its own software TPM."""

    def __init__(self, *args, inner=None, **kwargs):
        self.inner = inner
        super().__init__(*args, **kwargs)

    def configuration(self):
        text = super().configuration()
        self.order = Order(self.path("order"))
        if self.custody == "swtpm":
            inner = f"swtpm:path={self.path('tpm/sock')}"
            shim = os.path.join(BUILD, "tests", "libtss2-tcti-writshim.so")
            return text.replace(inner, f"{shim}:{self.path('order')},{self.inner or inner}")
        before, _, rest = text.partition("module: ")
        module, comma, rest = rest.partition(",")
        assert module.endswith("libsofthsm2.so")
        shim = os.path.join(BUILD, "tests", "libpkcs11_shim.so")
        return before + "module: " + shim + comma + rest.replace("environment: [", f"environment: ['WRIT_SHIM_ORDER={self.path('order')}', ")
