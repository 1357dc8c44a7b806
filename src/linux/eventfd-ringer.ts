/** Adding to eventfds that peers own, without ever waiting for them. @module */
import { readlinkSync } from 'node:fs';
import { EAGAIN, EFD_CLOEXEC, EFD_NONBLOCK, F_GETFL, F_SETFL, type Libc, O_NONBLOCK } from './libc.ts';
import { NativeMemory } from './native-memory.ts';

/** Adds one to the eventfd `fd`; does nothing when it is none. */
export type Ringer = (fd: number) => void;

/** The system calls of asynchronous I/O, which the C library does not wrap. */
interface AioNumbers {
  readonly setup: number;
  readonly submit: number;
  readonly getevents: number;
}

const GENERIC: AioNumbers = { setup: 0, submit: 2, getevents: 4 };
const NUMBERS: Readonly<Partial<Record<string, AioNumbers>>> = {
  x64: { setup: 206, submit: 209, getevents: 208 },
  arm64: GENERIC,
  riscv64: GENERIC,
  loong64: GENERIC,
};

/** What is written to add one. */
export const ONE: Uint8Array = new Uint8Array(new BigUint64Array([1n]).buffer);
const REQUESTS = 64;
const EVENT_BYTES = 32;
/** Where in the memory things are: the iocb first. */
const LIST_AT = 64;
const CONTEXT_AT = 72;
const EVENTS_AT = 128;
const IOCB_FLAG_RESFD = 1;

/**
 * The best way that this machine has. Writing to an eventfd whose counter is full waits unless the file is
 * non-blocking, and that its peer can change at any moment. The completion of an asynchronous read adds to an eventfd
 * from inside the kernel and never waits. What is read does not matter: here it is the eventfd itself, for no bytes, which
 * is an error, and so completed at once.
 */
export function bestRinger(libc: Libc): Ringer {
  return aioRinger(libc) ?? writingRinger(libc);
}

/** Undefined where the system has no asynchronous I/O, or none that does this: Linux before 5.8. */
export function aioRinger(libc: Libc): Ringer | undefined {
  const numbers = NUMBERS[process.arch];
  if (numbers === undefined) return undefined;
  const memory = new NativeMemory(libc, EVENTS_AT + REQUESTS * EVENT_BYTES);
  const words = new Uint32Array(memory.buffer).fill(0);
  const longs = new BigUint64Array(memory.buffer);
  if (libc.syscall(numbers.setup, REQUESTS, memory.address + BigInt(CONTEXT_AT), 0, 0, 0) < 0) {
    return undefined;
  }
  const context = longs[CONTEXT_AT / 8] ?? 0n;
  // struct iocb: pread, whose opcode is 0.
  words[14] = IOCB_FLAG_RESFD;
  longs[LIST_AT / 8] = memory.address;
  const list = memory.address + BigInt(LIST_AT);
  const submit = (fd: number): boolean => {
    words[5] = fd;
    words[15] = fd;
    return libc.syscall(numbers.submit, context, 1, list, 0, 0) === 1;
  };
  const forgetCompleted = (): void => {
    libc.syscall(numbers.getevents, context, 0, REQUESTS, memory.address + BigInt(EVENTS_AT), 0);
  };
  const ring = (fd: number): void => {
    if (submit(fd) || libc.errno() !== EAGAIN) return;
    forgetCompleted();
    submit(fd);
  };
  return works(libc, ring) ? ring : undefined;
}

function works(libc: Libc, ring: Ringer): boolean {
  const fd = libc.eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  ring(fd);
  const count = new BigUint64Array(1);
  libc.read(fd, new Uint8Array(count.buffer), 8);
  libc.close(fd);
  return count[0] === 1n;
}

/** By write(2), for where there is nothing better: a peer that clears O_NONBLOCK at the right moment can make it wait. */
export function writingRinger(libc: Libc): Ringer {
  return (fd) => {
    if (!isEventfd(fd)) return;
    const flags = libc.fcntl(fd, F_GETFL, 0);
    if ((flags & O_NONBLOCK) === 0) libc.fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    libc.write(fd, ONE, 8);
  };
}

/** Whether `fd` is an eventfd. */
export function isEventfd(fd: number): boolean {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`) === 'anon_inode:[eventfd]';
  } catch {
    return false;
  }
}
