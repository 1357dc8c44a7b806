/** What a VMM asked for and what a server was told, mapping by mapping; numbers are 4 KiB pages. @module */
import { type Access, addressOf, bytesOf, formatRange } from '../../memory/index.ts';
import type { HeldFile } from './held-files.ts';

/** A mapping as one side of a proxy knows it. */
export interface ProxyMapping {
  /** First byte address. */
  readonly iova: bigint;
  /** Bytes. */
  readonly size: bigint;
  /** Bytes from the beginning of the file; 0 without one. */
  readonly offset: bigint;
  readonly access: Access;
  /** Whether a descriptor came with it; otherwise the server reads and writes by messages. */
  readonly shared: boolean;
}

/** Where a mapping lies and what it allows. */
export interface MappingPlace {
  readonly iova: number;
  readonly pages: number;
  /** Page of the file; 0 without one. */
  readonly offset: number;
  readonly access: Access;
  readonly shared: boolean;
  /** The file, when it can be recognised. */
  readonly file: HeldFile | undefined;
}

/** A mapping that the VMM asked for, from its DMA_MAP until its DMA_UNMAP or its refusal. */
export class VmmMapping implements MappingPlace {
  readonly iova: number;
  readonly pages: number;
  readonly offset: number;
  readonly access: Access;
  readonly shared: boolean;
  readonly file: HeldFile | undefined;
  /** The server's mapping that holds it now. */
  server: ServerMapping | undefined;
  /** The VMM has unmapped it. */
  gone = false;
  #errno: number | undefined;
  #waiting: ((errno: number) => void)[] = [];

  constructor({ iova, pages, offset, access, shared, file }: MappingPlace) {
    this.iova = iova;
    this.pages = pages;
    this.offset = offset;
    this.access = access;
    this.shared = shared;
    this.file = file;
  }

  /** The server's verdict: 0, an errno, or undefined while it is not known. */
  get errno(): number | undefined {
    return this.#errno;
  }

  /** Calls `action` with the verdict, at once when it is known. */
  whenSettled(action: (errno: number) => void): void {
    if (this.#errno === undefined) this.#waiting.push(action);
    else action(this.#errno);
  }

  /** The first verdict is the one that counts. */
  settle(errno: number): void {
    if (this.#errno !== undefined) return;
    this.#errno = errno;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const action of waiting) action(errno);
  }

  /** Whether `place` is this very mapping. Files that cannot be recognised are never the same. */
  isSame(place: MappingPlace): boolean {
    return (
      this.iova === place.iova &&
      this.pages === place.pages &&
      this.access === place.access &&
      this.shared === place.shared &&
      this.offset === place.offset &&
      this.file === place.file &&
      (!this.shared || this.file !== undefined)
    );
  }
}

/** A mapping of the server: one of the VMM's, or neighbours that became one. */
export class ServerMapping implements MappingPlace {
  iova: number;
  pages: number;
  offset: number;
  readonly access: Access;
  readonly shared: boolean;
  readonly file: HeldFile | undefined;
  /** Ascending, without gaps. */
  parts: VmmMapping[];
  state: 'collected' | 'sent' | 'held' | 'refused' = 'collected';
  /** Its DMA_UNMAP has been sent. */
  leaving = false;
  /** The errno with which its DMA_UNMAP was refused before its DMA_MAP was answered. */
  unmapErrno = 0;
  /** Called once when its DMA_MAP is answered. */
  answered: (() => void) | undefined;

  /** Neighbours, ascending, at least one. */
  constructor(parts: VmmMapping[]) {
    const first = parts[0] as VmmMapping;
    this.iova = first.iova;
    this.pages = parts.reduce((pages, part) => pages + part.pages, 0);
    this.offset = first.offset;
    this.access = first.access;
    this.shared = first.shared;
    this.file = first.file;
    this.parts = parts;
    for (const part of parts) part.server = this;
  }

  get end(): number {
    return this.iova + this.pages;
  }
}

/** A mapping for people. */
export function describeMapping({ iova, pages }: MappingPlace): string {
  return formatRange({ start: iova, end: iova + pages });
}

/** A mapping in bytes. */
export function publicMapping({ iova, pages, offset, access, shared }: MappingPlace): ProxyMapping {
  return { iova: addressOf(iova), size: bytesOf(pages), offset: addressOf(offset), access, shared };
}
