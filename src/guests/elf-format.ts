/**
 * The layout of an ELF64 little-endian core file (System V ABI, "Object Files" and "Program Loading"), checked.
 *
 * Pure functions from bytes to facts. Every field may lie: offsets and sizes are compared with what there is before
 * anybody allocates or reads by them.
 *
 * @module
 */
import { PAGE_SIZE, PAGES_END } from '../memory/index.ts';
import { GuestFileError, type GuestFileErrorCode, truncated } from './guest-file-error.ts';

/** Bytes in an ELF64 file header. */
export const EHDR_BYTES = 64;
/** Bytes in an ELF64 section header. */
export const SHDR_BYTES = 64;
/** Bytes in an ELF64 program header. */
export const PHDR_BYTES = 56;
/** Program headers in a file at most: a guest of 1 TiB in 1 MiB pieces, and 56 MiB of headers. */
export const MAX_PROGRAM_HEADERS: number = 1 << 20;

const ELFCLASS64 = 2;
const ELFDATA2LSB = 1;
const ET_CORE = 4;
const PT_LOAD = 1;
/** e_phnum when the count does not fit 16 bits: it is then sh_info of section header 0. */
const PN_XNUM = 0xffff;
const PAGE_BYTES = BigInt(PAGE_SIZE);

/** What the ELF header says about the program headers. */
export interface ElfHeader {
  /** Byte offset of the first program header. */
  readonly phoff: number;
  /** Number of program headers; undefined when section header 0 at `shoff` has it (PN_XNUM). */
  readonly phnum: number | undefined;
  /** Byte offset of the section headers. */
  readonly shoff: number;
}

/** A PT_LOAD program header that passed all checks. Pages are guest-physical page numbers. */
export interface LoadHeader {
  /** Its number among all program headers. */
  readonly index: number;
  /** p_paddr as a page number. */
  readonly startPage: number;
  /** Exclusive end of p_paddr + p_memsz as a page number, rounded up. */
  readonly endPage: number;
  /** p_offset: where in the file its bytes are. */
  readonly offset: number;
  /** p_filesz: how many bytes the file has of it. */
  readonly fileBytes: number;
  /** p_memsz: how many bytes of guest memory it describes; what the file does not have of them is zeros. */
  readonly memBytes: bigint;
}

/** The place of a program header as error messages name it. */
export function headerPlace(index: number, phoff: number): string {
  return `program header ${index}, offset 0x${(phoff + index * PHDR_BYTES).toString(16)}`;
}

/**
 * The first 64 bytes of a file as an ELF header.
 *
 * @param bytes up to 64 bytes from offset 0; fewer when the file is shorter
 */
export function readElfHeader(bytes: Uint8Array, file: string): ElfHeader {
  const place = 'ELF header, offset 0x0';
  const magic = [0x7f, 0x45, 0x4c, 0x46];
  if (bytes.length === 0 || magic.some((byte, i) => i < bytes.length && bytes[i] !== byte)) {
    const problem = bytes.length === 0 ? 'is empty' : 'is not an ELF file';
    throw elfError('elf', file, place, problem, 'name an ELF core of guest memory, plain or gzip');
  }
  if (bytes.length < EHDR_BYTES) {
    throw truncated(file, place, EHDR_BYTES, bytes.length);
  }
  const view = viewOf(bytes);
  const wanted = 'a little-endian ELF64 core (ET_CORE), as dump-guest-memory of QEMU writes it, is needed';
  if (bytes[4] !== ELFCLASS64) {
    throw elfError('elf', file, place, `EI_CLASS is ${bytes[4]}, not ELFCLASS64 (2)`, wanted);
  }
  if (bytes[5] !== ELFDATA2LSB) {
    throw elfError('elf', file, place, `EI_DATA is ${bytes[5]}, not ELFDATA2LSB (1)`, wanted);
  }
  const type = view.getUint16(16, true);
  if (type !== ET_CORE) {
    throw elfError('elf', file, place, `e_type is ${type}, not ET_CORE (4)`, wanted);
  }
  const phentsize = view.getUint16(54, true);
  if (phentsize !== PHDR_BYTES) {
    throw elfError(
      'elf',
      file,
      place,
      `e_phentsize is ${phentsize}, not ${PHDR_BYTES}`,
      'dump the guest again',
    );
  }
  const phnum = view.getUint16(56, true);
  const shoff = readSize(view, 40);
  if (phnum === PN_XNUM && shoff < EHDR_BYTES) {
    throw elfError(
      'elf',
      file,
      place,
      'e_phnum is PN_XNUM (0xffff) but e_shoff names no section header to hold the count',
      'dump the guest again',
    );
  }
  return { phoff: readSize(view, 32), phnum: phnum === PN_XNUM ? undefined : phnum, shoff };
}

/** The number of program headers: sh_info of section header 0, whose 64 bytes are given. */
export function readExtendedCount(bytes: Uint8Array): number {
  return viewOf(bytes).getUint32(44, true);
}

/** Refuses a number of program headers that is none or more than a reader should be made to read. */
export function checkHeaderCount(count: number, file: string): void {
  const place = 'ELF header, offset 0x0';
  if (count === 0) {
    throw elfError(
      'elf',
      file,
      place,
      'it has no program headers, so no guest memory',
      'dump the guest again',
    );
  }
  if (count > MAX_PROGRAM_HEADERS) {
    const problem = `it announces ${count} program headers, more than ${MAX_PROGRAM_HEADERS}`;
    throw elfError('too-large', file, place, problem, 'dump the guest with fewer, larger segments');
  }
}

