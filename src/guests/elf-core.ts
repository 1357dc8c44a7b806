/**
 * Guest memory from ELF cores: what dump-guest-memory of QEMU writes, and the memory files of captures.
 *
 * @example
 * ```ts
 * const core = await loadElfCore('memory.elf.gz');
 * for (const { page, words } of core.pages()) ram.setPage(page, words);
 * ```
 *
 * @module
 */
import { constants } from 'node:buffer';
import { gunzipSync } from 'node:zlib';
import { addressOf, PAGE_SIZE, PAGE_WORDS, pageOf } from '../memory/index.ts';
import {
  checkHeaderCount,
  EHDR_BYTES,
  headerPlace,
  type LoadHeader,
  PHDR_BYTES,
  readElfHeader,
  readExtendedCount,
  readLoadHeaders,
  SHDR_BYTES,
} from './elf-format.ts';
import { type FileRange, readRanges } from './file-ranges.ts';
import { tooLarge, truncated } from './guest-file-error.ts';
import { asGuestFileError, inspectFile, isGzip } from './input-file.ts';

/** Guest-physical memory of one PT_LOAD program header. */
export interface ElfSegment {
  /** p_paddr: guest-physical byte address, a multiple of 4096. */
  readonly paddr: bigint;
  /** p_memsz: bytes of guest memory; those that the file does not have are zeros and take no memory here. */
  readonly memBytes: bigint;
  /** p_filesz: bytes that the file has. */
  readonly fileBytes: number;
  /** These bytes, in order; every window but the last is whole pages. Views, not copies. */
  readonly windows: readonly Uint8Array[];
}

/** One 4 KiB page of guest memory. */
export interface ElfPage {
  /** Guest-physical page number. */
  readonly page: number;
  /** Its 1,024 words; a view of the core's memory unless alignment or a short tail forced a copy. */
  readonly words: Uint32Array;
}

/** How much a file may make its reader take. */
export interface ElfReadOptions {
  /** Most bytes of content, after inflating (4 GiB unless told). */
  readonly maxBytes?: number;
}

const DEFAULT_MAX_BYTES = 2 ** 32;

/** The guest memory in an ELF core: segments ascending by guest-physical address, never overlapping. */
export class ElfCore {
  /** The path or name it was read from. */
  readonly file: string;
  readonly segments: readonly ElfSegment[];

  constructor(file: string, segments: readonly ElfSegment[]) {
    this.file = file;
    this.segments = segments;
  }

  /**
   * Every page that the file has bytes of, ascending, each once; a tail shorter than a page is filled with zeros.
   * Pages that are only p_memsz are left out: they are zeros. Pages of one core share its memory: who writes into
   * one writes into the core, so hand a core to one RAM block only.
   */
  *pages(): Generator<ElfPage, void, undefined> {
    for (const segment of this.segments) {
      let page = pageOf(segment.paddr);
      for (const bytes of segment.windows) {
        for (let at = 0; at < bytes.length; at += PAGE_SIZE, page++) {
          yield { page, words: pageWords(bytes, at) };
        }
      }
    }
  }
}

/**
 * Reads a core from memory, plain or gzip. Segments are views of `bytes` when it is plain: it must not change while
 * the core is used.
 *
 * @param bytes the whole file
 * @param file what error messages call it
 * @throws GuestFileError for everything that is wrong with the content
 */
export function parseElfCore(bytes: Uint8Array, file = 'ELF core', options: ElfReadOptions = {}): ElfCore {
  const maxBytes = options.maxBytes ?? DEFAULT_MAX_BYTES;
  const content = isGzip(bytes) ? inflate(bytes, file, maxBytes) : bytes;
  const at = (offset: number, length: number, place: string): Uint8Array => {
    if (offset + length > content.length) {
      throw truncated(file, place, offset + length, content.length);
    }
    return content.subarray(offset, offset + length);
  };
  const { phoff, phnum, shoff } = readElfHeader(content.subarray(0, EHDR_BYTES), file);
  const count = phnum ?? readExtendedCount(at(shoff, SHDR_BYTES, sectionPlace(shoff)));
  checkHeaderCount(count, file);
  const headers = at(phoff, count * PHDR_BYTES, headersPlace(count, phoff));
  const loads = readLoadHeaders(headers, phoff, file, content.length, maxBytes);
  const segments = loads.map((load) =>
    toSegment(
      load,
      load.fileBytes === 0 ? [] : [content.subarray(load.offset, load.offset + load.fileBytes)],
    ),
  );
  return new ElfCore(file, segments);
}

