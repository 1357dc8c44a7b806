import { fstatSync } from 'node:fs';
import { DeviceRegion, type MemoryRegion, PAGE_SIZE, RamRegion } from '../memory/index.ts';
import type { Descriptor, SharedFile, SharedFiles, SystemRefusal } from '../vfio-user/index.ts';
import { FileHandler } from './file-handler.ts';
import { type FileKind, fileKind, inHugePages, refuse } from './file-kind.ts';
import { FileIdentity } from './file-identity.ts';
import { FileMapping } from './file-mapping.ts';
import { FileStat } from './file-stat.ts';
import {
  F_DUPFD_CLOEXEC,
  F_GETFL,
  type Libc,
  O_ACCMODE,
  O_APPEND,
  O_PATH,
  O_RDONLY,
  O_WRONLY,
} from './libc.ts';
import { MappedRamBlock } from './mapped-ram-block.ts';
import { errnoName } from './system-error.ts';

/** What to do with files that peers share. */
export interface SharedFilesOptions {
  /** Bytes that may be mapped at once, over all files; 1 TiB when left out. */
  readonly maxMappedBytes?: number;
  /**
   * Maps files that are not sealed against shrinking, too. A peer that truncates such a file kills this process
   * (SIGBUS), so set it only for peers that you trust; it is faster, and huge pages that are not sealed need it.
   */
  readonly mapUnsealed?: boolean;
}

const DEFAULT_MAX_MAPPED_BYTES = 2 ** 40;
const MAX_FILE_BYTES = 2n ** 53n;

/**
 * Opens memory that peers share. A memfd sealed with F_SEAL_SHRINK, which is what QEMU's memory-backend-memfd makes, is
 * mapped. Every other file can be truncated under a mapping, which would kill this process, and is read and written by
 * system calls instead. (One hole remains: who punches holes into a sealed memfd of huge pages and then uses up the
 * machine's huge pages makes a mapping of it unusable.)
 */
export class LinuxSharedFiles implements SharedFiles {
  readonly #libc: Libc;
  readonly #stat: FileStat;
  readonly #identity: FileIdentity;
  readonly #maxMappedBytes: number;
  readonly #mapUnsealed: boolean;
  #mappedBytes = 0;

  constructor(libc: Libc, options: SharedFilesOptions = {}) {
    this.#libc = libc;
    this.#stat = new FileStat(libc);
    this.#identity = new FileIdentity(libc, this.#stat);
    this.#maxMappedBytes = options.maxMappedBytes ?? DEFAULT_MAX_MAPPED_BYTES;
    this.#mapUnsealed = options.mapUnsealed ?? false;
  }

  identify(descriptor: Descriptor): string | undefined {
    return this.#identity.keyOf(descriptor.number);
  }

  open(descriptor: Descriptor): SharedFile | SystemRefusal {
    const fd = descriptor.number;
    const kind = fileKind(this.#libc, fd);
    if (!('key' in kind)) return kind;
    const flags = this.#libc.fcntl(fd, F_GETFL, 0);
    if (flags < 0 || (flags & O_PATH) !== 0 || (flags & O_ACCMODE) === O_WRONLY) {
      return refuse('EACCES', 'the file is not open for reading: send a descriptor that is');
    }
    if (kind.size < PAGE_SIZE || kind.size > MAX_FILE_BYTES) {
      return refuse('EINVAL', `the file has ${kind.size} bytes: share one of 4 KiB to 8 PiB`);
    }
    const writable = (flags & O_ACCMODE) !== O_RDONLY;
    return kind.cannotShrink || this.#mapUnsealed
      ? this.#map(fd, kind, writable)
      : this.#access(fd, kind, writable, (flags & O_APPEND) !== 0);
  }

  #map(fd: number, kind: FileKind, writable: boolean): SharedFile | SystemRefusal {
    const bytes = wholePages(kind.size);
    if (this.#mappedBytes + bytes > this.#maxMappedBytes) {
      const limit = this.#maxMappedBytes;
      return refuse(
        'ENOMEM',
        `mapping ${bytes} bytes more would exceed the limit of ${limit}: raise maxMappedBytes`,
      );
    }
    const mapped = this.#mapAsAllowed(fd, bytes, writable);
    if (typeof mapped === 'number') {
      return refuse(errnoName(mapped), `mapping the file's ${bytes} bytes failed with ${errnoName(mapped)}`);
    }
    this.#mappedBytes += bytes;
    const region = new RamRegion(`file ${kind.key}`, new MappedRamBlock(mapped), {
      readonly: !mapped.writable,
    });
    return sharedFile(kind.key, region, mapped.writable, {
      contains: () => true,
      release: () => {
        this.#mappedBytes -= bytes;
        mapped.release();
      },
    });
  }

  /** A file open for writing may still be sealed against it. */
  #mapAsAllowed(fd: number, bytes: number, writable: boolean): FileMapping | number {
    const mapped = FileMapping.map(this.#libc, fd, bytes, writable);
    return typeof mapped === 'number' && writable ? FileMapping.map(this.#libc, fd, bytes, false) : mapped;
  }

  #access(fd: number, kind: FileKind, writable: boolean, appends: boolean): SharedFile | SystemRefusal {
    if (writable && appends) {
      return refuse(
        'EINVAL',
        'the file is open for appending (O_APPEND), so it cannot be written like memory',
      );
    }
    if (writable && inHugePages(fd)) {
      return refuse(
        'EACCES',
        'the memory is in huge pages and may shrink: seal it (memory-backend-memfd,hugetlb=on), or trust the peer with mapUnsealed',
      );
    }
    const own = this.#libc.fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (own < 0) {
      const errno = errnoName(this.#libc.errno());
      return refuse(
        errno,
        `the file cannot be kept open (${errno}): raise the limit of open files (ulimit -n)`,
      );
    }
    const pages = wholePages(kind.size) / PAGE_SIZE;
    // The peer can make the file appending after all, for the flag is shared with it; a write would then end up elsewhere.
    const mayWrite = (): boolean => writable && (this.#libc.fcntl(own, F_GETFL, 0) & O_APPEND) === 0;
    const region = new DeviceRegion(`file ${kind.key}`, pages, new FileHandler(own, mayWrite));
    return sharedFile(kind.key, region, writable, {
      contains: (endPage) => endPage * PAGE_SIZE <= this.#sizeOf(own),
      release: () => void this.#libc.close(own),
    });
  }

  /** Bytes, exact up to 2^53, of a file that was looked at before. */
  #sizeOf(fd: number): number {
    return this.#stat.look(fd) ? this.#stat.size : fstatSync(fd).size;
  }
}

function sharedFile(
  key: string,
  region: MemoryRegion,
  writable: boolean,
  rest: { contains(endPage: number): boolean; release(): void },
): SharedFile {
  let released = false;
  return {
    key,
    region,
    writable,
    contains: (endPage) => !released && endPage <= region.pages && rest.contains(endPage),
    release: () => {
      if (released) return;
      released = true;
      rest.release();
    },
  };
}

function wholePages(size: bigint): number {
  return Number(size - (size % BigInt(PAGE_SIZE)));
}
