import { GuestFileError } from '../../guests/index.ts';
import { RegisterDumpError } from '../../models/vtd/index.ts';
import type { CaptureOpening } from './guest-model.ts';

/**
 * What `open` makes of a capture's registers, at least `least` bytes from offset 0 on. GuestFileError where they are not
 * there or contradict themselves.
 */
export function fromRecordedRegisters<T>(
  { capture, file, final }: Pick<CaptureOpening, 'capture' | 'file' | 'final'>,
  least: number,
  open: (bytes: Uint8Array) => T,
): T {
  const registers = capture.requireRegisters(least);
  const { bytes } = final ? registers.final : registers.start;
  try {
    return open(bytes);
  } catch (error) {
    if (!(error instanceof RegisterDumpError)) throw error;
    throw new GuestFileError({
      code: 'capture',
      file,
      place: `$.iommu.${final ? 'finalRegisters' : 'registers'}.hex`,
      problem: error.message,
      remedy: 'record the capture again with the whole register file',
      cause: error,
    });
  }
}
