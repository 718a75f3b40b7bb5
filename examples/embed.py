#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""embed.py - the story of embed.c, told by a VMM that is not written in C.

    embed.py [libvmtime.so]

The library is called through ctypes.  Structs that are only passed on (the clock, the chip) are
bytes, as many as vmt_sizeof() says; those that are read or filled in are spelled out, and checked
against vmt_sizeof() too.  Comments on the pattern itself are in embed.c."""
import ctypes
import sys

OUT, READING, CLOCK, PIT = 1, 2, 3, 5  # enum vmt_kind
FREEZE, CONTINUE = 1, 0                # enum vmt_policy
NEVER = 2**64 - 1
HOST_HZ = 2000000000


class Out(ctypes.Structure):
    _fields_ = [('deadline', ctypes.c_uint64), ('ready', ctypes.c_uint64),
                ('rises', ctypes.c_uint64 * 4), ('level', ctypes.c_uint8),
                ('dirty', ctypes.c_uint8), ('pad', ctypes.c_uint8 * 6)]


class Reading(ctypes.Structure):
    _fields_ = [('counter', ctypes.c_uint64), ('utc_ns', ctypes.c_int64),
                ('utc_bound_ns', ctypes.c_uint64)]


def load(path):
    """The library with the types of the functions that are used here."""
    lib = ctypes.CDLL(path)
    u8, u32, u64, address, status = (ctypes.c_uint8, ctypes.c_uint32, ctypes.c_uint64,
                                     ctypes.c_void_p, ctypes.c_int)
    for name, result, *arguments in (
            ('vmt_sizeof', ctypes.c_size_t, u32),
            ('vmt_clock_start', status, u64, address, address, address),
            ('vmt_clock_now', u64, address, u64),
            ('vmt_clock_counter_at', u64, address, u64),
            ('vmt_clock_pause', status, address, u64, address, address),
            ('vmt_clock_resume', status, address, address, u32, u64, address, address),
            ('vmt_pit_reset', None, address, u64),
            ('vmt_pit_advance', Out, address, u64),
            ('vmt_pit_read', Out, address, u64, u32, address),
            ('vmt_pit_write', Out, address, u64, u32, u8)):
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    for kind, struct in ((OUT, Out), (READING, Reading)):
        if lib.vmt_sizeof(kind) != ctypes.sizeof(struct):
            sys.exit(f'embed.py: {struct.__name__} is not the struct of this libvmtime')
    return lib


class VM:
    def __init__(self, lib):
        def memory(kind):  # aligned to 8
            return (ctypes.c_uint64 * ((lib.vmt_sizeof(kind) + 7) // 8))()
        self.lib, self.clock, self.pit = lib, memory(CLOCK), memory(PIT)
        self.host = Reading(counter=77, utc_ns=1700000000 * 10**9)
        self.timer, self.ticks = NEVER, 0
        if lib.vmt_clock_start(HOST_HZ, ctypes.byref(self.host), self.clock, None):
            sys.exit('embed.py: the clock does not start')
        lib.vmt_pit_reset(self.pit, self.now())

    def host_reaches(self, counter):
        self.host.utc_ns += (counter - self.host.counter) // 2
        self.host.counter = counter

    def now(self):
        return self.lib.vmt_clock_now(self.clock, self.host.counter)

    def obey(self, out):
        self.ticks += out.rises[0]
        self.timer = self.lib.vmt_clock_counter_at(self.clock, out.deadline)

    def port_write(self, port, value):
        self.obey(self.lib.vmt_pit_write(self.pit, self.now(), port & 3, value))

    def port_read(self, port):
        value = ctypes.c_uint8()
        self.obey(self.lib.vmt_pit_read(self.pit, self.now(), port & 3, ctypes.byref(value)))
        return value.value

    def run_for_a_second(self, what):
        end = self.host.counter + HOST_HZ
        while self.timer <= end:
            self.host_reaches(self.timer)
            self.obey(self.lib.vmt_pit_advance(self.pit, self.now()))
        self.host_reaches(end)

        self.port_write(0x43, 0x00)
        low, high = self.port_read(0x40), self.port_read(0x40)
        print(f'{what:<20} now {self.now():13} ns  ticks {self.ticks:6}  '
              f'counter {high << 8 | low:5}')

    def pause_for_an_hour(self, policy):
        lib = self.lib
        lib.vmt_clock_pause(self.clock, self.host.counter, self.clock, None)
        self.timer = NEVER
        self.host_reaches(self.host.counter + 3600 * HOST_HZ)
        lib.vmt_clock_resume(self.clock, ctypes.byref(self.host), policy, 0, self.clock, None)
        self.obey(lib.vmt_pit_advance(self.pit, self.now()))


def main():
    vm = VM(load(sys.argv[1] if len(sys.argv) > 1 else 'libvmtime.so.0'))
    vm.port_write(0x43, 0x34)
    vm.port_write(0x40, 11932 & 0xff)
    vm.port_write(0x40, 11932 >> 8)
    vm.run_for_a_second('a second')
    vm.pause_for_an_hour(FREEZE)
    vm.run_for_a_second('an hour of FREEZE')
    vm.pause_for_an_hour(CONTINUE)
    vm.run_for_a_second('an hour of CONTINUE')


main()
