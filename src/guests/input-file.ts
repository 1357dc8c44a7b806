/**
 * Files as guest state comes in them: plain or gzip (told apart by content, not by name), read in pieces, bounded.
 *
 * @module
 */
import { createReadStream } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { createGunzip } from 'node:zlib';
import { GuestFileError, quote, tooLarge } from './guest-file-error.ts';

/** A regular file that can be opened, and how it is packed. */
export interface InputFile {
  /** As the caller gave it. */
  readonly path: string;
  /** Whether the content is gzip (RFC 1952 magic). */
  readonly gzip: boolean;
  /** Length on disk in bytes, before inflating. */
  readonly size: number;
  /** Most bytes that may come out of it. */
  readonly maxBytes: number;
}

const GZIP_MAGIC_0 = 0x1f;
const GZIP_MAGIC_1 = 0x8b;
const CHUNK_BYTES = 256 * 1024;

/** Whether bytes begin like a gzip file (RFC 1952, 2.3.1). */
export function isGzip(bytes: Uint8Array): boolean {
  return bytes.length >= 2 && bytes[0] === GZIP_MAGIC_0 && bytes[1] === GZIP_MAGIC_1;
}

/** Looks at a file without reading it. GuestFileError when it is missing, unreadable, or no regular file. */
export async function inspectFile(path: string, maxBytes: number): Promise<InputFile> {
  try {
    const info = await stat(path);
    // A named pipe or a terminal would keep its reader waiting for ever.
    if (!info.isFile()) {
      throw new GuestFileError({
        code: 'unreadable',
        file: path,
        problem: info.isDirectory() ? 'is a folder where a file is expected' : 'is not a regular file',
        remedy: 'name a regular file',
      });
    }
    const handle = await open(path, 'r');
    try {
      const head = new Uint8Array(2);
      const { bytesRead } = await handle.read(head, 0, 2, 0);
      return { path, gzip: isGzip(head.subarray(0, bytesRead)), size: info.size, maxBytes };
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw asGuestFileError(error, path);
  }
}

/**
 * The content from start to end, inflated if need be, chunk by chunk; each chunk belongs to the receiver. Stopping
 * early is allowed and closes the file. GuestFileError for damaged gzip, I/O errors, and past `maxBytes`.
 */
export async function* contentOf(input: InputFile): AsyncGenerator<Uint8Array, void, undefined> {
  const source = createReadStream(input.path, { highWaterMark: CHUNK_BYTES });
  const gunzip = input.gzip ? createGunzip({ chunkSize: CHUNK_BYTES }) : undefined;
  if (gunzip !== undefined) {
    source.on('error', (error) => gunzip.destroy(error));
    source.pipe(gunzip);
  }
  let total = 0;
  try {
    for await (const chunk of (gunzip ?? source) as AsyncIterable<Uint8Array>) {
      total += chunk.length;
      if (total > input.maxBytes) {
        throw tooLarge(input.path, input.maxBytes);
      }
      yield chunk;
    }
  } catch (error) {
    throw asGuestFileError(error, input.path);
  } finally {
    source.destroy();
    gunzip?.destroy();
  }
}

/** Fills `target` from `offset` of a plain file; the number of bytes that were there. */
export async function readFully(handle: FileHandle, target: Uint8Array, offset: number): Promise<number> {
  let filled = 0;
  while (filled < target.length) {
    const { bytesRead } = await handle.read(target, filled, target.length - filled, offset + filled);
    if (bytesRead === 0) {
      break;
    }
    filled += bytesRead;
  }
  return filled;
}

/** Turns what Node reports while a file is read into a GuestFileError; anything else is passed on as it is. */
export function asGuestFileError(error: unknown, file: string): unknown {
  if (error instanceof GuestFileError || !(error instanceof Error)) {
    return error;
  }
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  if (code === 'Z_BUF_ERROR') {
    return new GuestFileError({
      code: 'truncated',
      file,
      problem: 'its gzip stream ends early',
      remedy: 'copy or download the file again',
      cause: error,
    });
  }
  if (code.startsWith('Z_')) {
    return new GuestFileError({
      code: 'gzip',
      file,
      problem: `its gzip stream is damaged (${error.message})`,
      remedy: 'copy or download the file again',
      cause: error,
    });
  }
  if (code === 'ENOENT' || code === 'ENOTDIR') {
    return new GuestFileError({
      code: 'not-found',
      file,
      problem: 'does not exist',
      remedy: 'check the path',
      cause: error,
    });
  }
  if (code === 'ERR_INVALID_ARG_VALUE') {
    return new GuestFileError({
      code: 'not-found',
      file: quote(file),
      problem: 'is not a path that can exist',
      remedy: 'check the path',
      cause: error,
    });
  }
  if (/^E[A-Z0-9]+$/.test(code)) {
    return new GuestFileError({
      code: 'unreadable',
      file,
      problem: `cannot be read (${code})`,
      remedy: 'check its permissions and the disk it is on',
      cause: error,
    });
  }
  return error;
}