/**
 * All PT_LOAD headers that describe memory, ascending by guest-physical page.
 *
 * @param bytes all program headers, whole
 * @param phoff where in the file they are, for error messages
 * @param available length of the content in bytes, or undefined when only reading it will tell (gzip)
 * @param maxBytes most bytes the segments may have in the file, together
 */
export function readLoadHeaders(
  bytes: Uint8Array,
  phoff: number,
  file: string,
  available: number | undefined,
  maxBytes: number,
): LoadHeader[] {
  const view = viewOf(bytes);
  const count = Math.floor(bytes.length / PHDR_BYTES);
  const loads: LoadHeader[] = [];
  let total = 0;
  for (let index = 0; index < count; index++) {
    const at = index * PHDR_BYTES;
    if (view.getUint32(at, true) !== PT_LOAD) {
      continue;
    }
    const load = readLoadHeader(view, index, phoff, file, available);
    total += load.fileBytes;
    if (total > maxBytes) {
      const problem = `the segments up to here have more than ${maxBytes} bytes`;
      const remedy = 'check where the file comes from; if its size is right, read it with a larger maxBytes';
      throw elfError('too-large', file, headerPlace(index, phoff), problem, remedy);
    }
    if (load.endPage > load.startPage) {
      loads.push(load);
    }
  }
  if (loads.length === 0) {
    const problem = 'none of its program headers is a PT_LOAD with memory';
    throw elfError('elf', file, headerPlace(0, phoff), problem, 'dump the guest again');
  }
  refuseSharedBytes(loads, phoff, file);
  refuseSharedPages(loads, phoff, file);
  return loads;
}

function readLoadHeader(
  view: DataView,
  index: number,
  phoff: number,
  file: string,
  available: number | undefined,
): LoadHeader {
  const at = index * PHDR_BYTES;
  const place = headerPlace(index, phoff);
  const offset = readSize(view, at + 8);
  const fileBytes = readSize(view, at + 32);
  const memBytes = view.getBigUint64(at + 40, true);
  if (BigInt(fileBytes) > memBytes) {
    const problem = `p_filesz 0x${fileBytes.toString(16)} exceeds p_memsz 0x${memBytes.toString(16)}`;
    throw elfError('elf', file, place, problem, 'dump the guest again');
  }
  const paddr = view.getBigUint64(at + 24, true);
  if (paddr % PAGE_BYTES !== 0n) {
    const problem = `p_paddr 0x${paddr.toString(16)} is not at a page boundary (4096 bytes)`;
    throw elfError('elf', file, place, problem, 'dump guest-physical memory in whole pages');
  }
  const startPage = Number(paddr / PAGE_BYTES);
  const endPage = startPage + Number((memBytes + PAGE_BYTES - 1n) / PAGE_BYTES);
  if (endPage > PAGES_END) {
    const problem = `p_paddr 0x${paddr.toString(16)} + p_memsz 0x${memBytes.toString(16)} passes 2^64`;
    throw elfError('elf', file, place, problem, 'dump the guest again');
  }
  if (fileBytes > 0 && available !== undefined && offset + fileBytes > available) {
    throw truncated(file, place, offset + fileBytes, available);
  }
  return { index, startPage, endPage, offset, fileBytes, memBytes };
}

/** Two segments over the same bytes of the file would be one memory at two guest addresses once it is written. */
function refuseSharedBytes(loads: LoadHeader[], phoff: number, file: string): void {
  const byOffset = loads.filter((load) => load.fileBytes > 0).sort((a, b) => a.offset - b.offset);
  let before: LoadHeader | undefined;
  for (const load of byOffset) {
    if (before !== undefined && before.offset + before.fileBytes > load.offset) {
      const problem = `its bytes in the file overlap those of program header ${before.index}`;
      throw elfError('elf', file, headerPlace(load.index, phoff), problem, REMEDY_PAGING);
    }
    before = load;
  }
}

/** Sorts by guest-physical page and refuses overlap. */
function refuseSharedPages(loads: LoadHeader[], phoff: number, file: string): void {
  loads.sort((a, b) => a.startPage - b.startPage || a.index - b.index);
  let before: LoadHeader | undefined;
  for (const load of loads) {
    if (before !== undefined && before.endPage > load.startPage) {
      const problem = `its guest-physical pages overlap those of program header ${before.index}`;
      throw elfError('elf', file, headerPlace(load.index, phoff), problem, REMEDY_PAGING);
    }
    before = load;
  }
}

const REMEDY_PAGING = 'dump guest-physical memory (dump-guest-memory without -p), each page once';

/** A 64-bit field as a number: exact up to 2^53, beyond that only large, which every check that uses it refuses. */
function readSize(view: DataView, at: number): number {
  return view.getUint32(at + 4, true) * 2 ** 32 + view.getUint32(at, true);
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function elfError(
  code: GuestFileErrorCode,
  file: string,
  place: string,
  problem: string,
  remedy: string,
): GuestFileError {
  return new GuestFileError({ code, file, place, problem, remedy });
}
