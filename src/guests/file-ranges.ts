/**
 * Chosen byte ranges of a file, plain or gzip, read in one pass and in windows: no window is allocated before the
 * bytes for it are there, so a file that announces more than it has costs at most one window.
 *
 * @module
 */
import { type FileHandle, open } from 'node:fs/promises';
import { GuestFileError, truncated } from './guest-file-error.ts';
import { asGuestFileError, contentOf, type InputFile, readFully } from './input-file.ts';

/** Bytes `offset` to `offset + length` (exclusive) of the content, after inflating. */
export interface FileRange {
  readonly offset: number;
  /** At least 1. */
  readonly length: number;
  /** What an error calls it when the content ends too early; undefined: then what there is is returned. */
  readonly place: (() => string) | undefined;
}

/** Whole pages, and far below the largest typed array of every supported Node. */
const WINDOW_BYTES: number = 64 * 1024 * 1024;

/**
 * The content of each range as windows of 64 MiB, the last one shorter.
 *
 * @param ranges ascending by offset, not overlapping
 * @param toEnd read gzip content to its end even if no range needs it, so that its checksum is verified
 * @throws GuestFileError when the content ends before a range that has a place, or cannot be read
 */
export async function readRanges(
  input: InputFile,
  ranges: readonly FileRange[],
  toEnd: boolean,
): Promise<Uint8Array[][]> {
  try {
    return input.gzip ? await readInflated(input, ranges, toEnd) : await readPlain(input, ranges);
  } catch (error) {
    throw asGuestFileError(error, input.path);
  }
}

async function readPlain(input: InputFile, ranges: readonly FileRange[]): Promise<Uint8Array[][]> {
  const handle = await open(input.path, 'r');
  try {
    const result: Uint8Array[][] = [];
    for (const range of ranges) {
      result.push(await readRange(handle, range, input.path));
    }
    return result;
  } finally {
    await handle.close();
  }
}

async function readRange(handle: FileHandle, range: FileRange, file: string): Promise<Uint8Array[]> {
  const windows: Uint8Array[] = [];
  for (let done = 0; done < range.length; ) {
    const window = allocate(range.length - done, file);
    const filled = await readFully(handle, window, range.offset + done);
    if (filled < window.length) {
      if (range.place !== undefined) {
        throw truncated(file, range.place(), range.offset + range.length, range.offset + done + filled);
      }
      windows.push(window.subarray(0, filled));
      break;
    }
    windows.push(window);
    done += filled;
  }
  return windows;
}

async function readInflated(
  input: InputFile,
  ranges: readonly FileRange[],
  toEnd: boolean,
): Promise<Uint8Array[][]> {
  const result: Uint8Array[][] = ranges.map(() => []);
  let current = 0;
  let done = 0;
  let window: Uint8Array | undefined;
  let filled = 0;
  let position = 0;
  for await (const chunk of contentOf(input)) {
    const end = position + chunk.length;
    for (let range = ranges[current]; range !== undefined; range = ranges[current]) {
      const from = range.offset + done;
      if (from >= end) {
        break;
      }
      window ??= allocate(range.length - done, input.path);
      const part = chunk.subarray(from - position, from - position + window.length - filled);
      window.set(part, filled);
      filled += part.length;
      done += part.length;
      if (filled === window.length) {
        result[current]?.push(window);
        window = undefined;
        filled = 0;
      }
      if (done === range.length) {
        current++;
        done = 0;
      }
    }
    position = end;
    if (current === ranges.length && !toEnd) {
      break;
    }
  }
  const missing = ranges[current];
  if (missing?.place !== undefined) {
    throw truncated(input.path, missing.place(), missing.offset + missing.length, position);
  }
  if (window !== undefined) {
    result[current]?.push(window.subarray(0, filled));
  }
  return result;
}

function allocate(bytes: number, file: string): Uint8Array {
  try {
    return new Uint8Array(Math.min(bytes, WINDOW_BYTES));
  } catch (error) {
    throw new GuestFileError({
      code: 'too-large',
      file,
      problem: 'its memory does not fit the memory of this machine',
      remedy: 'use a machine with more memory, or a dump of fewer pages',
      cause: error,
    });
  }
}
