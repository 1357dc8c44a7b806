import { GuestFileError } from '../../src/guests/guest-file-error.ts';

/** The GuestFileError that `run` ends with; anything else fails the test. */
export async function refusal(run: () => unknown): Promise<GuestFileError> {
  try {
    await run();
  } catch (error) {
    if (error instanceof GuestFileError) {
      return error;
    }
    throw error;
  }
  throw new Error('expected a GuestFileError, but nothing was thrown');
}
