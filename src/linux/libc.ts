/** The functions of the C library that are called, and the constants of Linux on 64-bit machines that they take. @module */
import { type Koffi, loadKoffi } from './koffi.ts';
import { SystemError } from './system-error.ts';

/**
 * The C library. Calls answer as in C, -1 for a failure, whose errno must be read before the next call.
 * Pointers are bigint, or a Uint8Array that is used during the call only.
 */
export interface Libc {
  readonly koffi: Koffi;
  errno(): number;
  socket(domain: number, type: number, protocol: number): number;
  bind(fd: number, address: Uint8Array, length: number): number;
  listen(fd: number, backlog: number): number;
  accept4(fd: number, address: null, length: null, flags: number): number;
  connect(fd: number, address: Uint8Array, length: number): number;
  send(fd: number, bytes: Uint8Array, length: number, flags: number): number;
  sendmsg(fd: number, header: bigint, flags: number): number;
  recvmmsg(fd: number, headers: Word, count: number, flags: number, timeout: Word): number;
  close(fd: number): number;
  umask(mask: number): number;
  fcntl(fd: number, command: number, argument: number): number;
  eventfd(initial: number, flags: number): number;
  read(fd: number, bytes: Uint8Array, length: number): number;
  write(fd: number, bytes: Uint8Array, length: number): number;
  memfd_create(name: string, flags: number): number;
  ftruncate(fd: number, length: bigint): number;
  mmap(
    address: bigint,
    length: bigint,
    protection: number,
    flags: number,
    fd: number,
    offset: bigint,
  ): bigint;
  munmap(address: bigint, length: bigint): number;
  syscall(number: number, ...parameters: readonly [Word, Word, Word, Word, Word]): number;
}

/** What fits a register. */
type Word = number | bigint;

// `long` stands for ssize_t, which koffi does not know; fcntl's last parameter is declared because all its users pass one.
const DEFINITIONS: readonly string[] = [
  'int socket(int domain, int type, int protocol)',
  'int bind(int fd, const void *address, unsigned int length)',
  'int listen(int fd, int backlog)',
  'int accept4(int fd, void *address, void *length, int flags)',
  'int connect(int fd, const void *address, unsigned int length)',
  'long send(int fd, const void *bytes, size_t length, int flags)',
  'long sendmsg(int fd, const void *header, int flags)',
  'int recvmmsg(int fd, uintptr_t headers, unsigned int count, int flags, uintptr_t timeout)',
  'int close(int fd)',
  'unsigned int umask(unsigned int mask)',
  'int fcntl(int fd, int command, long argument)',
  'int eventfd(unsigned int initial, int flags)',
  'long read(int fd, void *bytes, size_t length)',
  'long write(int fd, const void *bytes, size_t length)',
  'int memfd_create(const char *name, unsigned int flags)',
  'int ftruncate(int fd, int64_t length)',
  'void *mmap(void *address, size_t length, int protection, int flags, int fd, int64_t offset)',
  'int munmap(void *address, size_t length)',
  'long syscall(long number, uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d, uintptr_t e)',
];

let libc: Libc | undefined;

/** The C library; undefined where {@link loadKoffi} says why. */
export function openLibc(): Libc | undefined {
  const { koffi } = loadKoffi();
  if (koffi === undefined) return undefined;
  libc ??= declare(koffi);
  return libc;
}

/** The C library. Throws VIOMMU_NO_KOFFI where there is none; `what` begins the message. */
export function needLibc(what: string): Libc {
  const found = openLibc();
  if (found !== undefined) return found;
  throw new SystemError('VIOMMU_NO_KOFFI', `${what} needs Linux and the package koffi: ${loadKoffi().why}`);
}

function declare(koffi: Koffi): Libc {
  const library = koffi.load(null);
  const functions = DEFINITIONS.map((definition) => {
    const name = /(\w+)\(/.exec(definition)?.[1] ?? '';
    return [name, library.func(definition)] as const;
  });
  return { ...Object.fromEntries(functions), koffi, errno: () => koffi.errno() } as unknown as Libc;
}

export const ENOENT = 2;
export const EINTR = 4;
export const EAGAIN = 11;
export const EPIPE = 32;
export const EADDRINUSE = 98;
export const ECONNABORTED = 103;
export const ECONNRESET = 104;
export const ECONNREFUSED = 111;

export const AF_UNIX = 1;
export const SOCK_STREAM = 1;
export const SOCK_NONBLOCK: number = 0o4000;
export const SOCK_CLOEXEC: number = 0o2000000;
export const SOL_SOCKET = 1;
export const SCM_RIGHTS = 1;
export const MSG_CTRUNC = 0x8;
export const MSG_DONTWAIT = 0x40;
export const MSG_NOSIGNAL = 0x4000;
export const MSG_CMSG_CLOEXEC = 0x40000000;

export const F_GETFL = 3;
export const F_SETFL = 4;
export const F_DUPFD_CLOEXEC = 1030;
export const F_ADD_SEALS = 1033;
export const F_GET_SEALS = 1034;
export const F_SEAL_SEAL = 1;
export const F_SEAL_SHRINK = 2;
export const F_SEAL_GROW = 4;
export const O_ACCMODE = 3;
export const O_RDONLY = 0;
export const O_WRONLY = 1;
export const O_APPEND: number = 0o2000;
export const O_NONBLOCK: number = 0o4000;
export const O_PATH: number = 0o10000000;

export const EFD_NONBLOCK: number = SOCK_NONBLOCK;
export const EFD_CLOEXEC: number = SOCK_CLOEXEC;
export const MFD_CLOEXEC = 1;
export const MFD_ALLOW_SEALING = 2;

export const PROT_READ = 1;
export const PROT_WRITE = 2;
export const MAP_SHARED = 0x1;
export const MAP_PRIVATE = 0x2;
export const MAP_FIXED = 0x10;
export const MAP_ANONYMOUS = 0x20;
export const MAP_NORESERVE = 0x4000;
export const MAP_FAILED: bigint = 2n ** 64n - 1n;
