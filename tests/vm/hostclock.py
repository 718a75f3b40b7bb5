# SPDX-License-Identifier: Apache-2.0
"""hostclock.py - a machine's TSC and its clock, read and set, for the cases of two hosts."""
import ctypes
import mmap
import time

ADJ_FREQUENCY, ADJ_MAXERROR, ADJ_ESTERROR, ADJ_STATUS = 0x2, 0x4, 0x8, 0x10
ADJ_TAI, ADJ_SETOFFSET, ADJ_NANO = 0x80, 0x100, 0x2000
STA_PLL, STA_UNSYNC = 0x1, 0x40

# lfence; rdtsc; shl rdx, 32; or rax, rdx; ret
_CODE = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
_CODE.write(b"\x0f\xae\xe8\x0f\x31\x48\xc1\xe2\x20\x48\x09\xd0\xc3")
rdtsc = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(ctypes.c_char.from_buffer(_CODE)))


class Timex(ctypes.Structure):
    """struct timex of adjtimex(2)."""
    _fields_ = [("modes", ctypes.c_uint), ("offset", ctypes.c_long), ("freq", ctypes.c_long),
                ("maxerror", ctypes.c_long), ("esterror", ctypes.c_long), ("status", ctypes.c_int),
                ("constant", ctypes.c_long), ("precision", ctypes.c_long),
                ("tolerance", ctypes.c_long), ("sec", ctypes.c_long), ("subsec", ctypes.c_long),
                ("tick", ctypes.c_long), ("ppsfreq", ctypes.c_long), ("jitter", ctypes.c_long),
                ("shift", ctypes.c_int), ("stabil", ctypes.c_long), ("jitcnt", ctypes.c_long),
                ("calcnt", ctypes.c_long), ("errcnt", ctypes.c_long), ("stbcnt", ctypes.c_long),
                ("tai", ctypes.c_int), ("rest", ctypes.c_int * 11)]


def _adjtimex(**fields):
    timex = Timex(**fields)
    if ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex)) < 0:
        raise OSError(ctypes.get_errno(), f"adjtimex: {fields}")
    return timex


def read():
    """(TSC before, TSC after, CLOCK_REALTIME in ns), the tightest of some."""
    tries = []
    for _ in range(50):
        before = rdtsc()
        ns = time.clock_gettime_ns(time.CLOCK_REALTIME)
        tries.append((rdtsc() - before, before, ns))
    width, before, ns = min(tries)
    return before, before + width, ns


def step(ns):
    seconds, rest = divmod(ns, 1000000000)
    _adjtimex(modes=ADJ_SETOFFSET | ADJ_NANO, sec=seconds, subsec=rest)


def state(bound_ns, ppm, tai):
    """What a daemon would say that keeps this clock: it is right but for the bound, and it is slewed
    by so much."""
    _adjtimex(modes=ADJ_STATUS | ADJ_MAXERROR | ADJ_ESTERROR | ADJ_FREQUENCY, status=STA_PLL,
              maxerror=bound_ns // 1000, esterror=bound_ns // 1000, freq=int(ppm * 65536))
    _adjtimex(modes=ADJ_TAI, constant=tai)


def bound_ns():
    """As the kernel has it now: it lets it grow by half a millisecond each second.  None: the clock
    is not synchronised."""
    timex = _adjtimex()
    return None if timex.status & STA_UNSYNC else timex.maxerror * 1000
