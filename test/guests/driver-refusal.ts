import { PageAllocatorError } from '../../src/guests/page-allocator.ts';
import { GuestDriverError } from '../../src/guests/driver/error.ts';

/** The stable code of the driver's error that `run` ends with; anything else fails the test. */
export async function refusalCode(run: () => unknown): Promise<string> {
  try {
    await run();
  } catch (error) {
    if (error instanceof GuestDriverError || error instanceof PageAllocatorError) return error.code;
    throw error;
  }
  throw new Error('expected an error of the driver, but nothing was thrown');
}