/**
 * Reads a core from a file, plain or gzip, up to `maxBytes`. A plain file is read segment by segment and may be
 * larger than what Node reads at once (2 GiB); what no segment covers is not read.
 *
 * @throws GuestFileError for everything that is wrong with the file
 */
export async function loadElfCore(path: string, options: ElfReadOptions = {}): Promise<ElfCore> {
  const input = await inspectFile(path, options.maxBytes ?? DEFAULT_MAX_BYTES);
  const available = input.gzip ? undefined : input.size;
  const at = async (offset: number, length: number, place: string): Promise<Uint8Array> => {
    if (available !== undefined && offset + length > available) {
      throw truncated(path, place, offset + length, available);
    }
    const [windows] = await readRanges(input, [{ offset, length, place: () => place }], false);
    return windows?.[0] ?? new Uint8Array(0);
  };
  const start: FileRange = { offset: 0, length: EHDR_BYTES, place: undefined };
  const [head] = await readRanges(input, [start], false);
  const { phoff, phnum, shoff } = readElfHeader(head?.[0] ?? new Uint8Array(0), path);
  const count = phnum ?? readExtendedCount(await at(shoff, SHDR_BYTES, sectionPlace(shoff)));
  checkHeaderCount(count, path);
  const headers = await at(phoff, count * PHDR_BYTES, headersPlace(count, phoff));
  const loads = readLoadHeaders(headers, phoff, path, available, input.maxBytes);
  const stored = loads.filter((load) => load.fileBytes > 0).sort((a, b) => a.offset - b.offset);
  const ranges = stored.map(({ index, offset, fileBytes }) => ({
    offset,
    length: fileBytes,
    place: () => headerPlace(index, phoff),
  }));
  const windows = await readRanges(input, ranges, true);
  const contents = new Map(stored.map((load, i) => [load.index, windows[i] ?? []]));
  return new ElfCore(
    path,
    loads.map((load) => toSegment(load, contents.get(load.index) ?? [])),
  );
}

function toSegment(load: LoadHeader, windows: readonly Uint8Array[]): ElfSegment {
  const { startPage, memBytes, fileBytes } = load;
  return { paddr: addressOf(startPage), memBytes, fileBytes, windows };
}

function pageWords(bytes: Uint8Array, at: number): Uint32Array {
  const offset = bytes.byteOffset + at;
  if (at + PAGE_SIZE <= bytes.length && offset % 4 === 0) {
    return new Uint32Array(bytes.buffer, offset, PAGE_WORDS);
  }
  const words = new Uint32Array(PAGE_WORDS);
  new Uint8Array(words.buffer).set(bytes.subarray(at, at + PAGE_SIZE));
  return words;
}

function inflate(bytes: Uint8Array, file: string, maxBytes: number): Uint8Array {
  try {
    return gunzipSync(bytes, { maxOutputLength: Math.max(1, Math.min(maxBytes, constants.MAX_LENGTH)) });
  } catch (error) {
    if (error instanceof RangeError) {
      throw tooLarge(file, maxBytes);
    }
    throw asGuestFileError(error, file);
  }
}

function sectionPlace(shoff: number): string {
  return `section header 0, offset 0x${shoff.toString(16)}`;
}

function headersPlace(count: number, phoff: number): string {
  return `program headers 0 to ${count - 1}, offset 0x${phoff.toString(16)}`;
}
