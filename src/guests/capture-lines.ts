/**
 * The lines of a capture: mappings, replayed maps and events, from hexadecimal bytes to pages.
 *
 * @module
 */
import { Access, PAGE_SIZE, PAGES_END } from '../memory/index.ts';
import { GuestFileError, quote } from './guest-file-error.ts';

/** A leaf of the guest's tables. All in pages. */
export interface CaptureMapping {
  readonly iova: number;
  /** Length in pages. */
  readonly pages: number;
  /** Guest-physical page. */
  readonly target: number;
  readonly access: Access;
}

/** A map that QEMU sent when the device was plugged in; without target it led to something that is not RAM. */
export interface CaptureMap {
  readonly iova: number;
  readonly pages: number;
  readonly target: number | undefined;
  readonly access: Access;
}

/** What QEMU sent afterwards, in order. */
export interface CaptureEvent {
  /** Seconds since the recorder's own zero; never decreasing in a good recording, not checked. */
  readonly t: number;
  readonly op: 'map' | 'unmap';
  readonly iova: number;
  /** Length in pages, up to 2^52. */
  readonly pages: number;
  /** Guest-physical page; undefined for an unmap, and for a map of something that is not RAM. */
  readonly target: number | undefined;
  /** What a map allows; 0 for an unmap. */
  readonly access: Access;
}

/** One line of a file, parsed as JSON and to be understood. */
export interface CaptureLine {
  readonly file: string;
  /** Counted from 1. */
  readonly number: number;
  readonly text: string;
  readonly value: Readonly<Record<string, unknown>>;
}

const PERM: Readonly<Record<string, Access>> = { r: Access.Read, w: Access.Write, rw: Access.ReadWrite };

/** `{"iova","size","gpa","perm"}`: a leaf of the tables. GuestFileError for anything else. */
export function parseMapping(line: CaptureLine): CaptureMapping {
  const iova = hexPage(line, 'iova');
  const pages = sizePages(line, iova, 'iova');
  return { iova, pages, target: targetPage(line, pages), access: accessOf(line) };
}

/** The same, where `gpa` may be missing. */
export function parseMap(line: CaptureLine): CaptureMap {
  const iova = hexPage(line, 'iova');
  const pages = sizePages(line, iova, 'iova');
  const target = line.value['gpa'] === undefined ? undefined : targetPage(line, pages);
  return { iova, pages, target, access: accessOf(line) };
}

/** `{"t","op","iova","size"}` and, for a map, `perm` and perhaps `gpa`. */
export function parseEvent(line: CaptureLine): CaptureEvent {
  const { t, op } = line.value;
  if (typeof t !== 'number' || !Number.isFinite(t)) {
    throw fieldError(line, 't', 'expected seconds as a number');
  }
  if (op === 'map') {
    const { iova, pages, target, access } = parseMap(line);
    return { t, op, iova, pages, target, access };
  }
  if (op === 'unmap') {
    const iova = hexPage(line, 'iova');
    return { t, op, iova, pages: sizePages(line, iova, 'iova'), target: undefined, access: Access.None };
  }
  throw fieldError(line, 'op', 'expected "map" or "unmap"');
}

/** A page-aligned hexadecimal address as a page number, by cutting the last three digits: exact for all 64 bits. */
function hexPage(line: CaptureLine, field: 'iova' | 'gpa'): number {
  const text = line.value[field];
  if (typeof text !== 'string' || !/^0x[0-9a-f]{1,16}$/i.test(text)) {
    throw fieldError(line, field, 'expected a hexadecimal address of up to 64 bits, as "0x1000"');
  }
  const page = pageOfHex(text);
  if (page === undefined) {
    throw fieldError(line, field, 'expected a multiple of 4096');
  }
  return page;
}

/** `0x…` of up to 16 digits as a page number; undefined when it is no multiple of 4096. */
export function pageOfHex(text: string): number | undefined {
  const digits = text.slice(2);
  if (/^0*$/.test(digits)) {
    return 0;
  }
  return digits.length > 3 && digits.endsWith('000') ? Number.parseInt(digits.slice(0, -3), 16) : undefined;
}

function sizePages(line: CaptureLine, start: number, startField: string): number {
  const size = line.value['size'];
  if (typeof size !== 'number' || !(size > 0)) {
    throw fieldError(line, 'size', 'expected a number of bytes, at least 4096');
  }
  const pages = size / PAGE_SIZE;
  // A double holds every multiple of 4096 below 2^64 exactly, but rounds other integers above 2^53 to one of them.
  const exact = Number.isSafeInteger(size) || isWholePages(line.text);
  if (!Number.isSafeInteger(pages) || !exact) {
    throw fieldError(line, 'size', 'expected a multiple of 4096');
  }
  if (start + pages > PAGES_END) {
    throw fieldError(line, 'size', `expected ${startField} + size to be at most 2^64`);
  }
  return pages;
}

/** Whether the line, as written, has exactly one size, in digits, and that is a multiple of 4096. */
function isWholePages(text: string): boolean {
  const found = [...text.matchAll(/"size"\s*:\s*(\d+)\s*[,}]/g)];
  const digits = found.length === 1 ? found[0]?.[1] : undefined;
  return digits !== undefined && digits.length <= 20 && BigInt(digits) % BigInt(PAGE_SIZE) === 0n;
}

function targetPage(line: CaptureLine, pages: number): number {
  const target = hexPage(line, 'gpa');
  if (target + pages > PAGES_END) {
    throw fieldError(line, 'gpa', 'expected gpa + size to be at most 2^64');
  }
  return target;
}

function accessOf(line: CaptureLine): Access {
  const perm = line.value['perm'];
  const access = typeof perm === 'string' && Object.hasOwn(PERM, perm) ? PERM[perm] : undefined;
  if (access === undefined) {
    throw fieldError(line, 'perm', 'expected "r", "w" or "rw"');
  }
  return access;
}

/** An error about one field, with what was found in it. */
export function fieldError(line: CaptureLine, field: string, problem: string): GuestFileError {
  const found = line.value[field];
  return new GuestFileError({
    code: 'capture',
    file: line.file,
    place: `line ${line.number}, field ${field}`,
    problem: `${problem}; found ${found === undefined ? 'nothing' : quote(found)}`,
    remedy: 'correct the line or record the capture again',
  });
}
