import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { GuestFileError } from './guest-file-error.ts';
import { asGuestFileError } from './input-file.ts';

/** From src/guests and from dist/guests alike, captures/ is two folders up. */
const FOLDER: string = fileURLToPath(new URL('../../captures', import.meta.url));

/**
 * The capture folders that ship with the package, absolute paths, ascending by name.
 *
 * @throws GuestFileError when they are gone (a bundler or a packager left them out)
 */
export async function shippedCaptures(): Promise<string[]> {
  try {
    const entries = await readdir(FOLDER, { withFileTypes: true });
    return entries
      .filter((entry) => entry.isDirectory())
      .map((entry) => join(FOLDER, entry.name))
      .sort();
  } catch (error) {
    const known = asGuestFileError(error, FOLDER);
    throw known instanceof GuestFileError
      ? new GuestFileError({
          code: known.code,
          file: FOLDER,
          problem: 'the captures that ship with viommu are not there',
          remedy: 'install the package again, or name a capture folder',
          cause: error,
        })
      : known;
  }
}
