import { AddressSpace, ContainerRegion, formatPage, MemoryTopology, PAGES_END } from '../../memory/index.ts';
import type { Descriptor } from '../descriptor.ts';
import type { SharedFile, SharedFiles } from '../platform.ts';
import { Errno, errnoNumber } from '../wire/index.ts';
import type { DmaRefusal } from './dma-refusal.ts';

/** A file that mappings lie in. */
export interface FileEntry {
  readonly file: SharedFile;
  /** First page in the table's address space, in which every file has a place of its own. */
  readonly base: number;
  /** Mappings that lie in it. */
  readonly mappings: number;
}

type OpenFile = { -readonly [K in keyof FileEntry]: FileEntry[K] };

/**
 * The files behind a client's mappings, each opened once however many mappings bring a descriptor of it, and let go of
 * with its last mapping. One that has grown beyond what was opened, or that only now comes writable, is opened anew for
 * the mappings that need it.
 */
export class FileTable {
  /** Every file at its `base`. */
  readonly space: AddressSpace;
  readonly #files: SharedFiles;
  readonly #maxFiles: number;
  readonly #root: ContainerRegion = new ContainerRegion('shared files', PAGES_END);
  /** Ascending by base. */
  readonly #open: OpenFile[] = [];
  /** Of several openings of one file, the last. */
  readonly #byKey: Map<string, OpenFile> = new Map();
  /** The file found last: mappings of one file come and go in runs. */
  #recent: OpenFile | undefined;
  /** The descriptor that was identified last, and what it is: that does not change while somebody holds it. */
  #identified: Descriptor | undefined;
  #key: string | undefined;

  /** `maxFiles`: openings at one time. */
  constructor(files: SharedFiles, maxFiles: number) {
    this.#files = files;
    this.#maxFiles = maxFiles;
    this.space = new AddressSpace('shared files', this.#root, new MemoryTopology());
  }

  /**
   * The file of `descriptor`, which stays the caller's, for one more mapping that ends before `endPage` of the file;
   * `release` gives the mapping up.
   */
  acquire(descriptor: Descriptor, endPage: number, write: boolean): FileEntry | DmaRefusal {
    const key = this.#identify(descriptor);
    if (key === undefined) {
      return {
        errno: Errno.EINVAL,
        reason: 'the descriptor is of no file: share memory as a file, or send none',
      };
    }
    const known = this.#byKey.get(key);
    const isEnough =
      known !== undefined && endPage <= known.file.region.pages && (known.file.writable || !write);
    const refusal = isEnough ? unfit(known.file, endPage, write) : undefined;
    const entry = refusal ?? (isEnough ? known : this.#openFile(descriptor, endPage, write));
    if ('errno' in entry) return entry;
    entry.mappings++;
    return entry;
  }

  /** One mapping less lies in `entry`. */
  release(entry: FileEntry): void {
    const file = entry as OpenFile;
    file.mappings--;
    if (file.mappings === 0) this.#close(file);
  }

  /** The file that has page `page` of the address space, which must be one of a mapping. */
  at(page: number): FileEntry {
    const recent = this.#recent;
    if (recent !== undefined && page >= recent.base && page < recent.base + recent.file.region.pages) {
      return recent;
    }
    const found = this.#open.findLast(({ base }) => base <= page)!;
    this.#recent = found;
    return found;
  }

  /** Lets go of every file; no mapping lies in one any more. */
  clear(): void {
    while (this.#open.length > 0) this.#close(this.#open.at(-1)!);
  }

  #identify(descriptor: Descriptor): string | undefined {
    if (descriptor !== this.#identified) {
      this.#key = this.#files.identify(descriptor);
      this.#identified = descriptor;
    }
    return this.#key;
  }

  #openFile(descriptor: Descriptor, endPage: number, write: boolean): OpenFile | DmaRefusal {
    if (this.#open.length >= this.#maxFiles) {
      const reason = `mappings lie in ${this.#maxFiles} files already: share memory as fewer files`;
      return { errno: Errno.EMFILE, reason };
    }
    const file = this.#files.open(descriptor);
    if ('errno' in file) return { errno: errnoNumber(file.errno) ?? Errno.EINVAL, reason: file.reason };
    const index = this.#gap(file.region.pages);
    const refusal = unfit(file, endPage, write) ?? (index === undefined ? NO_ROOM : undefined);
    if (index === undefined || refusal !== undefined) {
      file.release();
      return refusal ?? NO_ROOM;
    }
    const before = this.#open[index - 1];
    const base = before === undefined ? 0 : before.base + before.file.region.pages;
    const entry = { file, base, mappings: 0 };
    this.#open.splice(index, 0, entry);
    this.#byKey.set(file.key, entry);
    this.#root.add(file.region, base);
    return entry;
  }

  /** Before which of the open files there are `pages` pages left; undefined when nowhere. */
  #gap(pages: number): number | undefined {
    let end = 0;
    for (let i = 0; i <= this.#open.length; i++) {
      const next = this.#open[i];
      if (end + pages <= (next?.base ?? PAGES_END)) return i;
      if (next !== undefined) end = next.base + next.file.region.pages;
    }
    return undefined;
  }

  #close(entry: OpenFile): void {
    this.#open.splice(this.#open.indexOf(entry), 1);
    if (this.#byKey.get(entry.file.key) === entry) this.#byKey.delete(entry.file.key);
    if (this.#recent === entry) this.#recent = undefined;
    this.#root.remove(entry.file.region);
    entry.file.release();
  }
}

const NO_ROOM: DmaRefusal = {
  errno: Errno.ENOMEM,
  reason: 'the shared files together have 2^64 bytes or more: share less',
};

function unfit(file: SharedFile, endPage: number, write: boolean): DmaRefusal | undefined {
  if (write && !file.writable) {
    const reason = 'the mapping allows writes and the file does not: share it writable, or map it read-only';
    return { errno: Errno.EACCES, reason };
  }
  if (endPage <= file.region.pages && file.contains(endPage)) return undefined;
  const reason = `the mapping ends at ${formatPage(endPage)} of its file, which is shorter: make the file longer first`;
  return { errno: Errno.EINVAL, reason };
}
